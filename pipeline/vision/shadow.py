"""A second model that scores silently: what both saw goes into a ledger of its own, never to rules, store or API.

    frame ─► detector ─► rules, store            as ever
        └──► shadow ──► SQLite `shadow.db`       bounded; `vedette models compare` reads it

It runs after the detector on the same picture and takes its time; it never stops it. What fails in it is counted.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import ScoredFrame
from pipeline.ports import Detector, UserError
from pipeline.vision.session import REFUSALS

logger = logging.getLogger(__name__)
LEDGER_FILE = "shadow.db"
MAX_ROWS = 200_000
MAX_PICTURES = 20
"""Pictures kept of each camera: those in which the two differ most."""

PICTURE_FROM = 0.1
"""Least difference for which a picture is kept."""

KEPT = 20
SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    camera TEXT, at INTEGER, main TEXT, shadow TEXT, saw BLOB, shadow_saw BLOB, difference REAL,
    PRIMARY KEY (camera, at, main, shadow)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS picture (
    camera TEXT, at INTEGER, difference REAL, image BLOB, PRIMARY KEY (camera, at)) WITHOUT ROWID;
"""

Row = tuple[str, float, tuple[float, float, float, float]]


class Both(msgspec.Struct, frozen=True):
    """What two models saw in one frame: label, score and box in pixels each, best first. `at` in microseconds."""

    camera: str
    at: int
    main: str
    shadow: str
    saw: list[Row]
    shadow_saw: list[Row]

    @property
    def difference(self) -> float:
        """The largest difference of best scores over the labels: 0 the same, 1 one is sure and the other blind."""
        best, other = best_scores(self.saw), best_scores(self.shadow_saw)
        return max((abs(best.get(k, 0.0) - other.get(k, 0.0)) for k in best | other), default=0.0)


def best_scores(saw: Iterable[Row]) -> dict[str, float]:
    best: dict[str, float] = {}
    for label, score, _box in saw:
        best[label] = max(score, best.get(label, 0.0))
    return best


class Ledger:
    """What both saw, in SQLite, at most `rows` frames (the oldest go) and MAX_PICTURES pictures a camera."""

    def __init__(self, path: Path, *, rows: int = MAX_ROWS) -> None:
        self.path, self.rows = path, rows

    def write(self, both: Sequence[tuple[Both, bytes]]) -> None:
        """Idempotent by camera, time and models. Raises sqlite3.Error."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.executescript(SCHEMA)
            database.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?,?,?,?,?,?,?)", [_packed(b) for b, _ in both]
            )
            kept = [(b.camera, b.at, b.difference, image) for b, image in both if b.difference >= PICTURE_FROM]
            database.executemany("INSERT OR REPLACE INTO picture VALUES (?,?,?,?)", kept)
            self._bound(database, {row[0] for row in kept})

    def _bound(self, database: sqlite3.Connection, cameras: set[str]) -> None:
        ((count,),) = database.execute("SELECT count(*) FROM seen")
        if count > self.rows:
            oldest = "SELECT camera, at, main, shadow FROM seen ORDER BY at LIMIT ?"
            rows = database.execute(oldest, (count - self.rows,)).fetchall()
            database.executemany("DELETE FROM seen WHERE camera=? AND at=? AND main=? AND shadow=?", rows)
        for camera in cameras:
            least = "SELECT at FROM picture WHERE camera=? ORDER BY difference DESC, at DESC LIMIT -1 OFFSET ?"
            gone = [(camera, at) for (at,) in database.execute(least, (camera, MAX_PICTURES))]
            database.executemany("DELETE FROM picture WHERE camera=? AND at=?", gone)

    def read(self, start: int, end: int, camera: str = "") -> list[Both]:
        """Frames with start <= at < end in order of time. Raises UserError when there is no ledger."""
        where = "SELECT * FROM seen WHERE at >= ? AND at < ? AND (? = '' OR camera = ?) ORDER BY at, camera"
        return [_unpacked(row) for row in self._rows(where, (start, end, camera, camera))]

    def picture(self, camera: str, at: int) -> bytes | None:
        rows = self._rows("SELECT image FROM picture WHERE camera=? AND at=?", (camera, at))
        return bytes(rows[0][0]) if rows else None

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        if not self.path.is_file():
            raise UserError(
                f"no ledger {self.path}: nothing has run in shadow here; set [vision] shadow to a model"
            )
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
                return database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise UserError(
                f"ledger {self.path} cannot be read: {error}; move it away to begin a new one"
            ) from error


def _packed(both: Both) -> tuple[Any, ...]:
    saw, other = msgspec.msgpack.encode(both.saw), msgspec.msgpack.encode(both.shadow_saw)
    return both.camera, both.at, both.main, both.shadow, saw, other, both.difference


def _unpacked(row: Any) -> Both:
    decode = msgspec.msgpack.Decoder(list[Row]).decode
    camera, at, main, shadow = row[:4]
    return Both(camera, at, main, shadow, decode(row[4]), decode(row[5]))


class Shadow:
    """The second model beside the first. `see` never raises what the model may; `write` never what the disk may."""

    def __init__(self, detector: Detector, ledger: Ledger) -> None:
        self._detector, self._ledger = detector, ledger
        self.scored: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def figures(self) -> dict[str, Any]:
        return {"model": self._detector.model, "scored": dict(self.scored), "failed": dict(self.failed)}

    def see(self, scored: ScoredFrame, picture: NDArray[np.uint8]) -> Both | None:
        """What both saw of a frame, in pixels of the stored picture; `picture` may be smaller. None: it failed."""
        try:
            (found,) = self._detector.detect([picture])
        except (*REFUSALS, UserError) as error:
            self._fail("model", error)
            return None
        self.scored[scored.camera] += 1
        x, y = scored.width / picture.shape[1], scored.height / picture.shape[0]
        other = [(label, score, (b[0] * x, b[1] * y, b[2] * x, b[3] * y)) for label, score, b in found]
        mine, theirs = scored.detections[:KEPT], other[:KEPT]
        return Both(scored.camera, scored.at, scored.model, self._detector.model, mine, theirs)

    def write(self, both: Sequence[tuple[Both, bytes]]) -> None:
        try:
            self._ledger.write(both)
        except (sqlite3.Error, OSError) as error:
            self._fail("ledger", error)

    def _fail(self, what: str, error: Exception) -> None:
        if not self.failed[what]:
            logger.warning("shadow %s fails, and is counted from now on: %s", what, error)
        self.failed[what] += 1


# ---------------------------------------------------------------- comparison


class Tally(msgspec.Struct):
    """Frames of one camera by which of the two would say something, each at its own thresholds."""

    frames: int = 0
    both: int = 0
    main_only: int = 0
    shadow_only: int = 0
    neither: int = 0

    @property
    def agreement(self) -> float:
        return (self.both + self.neither) / self.frames if self.frames else float("nan")


def says(saw: Iterable[Row], thresholds: Mapping[str, float]) -> bool:
    return any(score >= thresholds.get(label, 2.0) for label, score, _box in saw)


def tallies(frames: Iterable[Both], main: Mapping[str, float], shadow: Mapping[str, float]) -> dict[str, Tally]:
    """By camera."""
    found: dict[str, Tally] = {}
    for frame in frames:
        tally = found.setdefault(frame.camera, Tally())
        tally.frames += 1
        key = WHICH[says(frame.saw, main), says(frame.shadow_saw, shadow)]
        setattr(tally, key, getattr(tally, key) + 1)
    return dict(sorted(found.items()))


WHICH = {(True, True): "both", (True, False): "main_only", (False, True): "shadow_only", (False, False): "neither"}
