"""Positions in SQLite: appended as they come, folded into the order of tracks a slice at a time.

    write ──► inbox      one blob of rows a commit, in order of arrival          (cheap, whatever the size)
                │        when it is large enough: sort by (unit, at), and with each further commit
                ▼        carry over one slice
              position   one row per (unit, at), a track is one range scan       (each page written once a fold)
              newest     one row per unit

Fixes of thousands of units, written straight to a table in the order of tracks, touch a page each. Sorting some
hundred thousand of them first writes each page once. Readers take both tables and let the inbox win: what lies in
it is never older. A crash in the middle of a fold leaves its blobs, and the fold starts again, replacing equal
rows by equal rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.message import PositionBatch
from pipeline.ports import Position, Track
from pipeline.store.file import SqliteFile
from pipeline.store.rows import ROW, Rows, in_order, last_of_unit, rows_of

VERSION = 1
SCHEMA = """
CREATE TABLE unit (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE position (unit INTEGER NOT NULL, at INTEGER NOT NULL, lat REAL, lon REAL, speed REAL, course REAL,
    alt REAL, accuracy REAL, clock INTEGER, received INTEGER, PRIMARY KEY (unit, at)) WITHOUT ROWID;
CREATE TABLE newest (unit INTEGER PRIMARY KEY, at INTEGER NOT NULL, lat REAL, lon REAL, speed REAL, course REAL,
    alt REAL, accuracy REAL, clock INTEGER, received INTEGER);
CREATE TABLE epoch (value INTEGER NOT NULL);
INSERT INTO epoch VALUES (0)
"""
PUT = "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_NEWEST = """INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (unit) DO UPDATE SET
    at = excluded.at, lat = excluded.lat, lon = excluded.lon, speed = excluded.speed, course = excluded.course,
    alt = excluded.alt, accuracy = excluded.accuracy, clock = excluded.clock, received = excluded.received
    WHERE excluded.at >= newest.at"""
FOLD_ROWS = 300_000
FOLD_BLOBS = 1_000
"""A fold starts when the inbox holds that many rows, or that many commits."""
SLICE = 2_000
"""Rows carried over with a commit, at least; twice the rows it adds if those are more."""
FORGET_ROWS = 50_000
"""About as many rows are deleted in one transaction, so that writers get a turn between."""


@dataclass(slots=True)
class Blob:
    """Rows of one commit as a reader keeps them; `newest` has one row a unit."""

    rows: Rows
    newest: Rows


@dataclass(slots=True)
class Fold:
    """A fold under way: the sorted rows of all blobs up to `last`, carried over up to `done`."""

    rows: Rows
    last: int
    epoch: int
    done: int = 0


class Positions:
    """The file of positions. One process writes, others may read; a second writer is safe but slows both."""

    def __init__(self, path: Path) -> None:
        self.file = SqliteFile(path, schema=SCHEMA, version=VERSION)
        self._ids: dict[str, int] = {}
        self._fold: Fold | None = None
        self._seen: dict[int, Blob] = {}

    # -------------------------------------------------------------- writing

    def write(self, batches: Sequence[PositionBatch]) -> None:
        """One commit; durable on return."""
        names, rows = rows_of(batches)
        if not len(rows):
            return
        try:
            with self.file.writing() as db:
                ids = np.array([self._id(db, name) for name in names], np.uint32)
                rows["unit"] = ids[rows["unit"]]
                at = rows["at"]
                blob = (len(rows), int(at.min()), int(at.max()), rows.tobytes())
                db.execute("INSERT INTO inbox (rows, first_at, last_at, data) VALUES (?, ?, ?, ?)", blob)
                self._carry(db, max(SLICE, 2 * len(rows)))
        except BaseException:
            self._doubt()
            raise

    def settle(self) -> None:
        """Carry everything over. Not needed for correctness; for whoever reads `position` with other tools."""
        try:
            while self._inbox_size():
                with self.file.writing() as db:
                    self._fold = self._fold or self._begin(db)
                    self._carry(db, 50_000)
        except BaseException:
            self._doubt()
            raise

    def _doubt(self) -> None:
        """A transaction was rolled back: what was remembered of it may not be so."""
        self._ids.clear()
        self._fold = None

    def _id(self, db: sqlite3.Connection, name: str) -> int:
        if name not in self._ids:
            db.execute("INSERT OR IGNORE INTO unit (name) VALUES (?)", (name,))
            self._ids[name] = int(db.execute("SELECT id FROM unit WHERE name = ?", (name,)).fetchone()[0])
        return self._ids[name]

    # -------------------------------------------------------------- folding

    def _inbox_size(self) -> int:
        with self.file.reading() as db:
            return int(db.execute("SELECT count(*) FROM inbox").fetchone()[0])

    def _carry(self, db: sqlite3.Connection, count: int) -> None:
        """Go on with the fold under way by `count` rows, or begin one if the inbox is large enough."""
        fold = self._fold
        if fold is not None and fold.epoch != _epoch(db):
            fold = self._fold = None  # another process folded or forgot what we hold
        if fold is None:
            self._fold = self._begin(db) if _large(db) else None
            return
        rows = fold.rows[fold.done : fold.done + count]
        db.executemany(PUT, rows.tolist())
        db.executemany(PUT_NEWEST, last_of_unit(rows).tolist())
        fold.done += len(rows)
        if fold.done >= len(fold.rows):
            db.execute("DELETE FROM inbox WHERE id <= ?", (fold.last,))
            db.execute("UPDATE epoch SET value = value + 1")
            self._fold = None

    def _begin(self, db: sqlite3.Connection) -> Fold:
        blobs = db.execute("SELECT id, data FROM inbox ORDER BY id").fetchall()
        rows = np.concatenate([np.frombuffer(data, ROW) for _, data in blobs])
        return Fold(rows=in_order(rows), last=blobs[-1][0], epoch=_epoch(db))

    # -------------------------------------------------------------- reading

    def track(self, unit: str, start: int, end: int, *, limit: int) -> Track:
        with self.file.reading() as db:
            found = db.execute("SELECT id FROM unit WHERE name = ?", (unit,)).fetchone()
            points = self._of_unit(db, found[0], start, end, limit) if found else np.empty(0, POINT)
        columns = {name: points[name].astype(np.float64) for name in POINT.names or () if name != "at"}
        return Track(unit=unit, at=points["at"].astype(np.int64), **columns)

    def _of_unit(self, db: sqlite3.Connection, unit: int, start: int, end: int, limit: int) -> Rows:
        names = ", ".join(POINT.names or ())
        where = "WHERE unit = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?"
        folded = db.execute(f"SELECT {names} FROM position {where}", (unit, start, end, limit)).fetchall()
        points = np.array(folded, POINT)
        recent = [_points(blob.rows, unit, start, end) for blob in self._inbox(db, start, end)]
        return _last_of_time(np.concatenate([points, *recent]))[:limit] if recent else points

    def latest(self) -> list[Position]:
        with self.file.reading() as db:
            names = dict(db.execute("SELECT id, name FROM unit").fetchall())
            folded = np.array(db.execute("SELECT * FROM newest").fetchall(), ROW)
            recent = [blob.newest for blob in self._inbox(db, _MIN, _MAX)]
        rows = last_of_unit(in_order(np.concatenate([folded, *recent])))
        return sorted((_position(names[row[0]], row) for row in rows.tolist()), key=lambda p: p.unit)

    def _inbox(self, db: sqlite3.Connection, start: int, end: int) -> list[Blob]:
        """Blobs with rows in start <= at < end, oldest first. A blob never changes, so it is read once."""
        ids = [row[0] for row in db.execute("SELECT id FROM inbox ORDER BY id")]
        for gone in self._seen.keys() - set(ids):
            del self._seen[gone]
        query = "SELECT id FROM inbox WHERE last_at >= ? AND first_at < ? ORDER BY id"
        wanted = [row[0] for row in db.execute(query, (start, end))]
        for key in wanted:
            if key not in self._seen:
                data = db.execute("SELECT data FROM inbox WHERE id = ?", (key,)).fetchone()[0]
                rows = np.frombuffer(data, ROW)
                self._seen[key] = Blob(rows, last_of_unit(in_order(rows)))
        return [self._seen[key] for key in wanted]

    # -------------------------------------------------------------- retention

    def forget(self, before: int) -> int:
        """Delete rows with at < before; safe beside a writing process, which gets its turn between.

        A row that a fold has carried over and not yet dropped from the inbox counts twice.
        """
        gone = self._forget_recent(before)
        with self.file.reading() as db:
            units = [row[0] for row in db.execute("SELECT id FROM unit ORDER BY id")]
        while units:
            with self.file.writing() as db:
                deleted = 0
                while units and deleted < FORGET_ROWS:
                    where = (units.pop(), before)
                    deleted += db.execute("DELETE FROM position WHERE unit = ? AND at < ?", where).rowcount
            gone += deleted
        return gone

    def _forget_recent(self, before: int) -> int:
        """Write the inbox's old blobs anew without the rows, under new ids: a reader may hold the old ones."""
        gone = 0
        with self.file.writing() as db:
            old = db.execute("SELECT id FROM inbox WHERE first_at < ? ORDER BY id", (before,)).fetchall()
            if old:
                gone = _rewrite(db, before, old[0][0])
            db.execute("DELETE FROM newest WHERE at < ?", (before,))
            db.execute("UPDATE epoch SET value = value + 1")
        return gone

    def close(self) -> None:
        """Leave everything in the order of tracks, if this object wrote at all."""
        try:
            if self._ids:
                self.settle()
        finally:
            self.file.close()


POINT = np.dtype([(name, ROW[name]) for name in ("at", "lat", "lon", "speed", "course", "alt", "accuracy")])
"""What a track needs of a row."""

_MIN, _MAX = -(2**63), 2**63 - 1


def _points(rows: Rows, unit: int, start: int, end: int) -> Rows:
    """Points of one unit with start <= at < end, in order of arrival."""
    mine = rows[(rows["unit"] == unit) & (rows["at"] >= start) & (rows["at"] < end)]
    points = np.empty(len(mine), POINT)
    for name in POINT.names or ():
        points[name] = mine[name]
    return points


def _last_of_time(points: Rows) -> Rows:
    """By time, of each time the point that came last."""
    points = points[np.argsort(points["at"], kind="stable")]
    last = np.ones(len(points), np.bool_)
    last[:-1] = points["at"][1:] != points["at"][:-1]
    return points[last]


def _epoch(db: sqlite3.Connection) -> int:
    """Grows whenever blobs leave the inbox."""
    return int(db.execute("SELECT value FROM epoch").fetchone()[0])


def _large(db: sqlite3.Connection) -> bool:
    blobs, rows = db.execute("SELECT count(*), coalesce(sum(rows), 0) FROM inbox").fetchone()
    return bool(blobs >= FOLD_BLOBS or rows >= FOLD_ROWS)


def _rewrite(db: sqlite3.Connection, before: int, first: int) -> int:
    """Blobs from `first` on without rows with at < before, in the same order. Returns how many rows went."""
    blobs = db.execute("SELECT id, data FROM inbox WHERE id >= ? ORDER BY id", (first,)).fetchall()
    db.execute("DELETE FROM inbox WHERE id >= ?", (first,))
    gone = 0
    for _, data in blobs:
        rows = np.frombuffer(data, ROW)
        kept = rows[rows["at"] >= before]
        gone += len(rows) - len(kept)
        if len(kept):
            blob = (len(kept), int(kept["at"].min()), int(kept["at"].max()), kept.tobytes())
            db.execute("INSERT INTO inbox (rows, first_at, last_at, data) VALUES (?, ?, ?, ?)", blob)
    return gone


def _position(name: str, row: tuple[Any, ...]) -> Position:
    speed, course = (None if np.isnan(value) else value for value in row[4:6])
    return Position(unit=name, at=row[1], lat=row[2], lon=row[3], speed=speed, course=course)
