"""The embedded store: SQLite, a file per family, so that positions never wait for the lock of frames."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.message import Clock, Floats, Ints, PositionBatch, ReadingRecord, ScoredFrame
from pipeline.ports import Position, Track
from pipeline.store.file import SqliteFile
from pipeline.store.positions import FORGET_ROWS, Positions

FRAMES_VERSION = 1
FRAMES = """
CREATE TABLE frame (camera TEXT NOT NULL, at INTEGER NOT NULL, received INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, model TEXT NOT NULL, clock INTEGER NOT NULL, detections TEXT NOT NULL,
    PRIMARY KEY (camera, at)) WITHOUT ROWID
"""
READINGS_VERSION = 1
READINGS = """
CREATE TABLE reading (device TEXT NOT NULL, channel TEXT NOT NULL, at INTEGER NOT NULL, value REAL,
    unit TEXT NOT NULL, clock INTEGER NOT NULL, PRIMARY KEY (device, channel, at)) WITHOUT ROWID
"""


class SqliteStore:
    """`ports.Store` in a folder: positions.db, frames.db, readings.db, each made at its first use."""

    def __init__(self, folder: Path) -> None:
        self.positions = Positions(folder / "positions.db")
        self.frames_file = SqliteFile(folder / "frames.db", schema=FRAMES, version=FRAMES_VERSION)
        self.readings_file = SqliteFile(folder / "readings.db", schema=READINGS, version=READINGS_VERSION)

    def write_positions(self, batches: Sequence[PositionBatch]) -> None:
        self.positions.write(batches)

    def write_frames(self, frames: Sequence[ScoredFrame]) -> None:
        rows = [_frame_row(frame) for frame in frames]
        _put(self.frames_file, "INSERT OR REPLACE INTO frame VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def write_readings(self, records: Sequence[ReadingRecord]) -> None:
        rows = [
            (record.device, reading.channel, reading.at, reading.value, reading.unit, int(reading.clock))
            for record in records
            for reading in record.readings
            if not math.isnan(reading.value)
        ]
        _put(self.readings_file, "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?)", rows)

    def track(self, unit: str, start: int, end: int, *, limit: int = 1_000_000) -> Track:
        return self.positions.track(unit, start, end, limit=limit)

    def latest(self) -> list[Position]:
        return self.positions.latest()

    def frames(self, camera: str, start: int, end: int, *, limit: int = 10_000) -> list[ScoredFrame]:
        query = "SELECT * FROM frame WHERE camera = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?"
        with self.frames_file.reading() as db:
            return [_frame(row) for row in db.execute(query, (camera, start, end, limit))]

    def series(self, device: str, channel: str, start: int, end: int) -> tuple[Ints, Floats]:
        query = "SELECT at, value FROM reading WHERE device = ? AND channel = ? AND at >= ? AND at < ? ORDER BY at"
        with self.readings_file.reading() as db:
            rows = db.execute(query, (device, channel, start, end)).fetchall()
        return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)

    def forget(self, before: int) -> int:
        """Delete what is older, a bounded number of rows at a time."""
        gone = self.positions.forget(before)
        gone += _forget(self.frames_file, "frame", "camera, at", before)
        return gone + _forget(self.readings_file, "reading", "device, channel, at", before)

    def close(self) -> None:
        self.frames_file.close()
        self.readings_file.close()
        self.positions.close()


def _put(file: SqliteFile, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """One commit; none for nothing."""
    if rows:
        with file.writing() as db:
            db.executemany(statement, rows)


def _forget(file: SqliteFile, table: str, key: str, before: int) -> int:
    old = f"SELECT {key} FROM {table} WHERE at < ? LIMIT {FORGET_ROWS}"
    gone = 0
    while True:
        with file.writing() as db:
            deleted = _delete(db, f"DELETE FROM {table} WHERE ({key}) IN ({old})", before)
        gone += deleted
        if deleted < FORGET_ROWS:
            return gone


def _delete(db: sqlite3.Connection, statement: str, before: int) -> int:
    return int(db.execute(statement, (before,)).rowcount)


def _frame_row(frame: ScoredFrame) -> tuple[Any, ...]:
    about = (frame.camera, frame.at, frame.received, frame.width, frame.height, frame.model, int(frame.clock))
    return (*about, dump_detections(frame))


def _frame(row: tuple[Any, ...]) -> ScoredFrame:
    camera, at, received, width, height, model, clock, text = row
    return ScoredFrame(
        camera=camera,
        at=at,
        received=received,
        width=width,
        height=height,
        model=model,
        clock=Clock(clock),
        detections=load_detections(text),
    )


def dump_detections(frame: ScoredFrame) -> str:
    """`[[label, score, [x1, y1, x2, y2]], ...]` as compact JSON."""
    return json.dumps(frame.detections, separators=(",", ":"))


def load_detections(text: str) -> list[tuple[str, float, tuple[float, float, float, float]]]:
    """The inverse of `dump_detections`."""
    return [(label, score, (box[0], box[1], box[2], box[3])) for label, score, box in json.loads(text)]
