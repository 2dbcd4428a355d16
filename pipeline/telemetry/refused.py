"""Fixes that were refused or are held: whole rows, so that a person can look at them and release them.

A refusal carries the rows it stands for, up to ROWS_TOLD, as JSON: `{"unit": …, "fixes": [Row, …]}`; more rows make
more refusals. Of a unit that is not enrolled not even one row is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import wire
from pipeline.columns import Columns
from pipeline.message import POSITION_COLUMNS, Clock, Fix, PositionBatch, Refusal, Source
from pipeline.wire import optional, rfc3339

NOT_ENROLLED = "not_enrolled"
DUPLICATE = "duplicate"
ROWS_TOLD = 150
"""Rows in one refusal; together they stay below what the quarantine keeps of a refusal."""

FLOATS = ("lat", "lon", "speed", "course", "alt", "accuracy")


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fix as it stood in a batch, with the message it came in. None stands for NaN."""

    unit: str
    at: int
    received: int
    lat: float | None = None
    lon: float | None = None
    speed: float | None = None
    course: float | None = None
    alt: float | None = None
    accuracy: float | None = None
    clock: int = int(Clock.UNKNOWN)
    device: str = ""
    epoch: int = 0
    seq: int = 0


class Kept(msgspec.Struct, frozen=True):
    """What stands in `Refusal.raw` of fixes."""

    unit: str
    fixes: list[Row]


_KEPT = msgspec.json.Decoder(Kept)


def kept(refusal: Refusal) -> Kept | None:
    """The fixes of a refusal; None for one that has none, or not of positions."""
    try:
        return _KEPT.decode(refusal.raw) if refusal.topic.endswith("/position") else None
    except msgspec.MsgspecError:
        return None


def row_of(batch: PositionBatch, row: int) -> Row:
    source = batch.sources[int(batch.source[row])]
    floats = {name: _finite(float(getattr(batch, name)[row])) for name in FLOATS}
    return Row(
        unit=batch.units[int(batch.unit[row])],
        at=int(batch.at[row]),
        received=int(batch.received[row]),
        clock=int(batch.clock[row]),
        device=source.device,
        epoch=source.epoch,
        seq=int(batch.seq[row]),
        **floats,
    )


def _finite(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return optional(value) if abs(value) != float("inf") else None


def batch_of(rows: Sequence[Row]) -> PositionBatch:
    """The rows as columns, in their order."""
    columns = Columns()
    for row in rows:
        nan = float("nan")
        lat, lon = (nan if value is None else value for value in (row.lat, row.lon))
        more = (row.speed, row.course, row.alt, row.accuracy)
        fix = Fix(row.unit, row.at, lat, lon, *more, clock=Clock(row.clock))
        columns.add(Source(row.device, row.epoch), row.seq, row.received, fix)
    return columns.batch()


def joined(rows: Sequence[Row], batch: PositionBatch) -> PositionBatch:
    """`rows` and after them those of `batch`, with its ticks."""
    if not rows:
        return batch
    first = batch_of(rows)
    columns = {name: np.concatenate((getattr(first, name), getattr(batch, name))) for name in POSITION_COLUMNS}
    columns["unit"][len(rows) :] += len(first.units)
    columns["source"][len(rows) :] += len(first.sources)
    units, unit = _once(first.units + batch.units)
    columns["unit"] = unit[columns["unit"]]
    return PositionBatch(units=units, sources=first.sources + batch.sources, ticks=batch.ticks, **columns)


def _once(names: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.uint32]]:
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(name, len(index)) for name in names), np.uint32, len(names))
    return tuple(index), codes


# ---------------------------------------------------------------- refusals


def groups_of(
    batch: PositionBatch, rows: NDArray[np.intp], reason: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(index of the reason, rows) for each unit, source and reason, in the order in which they first appear."""
    keys = np.stack((batch.unit[rows], batch.source[rows], reason), axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for n in np.argsort(first).tolist():
        yield int(reason[first[n]]), rows[group.reshape(-1) == n]


def refuse_rows(batch: PositionBatch, rows: NDArray[np.intp], reason: str) -> Iterator[Refusal]:
    """Refusals of rows of one unit and source."""
    if reason == NOT_ENROLLED:
        first = int(rows[0])
        unit, source = batch.units[int(batch.unit[first])], batch.sources[int(batch.source[first])]
        at = batch.at[rows]
        detail = (
            f"unit {unit}: {_span(len(rows), int(at.min()), int(at.max()))}, not in the fleet, coordinates not kept"
        )
        received = int(batch.received[first])
        yield Refusal(source.device, _topic(source.device), reason, detail, received, b"", len(rows))
        return
    for i in range(0, len(rows), ROWS_TOLD):
        yield refusal([row_of(batch, row) for row in rows[i : i + ROWS_TOLD].tolist()], reason)


def refuse_kept(rows: Sequence[Row], reason: str) -> Iterator[Refusal]:
    """Refusals of rows of any units."""
    for _, some in groupby(sorted(rows, key=_origin), key=_origin):
        yield refusal(list(some), reason)


def refusal(rows: list[Row], reason: str) -> Refusal:
    """Says how many fixes and of what time, and never where. Of a doubled fix nothing is kept: it is there."""
    first, at = rows[0], [row.at for row in rows]
    detail = f"unit {first.unit}: {_span(len(rows), min(at), max(at))}"
    raw = b"" if reason == DUPLICATE else msgspec.json.encode(Kept(first.unit, rows))
    return Refusal(first.device, _topic(first.device), reason, detail, first.received, raw, len(rows))


def _origin(row: Row) -> tuple[str, str, int]:
    return row.unit, row.device, row.epoch


def _topic(device: str) -> str:
    return wire.topic(device, "position")


def _span(count: int, first: int, last: int) -> str:
    return f"1 fix at {rfc3339(first)}" if count == 1 else f"{count} fixes from {rfc3339(first)} to {rfc3339(last)}"
