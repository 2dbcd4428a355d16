"""InfluxDB 2 as the store, over influxdb-client's connection.

Lines are built and sent here and not by the client's writers: the batching one returns before anything is stored
and drops what it cannot deliver, the synchronous one neither compresses nor waits as long as the server asks.
Reads are InfluxQL, which gives a day of a unit in a third of the time that Flux needs to pivot it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.message import Clock, Floats, Ints, PositionBatch, ReadingRecord, Refusal, ScoredFrame
from pipeline.ports import Position, Track
from pipeline.settings import StoreTable
from pipeline.store import lines
from pipeline.store.influxlink import Link, Series
from pipeline.store.rows import in_order, rows_of
from pipeline.store.sqlite import load_detections
from pipeline.wire import rfc3339

logger = logging.getLogger(__name__)

LINES = 5_000
"""Lines a request."""

PARALLEL = 2
"""Requests under way at once: the server takes one in while another is compressed."""

UNWRITABLE = "line protocol cannot carry this name: it is empty, has a control character, or ends in a backslash"
TRACK = ("lat", "lon", "speed", "course", "alt", "accuracy")
EARLIEST = "1700-01-01T00:00:00Z"
EARLIEST_NS, LATEST_NS = -(2**63) + 2, 2**63 - 2
"""What InfluxDB can name; 1677 to 2262."""


class InfluxStore:
    """`ports.Store` in one bucket. Connects at the first call.

    A second write of a row replaces the fields it has; a field it lacks stays as it was, because the protocol
    cannot say "no value".
    """

    def __init__(
        self,
        table: StoreTable,
        refused: Callable[[Sequence[Refusal]], None] | None = None,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._refused = refused or _log_refusals
        self._clock = clock
        self._link = Link(table)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="influx")

    # -------------------------------------------------------------- writing

    def write_positions(self, batches: Sequence[PositionBatch]) -> None:
        names, rows = rows_of(batches)
        self._send(list(lines.position_lines(names, in_order(rows))), names)

    def write_frames(self, frames: Sequence[ScoredFrame]) -> None:
        self._send(list(lines.frame_lines(frames)), [frame.camera for frame in frames])

    def write_readings(self, records: Sequence[ReadingRecord]) -> None:
        names = [name for record in records for name in (record.device, *(r.channel for r in record.readings))]
        self._send(list(lines.reading_lines(records)), names)

    def _send(self, rows: Sequence[str], names: Iterable[str]) -> None:
        """Returns when every request has been answered with 204: written to the WAL and synced."""
        requests = [rows[i : i + LINES] for i in range(0, len(rows), LINES)]
        refusals = [refusal for some in self._pool.map(self._deliver, requests) for refusal in some]
        refusals += [
            self._refusal(name, UNWRITABLE, name) for name in dict.fromkeys(names) if lines.tag(name) is None
        ]
        if refusals:
            self._refused(refusals)

    def _deliver(self, rows: Sequence[str]) -> list[Refusal]:
        """Write `rows`; if the server refuses them for what they say, halve until the bad line stands alone."""
        problem = self._link.post(rows)
        if problem is None:
            return []
        if len(rows) == 1:
            return [self._refusal(lines.owner(rows[0]), problem, rows[0])]
        half = len(rows) // 2
        return self._deliver(rows[:half]) + self._deliver(rows[half:])

    def _refusal(self, device: str, detail: str, raw: str) -> Refusal:
        told = detail.replace(raw, "...")  # the server may quote the line, and in it where a unit was
        return Refusal(device, "store", "store_refused", told, self._clock(), raw.encode())

    # -------------------------------------------------------------- reading

    def track(self, unit: str, start: int, end: int, *, limit: int = 1_000_000) -> Track:
        where = f"unit = {quoted(unit)} AND {between(start, end)}"
        rows = self._rows(f"SELECT {', '.join(TRACK)} FROM position WHERE {where} ORDER BY time LIMIT {limit}")
        at, values = _times(rows), np.array([row[1:] for row in rows], np.float64).reshape(-1, len(TRACK))
        columns = {name: _as_sent(name, values[:, index]) for index, name in enumerate(TRACK)}
        return Track(unit=unit, at=at, **columns)

    def latest(self) -> list[Position]:
        query = "SELECT lat, lon, speed, course FROM position GROUP BY unit ORDER BY time DESC LIMIT 1"
        found = [_position(series) for series in self._link.query(query)]
        return sorted(found, key=lambda position: position.unit)

    def frames(self, camera: str, start: int, end: int, *, limit: int = 10_000) -> list[ScoredFrame]:
        where = f"camera = {quoted(camera)} AND {between(start, end)}"
        fields = "received, width, height, model, clock, detections"
        return [
            _frame(camera, row)
            for row in self._rows(f"SELECT {fields} FROM frame WHERE {where} ORDER BY time LIMIT {limit}")
        ]

    def series(self, device: str, channel: str, start: int, end: int) -> tuple[Ints, Floats]:
        where = f"device = {quoted(device)} AND channel = {quoted(channel)} AND {between(start, end)}"
        rows = self._rows(f"SELECT value FROM reading WHERE {where} ORDER BY time")
        return _times(rows), np.array([row[1] for row in rows], np.float64)

    def _rows(self, query: str) -> list[list[Any]]:
        return [row for series in self._link.query(query) for row in series.values]

    # -------------------------------------------------------------- retention, end

    def forget(self, before: int) -> int:
        """Delete by time. How many it deleted InfluxDB does not say: 0."""
        for measurement in ("position", "frame", "reading"):
            self._link.delete(measurement, EARLIEST, rfc3339(before - 1))
        return 0

    def close(self) -> None:
        self._pool.shutdown()
        self._link.close()


def quoted(value: str) -> str:
    """An InfluxQL string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def between(start: int, end: int) -> str:
    """start <= time < end, cut to what InfluxDB can name."""
    low, high = (min(max(at * 1000, EARLIEST_NS), LATEST_NS) for at in (start, end))
    return f"time >= {low} AND time < {high}"


def _times(rows: Sequence[Sequence[Any]]) -> Ints:
    return np.fromiter((row[0] for row in rows), np.int64, len(rows)) // 1000


def _as_sent(name: str, values: Floats) -> Floats:
    """Columns that are float32 on the wire were written with nine digits: round to the number that was meant."""
    return values if name in ("lat", "lon") else values.astype(np.float32).astype(np.float64)


def _position(series: Series) -> Position:
    at, lat, lon, *rest = series.values[0]
    speed, course = (None if value is None else float(np.float32(value)) for value in rest)
    return Position(unit=series.tags["unit"], at=at // 1000, lat=lat, lon=lon, speed=speed, course=course)


def _frame(camera: str, row: Sequence[Any]) -> ScoredFrame:
    at, received, width, height, model, clock, detections = row
    return ScoredFrame(
        camera=camera,
        at=at // 1000,
        received=received,
        width=width,
        height=height,
        model=model,
        clock=Clock(clock),
        detections=load_detections(detections),
    )


def _log_refusals(refusals: Sequence[Refusal]) -> None:
    for refusal in refusals:
        logger.error("InfluxDB refuses %r: %s", refusal.raw, refusal.detail)
