"""What gives way in a full spool, in which order, and the record of it that goes out as a gap.

Plain frames first, the oldest of them; then every second reading, again and again; positions last, the oldest of
them. What is marked `keep` (alarm evidence, gaps) never does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final

from pipeline import wire
from pipeline.message import Fixes, Gap

EMPTY_KIND, EMPTY_BODY = "position", wire.encode_body(Fixes())
OVERHEAD: Final = 48
"""Bytes that a row costs beside its body."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS gap (kind TEXT PRIMARY KEY, count INTEGER NOT NULL, first INTEGER NOT NULL,
                                last INTEGER NOT NULL);
"""
Row = tuple[int, int, int]
"""seq, size, at"""


def make_room(db: sqlite3.Connection, lack: int, last: int) -> tuple[int, int]:
    """Let messages give way until `lack` bytes are free, if so many can be; (bytes freed, messages given up)."""
    freed = gone = 0
    for kind, choose in GIVES_WAY:
        while freed < lack and (rows := choose(db, kind, lack - freed)):
            freed += _empty(db, rows) + _behead(db, last)
            gone += len(rows)
            note(db, gap_of(kind, rows))
    return freed, gone


def note(db: sqlite3.Connection, gap: Gap) -> None:
    """Add to what has to be told of this kind."""
    change = """INSERT INTO gap VALUES (?, ?, ?, ?) ON CONFLICT (kind) DO UPDATE SET count = count + excluded.count,
                first = min(first, excluded.first), last = max(last, excluded.last)"""
    db.execute(change, (gap.kind, gap.count, gap.first, gap.last))


def take_gaps(db: sqlite3.Connection) -> list[bytes]:
    """The bodies that tell of all gaps; nothing is left to be told."""
    gaps = [Gap(*row) for row in db.execute("SELECT kind, count, first, last FROM gap ORDER BY kind")]
    db.execute("DELETE FROM gap")
    return [wire.encode_body(Fixes(gap=gap)) for gap in gaps]


def merged(gaps: list[Gap], gap: Gap) -> list[Gap]:
    """One for each kind."""
    same = [gap, *(other for other in gaps if other.kind == gap.kind)]
    count, first, last = sum(g.count for g in same), min(g.first for g in same), max(g.last for g in same)
    return [other for other in gaps if other.kind != gap.kind] + [Gap(gap.kind, count, first, last)]


def gap_of(kind: str, rows: Iterable[Row]) -> Gap:
    times = [at for _seq, _size, at in rows]
    return Gap(kind, len(times), min(times), max(times))


def _oldest(db: sqlite3.Connection, kind: str, lack: int) -> list[Row]:
    """As many of the oldest as free `lack` bytes if their rows go too, at the most a hundred."""
    query = """SELECT seq, size, at FROM message WHERE kind = ? AND size > 2 AND keep = 0
               ORDER BY seq LIMIT 100"""
    rows, freed = [], 0
    for row in db.execute(query, (kind,)).fetchall():
        rows.append(row)
        freed += row[1] + OVERHEAD
        if freed >= lack:
            break
    return rows


def _every_second(db: sqlite3.Connection, kind: str, _lack: int) -> list[Row]:
    """All of them at once: freeing only what is lacking would take the oldest one after another."""
    query = "SELECT seq, size, at FROM message WHERE kind = ? AND size > 2 AND keep = 0 ORDER BY seq"
    rows = db.execute(query, (kind,)).fetchall()
    return rows[1::2] or rows


GIVES_WAY: Final[tuple[tuple[str, Callable[[sqlite3.Connection, str, int], list[Row]]], ...]] = (
    ("frame", _oldest),
    ("reading", _every_second),
    ("position", _oldest),
)


def _empty(db: sqlite3.Connection, rows: list[Row]) -> int:
    """Leave the numbers and take the bodies; bytes freed."""
    change = "UPDATE message SET kind = ?, size = ?, body = ? WHERE seq = ?"
    db.executemany(change, [(EMPTY_KIND, len(EMPTY_BODY), EMPTY_BODY, seq) for seq, _size, _at in rows])
    return sum(size - len(EMPTY_BODY) for _seq, size, _at in rows)


def _behead(db: sqlite3.Connection, last: int) -> int:
    """Delete the empty messages before the first full one; bytes freed."""
    head = "SELECT coalesce((SELECT min(seq) FROM message WHERE size > 2), ?)"
    (first,) = db.execute(head, (last + 1,)).fetchone()
    size = "SELECT coalesce(sum(size + ?), 0) FROM message WHERE seq < ?"
    (freed,) = db.execute(size, (OVERHEAD, first)).fetchone()
    db.execute("DELETE FROM message WHERE seq < ?", (first,))
    return int(freed)
