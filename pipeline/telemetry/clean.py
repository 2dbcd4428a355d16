"""What a fix must be to be believed, checked in columns; what is not goes to the quarantine with its reason.

    not_enrolled      the unit is not in the fleet: where it was is not kept
    latitude_range    outside -90..90, or not a number
    longitude_range   outside -180..180, or not a number
    null_island       exactly 0, 0: a receiver without a fix
    clock_early       before `earliest`: a board without a clock, a week roll-over
    clock_future      more than `future` after it was received

An impossible speed, course, altitude or accuracy does not condemn a fix: the value becomes NaN, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import wire
from pipeline.message import SECOND, PositionBatch, Refusal
from pipeline.wire import optional, parse_rfc3339, rfc3339

MAX_SPEED = 150.0
"""m/s. No enrolled vehicle is faster; receivers send 1023 knots and the like for "unknown"."""

MAX_ALT = 20_000.0
NOT_ENROLLED = "not_enrolled"
REASONS = (NOT_ENROLLED, "latitude_range", "longitude_range", "null_island", "clock_early", "clock_future")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a believable clock, in microseconds: `earliest` since the epoch, `future` after `received`."""

    earliest: int = 946_684_800 * SECOND
    future: int = 300 * SECOND

    @staticmethod
    def of(earliest: str, future_s: float) -> Limits:
        """From the settings' own words. ValueError for a time without an offset."""
        return Limits(parse_rfc3339(earliest), int(future_s * SECOND))


class Cleaned(NamedTuple):
    """`mended` counts values that became NaN."""

    good: PositionBatch
    refusals: list[Refusal]
    mended: int


def clean(batch: PositionBatch, *, enrolled: Collection[str] | None, limits: Limits) -> Cleaned:
    """Split a batch into rows to believe and refusals. `enrolled=None` takes every unit."""
    known = _known(batch, enrolled)
    good = (
        (batch.lat >= -90)
        & (batch.lat <= 90)
        & (batch.lon >= -180)
        & (batch.lon <= 180)
        & ((batch.lat != 0) | (batch.lon != 0))
        & (batch.at >= limits.earliest)
        & (batch.at - batch.received <= limits.future)
    )
    if known is not None:
        good &= known
    if good.all():
        return Cleaned(*_mend(batch, []))
    strangers = ~known if known is not None else np.zeros(len(batch), np.bool_)
    return Cleaned(*_mend(batch.select(good), list(_refusals(batch, ~good, strangers, limits))))


def _known(batch: PositionBatch, enrolled: Collection[str] | None) -> NDArray[np.bool_] | None:
    """Which rows are of an enrolled unit; None if all are."""
    if enrolled is None:
        return None
    known = [name in enrolled for name in batch.units]
    return None if all(known) else np.array(known, np.bool_)[batch.unit]


def _mend(batch: PositionBatch, refusals: list[Refusal]) -> tuple[PositionBatch, list[Refusal], int]:
    impossible = {
        "speed": (batch.speed < 0) | (batch.speed > MAX_SPEED),
        "course": (batch.course < 0) | (batch.course > 360),
        "alt": np.abs(batch.alt) > MAX_ALT,
        "accuracy": (batch.accuracy < 0) | np.isinf(batch.accuracy),
    }
    columns: dict[str, Any] = {}
    mended = 0
    for name, rows in impossible.items():
        if rows.any():
            columns[name] = np.where(rows, np.float32(np.nan), getattr(batch, name))
            mended += int(rows.sum())
    return (replace(batch, **columns) if columns else batch), refusals, mended


# ---------------------------------------------------------------- refusals


def tally(refusals: Iterable[Refusal]) -> dict[str, int]:
    """Rows refused, by reason, in the order of their names."""
    rows: Counter[str] = Counter()
    for refusal in refusals:
        rows[refusal.reason] += refusal.count
    return dict(sorted(rows.items()))


def _refusals(
    batch: PositionBatch, rows: NDArray[np.bool_], strangers: NDArray[np.bool_], limits: Limits
) -> Iterator[Refusal]:
    """One for all rows of a unit, source and reason: a gateway's clock may be wrong for days."""
    bad = np.flatnonzero(rows)
    reason = _reasons(batch.select(bad), strangers[bad], limits)
    keys = np.stack((batch.unit[bad], batch.source[bad], reason), axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for n in np.argsort(first).tolist():
        yield _refusal(batch, bad[group.reshape(-1) == n], REASONS[int(reason[first[n]])])


def _reasons(batch: PositionBatch, strangers: NDArray[np.bool_], limits: Limits) -> NDArray[np.int64]:
    """The first that applies to each row, as an index of REASONS."""
    found = (
        strangers,
        ~((batch.lat >= -90) & (batch.lat <= 90)),
        ~((batch.lon >= -180) & (batch.lon <= 180)),
        (batch.lat == 0) & (batch.lon == 0),
        batch.at < limits.earliest,
    )
    return np.select(found, range(len(found)), len(found)).astype(np.int64)


def _refusal(batch: PositionBatch, rows: NDArray[np.intp], reason: str) -> Refusal:
    """Says how many fixes and of what time, and never where. Of a stranger not even a row is kept."""
    first, at, count = int(rows[0]), batch.at[rows], len(rows)
    device, unit = batch.sources[int(batch.source[first])].device, batch.units[int(batch.unit[first])]
    span = f"1 fix at {rfc3339(int(at[0]))}"
    if count > 1:
        span = f"{count} fixes from {rfc3339(int(at.min()))} to {rfc3339(int(at.max()))}"
    stranger = reason == NOT_ENROLLED
    detail = f"unit {unit}: {span}" + (", not in the fleet, coordinates not kept" if stranger else "")
    raw = b"" if stranger else msgspec.json.encode(_fix(batch, first))
    received = int(batch.received[first])
    return Refusal(device, wire.topic(device, "position"), reason, detail, received, raw, count)


def _fix(batch: PositionBatch, row: int) -> dict[str, Any]:
    """The row as it came, for a person to look at."""
    fix: dict[str, Any] = {"unit": batch.units[int(batch.unit[row])], "at_us": int(batch.at[row])}
    for name in ("lat", "lon", "speed", "course", "alt", "accuracy"):
        fix[name] = optional(float(getattr(batch, name)[row]))
    return fix | {"seq": int(batch.seq[row])}
