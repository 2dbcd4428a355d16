"""The files of an all-in-one system, from what a person asked for: fleet, rules, settings of each edge agent."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.natsserver import LOOPBACK
from pipeline.ports import UserError
from pipeline.settings import PACKAGE
from pipeline.trackfile import TrackError, read_columns
from pipeline.wire import DEVICE_NAME

SETTINGS_FILE = "vedette.toml"
"""Settings of every part, in the data folder; `--data` finds the system by it."""
DEMO = PACKAGE / "config" / "demo"
DEMO_FLEET, DEMO_CAMERA, TRACKS = "demo-fleet", "demo-tower", "tracks"
"""Devices of the demonstration, and the one that replays track files."""
FLEET_COLUMNS = ("unit", "group", "operator", "purpose")
PRIVATE = 0o600
NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """What `vedette up` was asked for. `port=None`: the settings' port, or a free one if that is taken."""

    demo: bool = False
    port: int | None = None
    tracks: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    speed: float = 1.0
    rules: Path | None = None
    fences: Path | None = None


# ---------------------------------------------------------------- edge agents


def agents(plan: Plan, mqtt_port: int) -> dict[str, dict[str, Any]]:
    """Settings of each edge agent, by device. UserError for a file that is not there, or no video."""
    sources: dict[str, dict[str, Any]] = {}
    if plan.demo:
        sources[DEMO_FLEET] = {"kind": "demo-fleet"}
        sources[DEMO_CAMERA] = {"kind": "demo-camera"}
    if plan.tracks:
        files = [str(_present(path, "track file")) for path in plan.tracks]
        sources[TRACKS] = {"kind": "tracks", "files": files, "speed": plan.speed}
    for path in plan.videos:
        name = device_name(path, taken=sources)
        sources[name] = {"kind": "camera", "url": str(_playable(path)), "speed": plan.speed}
    mqtt = {"host": LOOPBACK, "port": mqtt_port, "back_off_max_s": 2.0}
    finite = sources.keys() - {DEMO_FLEET, DEMO_CAMERA}  # what has said all it has is finished, not silent or blind
    return {
        device: {"device": device, "exit_when_done": device in finite, "source": source, "mqtt": mqtt}
        for device, source in sources.items()
    }


def device_name(path: Path, taken: Mapping[str, object]) -> str:
    """A device name from a file's name: what MQTT topics cannot take becomes `-`; a second one gets a number."""
    stem = NOT_A_NAME.sub("-", path.stem).strip("-_")[:50] or "camera"
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    if not DEVICE_NAME.fullmatch(name):
        raise UserError(f"video {path}: no device can be named after it: rename the file")
    return name


def _present(path: Path, what: str) -> Path:
    if not path.is_file():
        raise UserError(f"no {what} {path}")
    return path.resolve()


def _playable(path: Path) -> Path:
    """UserError unless OpenCV can read its first picture."""
    from pipeline.vision.picture import cv2

    found = _present(path, "video")
    capture = cv2.VideoCapture(str(found), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.grab():
            raise UserError(f"video {path}: cannot be read as video: convert it to MP4 (H.264)")
    finally:
        capture.release()
    return found


# ---------------------------------------------------------------- fleet


def fleet_file(plan: Plan, data: Path, usual: Path) -> Path:
    """The fleet file to use: `usual`, or one in `data` that adds the units of the demonstration and the tracks.

    Units once enrolled in `data` stay enrolled there, so that their tracks can still be read. Without any fleet
    file there is an empty one, to be filled in. UserError for a track file that is missing or has a bad line.
    """
    ours = data / "fleet.csv"
    added = _units(plan)
    if not added and not ours.exists() and usual.is_file():
        return usual
    rows = {row["unit"]: row for path in (usual, ours) if path.is_file() for row in _rows(path)}
    for unit, purpose in added.items():
        rows.setdefault(unit, {"unit": unit, "group": _group(unit), "operator": "vedette up", "purpose": purpose})
    text = io.StringIO()
    table = csv.DictWriter(text, FLEET_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows.values())
    ours.write_text(text.getvalue(), "utf-8")
    return ours


def _units(plan: Plan) -> dict[str, str]:
    """Units to enrol, each with its purpose."""
    units: dict[str, str] = {}
    if plan.demo:
        from edge.demo.fleet import units as demo_units

        units |= dict.fromkeys(demo_units(), "demonstration")
    if plan.tracks:
        try:
            batch = read_columns([_present(path, "track file") for path in plan.tracks])
        except TrackError as error:
            raise UserError(str(error)) from None
        units |= dict.fromkeys(batch.units, "replay of recorded tracks")
    return units


def _group(unit: str) -> str:
    """`bus` for `bus-12`: only a first guess, to be edited in the file."""
    head, dash, tail = unit.rpartition("-")
    return head if dash and tail.isdigit() else ""


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("unit")]


# ---------------------------------------------------------------- rules


def rules_file(plan: Plan, data: Path, usual: Path) -> Path:
    """The rules to use: those asked for, the demonstration's, or `usual`; with `plan.fences` a copy about these."""
    base = plan.rules or (DEMO / "rules.toml" if plan.demo else usual)
    if plan.fences is None:
        return _present(base, "rules file")
    fences = str(_present(plan.fences, "fence file"))
    try:
        rules = tomllib.loads(_present(base, "rules file").read_text("utf-8")).get("rule", [])
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{base}: not valid TOML: {error}") from None
    kept = [rule for rule in rules if rule.get("kind") != "geofence"]
    ours = data / "rules.toml"
    enter = {"name": "enters-fence", "kind": "geofence", "fences": fences, "on": "enter"}
    ours.write_text("".join(f"[[rule]]\n{_pairs(rule)}\n" for rule in [enter, *kept]), "utf-8")
    return ours


# ---------------------------------------------------------------- TOML


def write_toml(path: Path, tree: Mapping[str, Any]) -> None:
    """Scalars, lists of scalars, and tables of these; readable by the owner only, for there are secrets in it."""
    plain = {key: value for key, value in tree.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    text = _pairs(plain) + "".join(f"\n[{name}]\n{_pairs(table)}" for name, table in tables.items())
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once by a file that only its owner can read."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: bool | float | str | Sequence[Any]) -> str:
    """JSON's words for scalars and lists are TOML's too (nothing of ours is NaN, and DEL is escaped)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
