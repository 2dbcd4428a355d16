"""The spool's file: its tables, the name of its stream, and what is done when it is damaged."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import NamedTuple

from edge import giveway

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,
                                    size INTEGER NOT NULL, body BLOB NOT NULL, keep INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS message_by_kind ON message (kind, seq) WHERE size > 2;
CREATE TABLE IF NOT EXISTS meta (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL,
                                 last INTEGER NOT NULL, dropped INTEGER NOT NULL, cursor TEXT NOT NULL);
"""
CHANCE = 1024
"""What chance may add to the milliseconds in an epoch; the sum is exact in JSON until the year 2248."""
WAL_LIMIT = 8 << 20


class Message(NamedTuple):
    """One numbered message as it lies in the spool."""

    seq: int
    kind: str
    body: bytes


class Summary(NamedTuple):
    """What `status` tells: the highest number given, how many wait, when the oldest of them was spooled (us)."""

    epoch: int
    last: int
    base: int
    waiting: int
    oldest: int | None
    bytes: int
    dropped: int


def new_epoch(now: float) -> int:
    """The name of a life of a spool: when it began, and chance.

    A board without a clock begins every life at the same time; without chance a device imaged anew could take up
    the numbers of its former life, and its messages would be taken for repetitions.
    """
    return max(int(now * 1000), 0) * CHANCE + secrets.randbelow(CHANCE)


def open_file(path: Path, now: float) -> sqlite3.Connection:
    """Ready for use: whole, with its tables and its row. sqlite3.DatabaseError."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        _prepare(db, now)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, now: float) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = OFF")  # it would write every deleted page once more
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise sqlite3.DatabaseError(f"malformed: {health}")
    db.executescript(SCHEMA + giveway.SCHEMA)
    columns = {row[1] for row in db.execute("PRAGMA table_info(message)")}
    if "keep" not in columns:  # a file of an older version
        db.execute("ALTER TABLE message ADD COLUMN keep INTEGER NOT NULL DEFAULT 0")
    db.execute("INSERT OR IGNORE INTO meta VALUES (1, ?, 0, 0, '')", (new_epoch(now),))


def is_damage(error: sqlite3.DatabaseError) -> bool:
    text = str(error)
    return any(word in text for word in ("malformed", "not a database", "no such table", "no such column"))


def is_read_only(error: sqlite3.DatabaseError) -> bool:
    return "readonly" in str(error)


def set_aside(path: Path, stamp: int) -> None:
    """Rename the file to *.damaged-`stamp`. Of earlier ones none is kept: they would fill the disk."""
    for former in path.parent.glob(f"{path.name}*.damaged-*"):
        former.unlink()
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(part.with_name(f"{part.name}.damaged-{stamp}"))


def damaged(path: Path) -> int | None:
    """When a damaged file was last moved aside, in seconds since 1970; None if none lies there."""
    stamps = [name.name.rpartition("-")[2] for name in path.parent.glob(f"{path.name}.damaged-*")]
    return max((int(stamp) for stamp in stamps if stamp.isdigit()), default=None)
