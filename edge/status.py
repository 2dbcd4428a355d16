"""What `vedette-edge status` shows: the spool as it lies on the disk, and what the agent last said of itself."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from edge.agent import EXPRESS, SPOOL, STATUS, is_running
from edge.certificate import REFUSED
from edge.errors import SetupError
from edge.spoolfile import damaged
from pipeline import wire
from pipeline.message import SECOND

DISK = "the disk of "
LITTLE = 1 << 20
"""Bytes; with less the spool can keep no more pictures."""
STALE_S = 10.0
"""The agent writes its status twice a second."""


def read(data: Path) -> dict[str, Any]:
    """One device's numbers; times as RFC 3339. SetupError if no agent has ever run on the folder.

    The numbers of the spool are of this moment; `sent`, `connected` and `detail` are the agent's last words.
    """
    try:
        row: dict[str, Any] = json.loads((data / STATUS).read_text("utf-8"))
    except FileNotFoundError:
        raise SetupError(f"{data}: no agent has run here; start one with vedette-edge run CONFIG") from None
    except (OSError, ValueError) as error:
        raise SetupError(f"{data / STATUS}: cannot be read: {error}") from None
    row |= _spools(data)
    row["detail"] = "; ".join(filter(None, (disk_trouble(data), row["detail"])))
    row["sent"] = max(row["sent"], row["confirmed"])
    row["running"] = is_running(data)
    row["connected"] = row["connected"] and row["running"]
    oldest = row["oldest"]
    row["oldest_age_s"] = None if oldest is None else round(time.time() - oldest / SECOND, 1)
    row["oldest"] = None if oldest is None else wire.rfc3339(oldest)
    row["age_s"] = max(round(time.time() - row["written"] / SECOND, 1), 0.0)
    row["written"] = wire.rfc3339(row["written"])
    row["verdict"] = verdict(row)
    return row


def verdict(row: dict[str, Any]) -> str:
    """`ok`, `finished`, or why a person should look: `down`, `disk`, `stale`, `refused` (certificate, login)."""
    if not row["running"]:
        return "finished" if row.get("state") == "finished" else "down"
    if DISK in row["detail"]:
        return "disk"
    if row["age_s"] > STALE_S:
        return "stale"
    return "refused" if REFUSED in row["detail"] else "ok"


def _spool(path: Path) -> dict[str, Any]:
    """Numbers of one spool, read beside a running agent; empty when the file cannot be read."""
    query = """SELECT meta.epoch, meta.last, meta.dropped, (SELECT count(*) FROM message),
                      (SELECT min(seq) FROM message), (SELECT at FROM message ORDER BY seq LIMIT 1) FROM meta"""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            epoch, last, dropped, waiting, base, oldest = db.execute(query).fetchone()
        finally:
            db.close()
    except sqlite3.Error:
        return {}
    confirmed = (last + 1 if base is None else base) - 1
    return {"epoch": epoch, "confirmed": confirmed, "waiting": waiting, "oldest": oldest, "dropped": dropped}


def _spools(data: Path) -> dict[str, Any]:
    """The same of both of the agent's spools together, as far as they are there."""
    main, express = _spool(data / SPOOL), _spool(data / EXPRESS)
    if not main or not express:
        return main
    sums = {key: main[key] + express[key] for key in ("confirmed", "waiting", "dropped")}
    oldest = min((row["oldest"] for row in (main, express) if row["oldest"] is not None), default=None)
    return main | sums | {"oldest": oldest}


def disk_trouble(data: Path) -> str:
    """What is wrong with the disk under the folder, or was: "" when nothing is."""
    facts = os.statvfs(data)
    if facts.f_flag & os.ST_RDONLY:
        return f"{DISK}{data} is read-only: nothing can be kept; look at the card and its file system"
    if facts.f_bavail * facts.f_frsize < LITTLE:
        return f"{DISK}{data} is full: make room on it"
    when = max(filter(None, (damaged(data / SPOOL), damaged(data / EXPRESS))), default=None)
    if when is None:
        return ""
    moved = wire.rfc3339(when * SECOND)
    return f"the spool was damaged at {moved} and begun anew, what waited is lost; delete {data}/*.damaged-*"


def sentence(row: dict[str, Any]) -> str:
    """`tower-1: 812 sent, 812 confirmed, 0 waiting, oldest -` and what is wrong, if something is."""
    age = row["oldest_age_s"]
    oldest = "-" if age is None else f"{age:.0f} s"
    numbers = f"{row['sent']} sent, {row['confirmed']} confirmed, {row['waiting']} waiting, oldest {oldest}"
    dropped = f", {row['dropped']} dropped" if row["dropped"] else ""
    return f"{row['device']}: {numbers}{dropped}{_trackers(row)}{_how(row)}"


def _trackers(row: dict[str, Any]) -> str:
    """Of a gateway: how many trackers are connected, and how many messages strangers have sent."""
    facts = row.get("source_facts", {})
    if "trackers" not in facts:
        return ""
    strangers = facts["counts"].get("unknown", 0)
    return f", trackers: {facts['trackers']}" + (f", refused: {strangers} times" if strangers else "")


def _how(row: dict[str, Any]) -> str:
    if not row["running"]:
        why = "finished" if row["verdict"] == "finished" else row["detail"]
        return f" (not running since {row['written']}{': ' if why else ''}{why})"
    if row["verdict"] == "stale":
        return f" (running, but says nothing since {row['written']}: it hangs, or the disk takes no more)"
    if not row["connected"]:
        return f" (running, not connected: {row['detail'] or 'no reason known'})"
    return f" ({row['detail']})" if row["detail"] else ""
