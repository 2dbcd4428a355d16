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

from collections.abc import Collection, Iterator
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
    refusals = [*_not_enrolled(batch, strangers), *_refused(batch, ~good & ~strangers, limits)]
    return Cleaned(*_mend(batch.select(good), refusals))


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


def _not_enrolled(batch: PositionBatch, rows: NDArray[np.bool_]) -> Iterator[Refusal]:
    """One refusal for all rows of a unit and source in the batch, without coordinates."""
    for unit, source in np.unique(np.stack((batch.unit[rows], batch.source[rows]), axis=1), axis=0).tolist():
        these = rows & (batch.unit == unit) & (batch.source == source)
        at, name = batch.at[these], batch.units[unit]
        span = f"{int(these.sum())} fixes from {rfc3339(int(at.min()))} to {rfc3339(int(at.max()))}"
        detail = f"unit {name} is not in the fleet: {span}, coordinates not kept"
        yield _refusal(batch, int(np.flatnonzero(these)[0]), "not_enrolled", detail, b"")


def _refused(batch: PositionBatch, rows: NDArray[np.bool_], limits: Limits) -> Iterator[Refusal]:
    for row in np.flatnonzero(rows).tolist():
        fix = _fix(batch, row)
        lat, lon, at = fix["lat"], fix["lon"], int(fix["at_us"])
        reason = _reason(lat, lon, at, limits)
        detail = f"unit {fix['unit']} at {rfc3339(at)}, latitude {lat}, longitude {lon}"
        yield _refusal(batch, row, reason, detail, msgspec.json.encode(fix))


def _reason(lat: Any, lon: Any, at: int, limits: Limits) -> str:
    if lat is None or not -90 <= lat <= 90:
        return "latitude_range"
    if lon is None or not -180 <= lon <= 180:
        return "longitude_range"
    if lat == 0 and lon == 0:
        return "null_island"
    return "clock_early" if at < limits.earliest else "clock_future"


def _fix(batch: PositionBatch, row: int) -> dict[str, Any]:
    """The row as it came, for a person to look at."""
    fix: dict[str, Any] = {"unit": batch.units[int(batch.unit[row])], "at_us": int(batch.at[row])}
    for name in ("lat", "lon", "speed", "course", "alt", "accuracy"):
        fix[name] = optional(float(getattr(batch, name)[row]))
    return fix | {"seq": int(batch.seq[row])}


def _refusal(batch: PositionBatch, row: int, reason: str, detail: str, raw: bytes) -> Refusal:
    device = batch.sources[int(batch.source[row])].device
    return Refusal(device, wire.topic(device, "position"), reason, detail, int(batch.received[row]), raw)
