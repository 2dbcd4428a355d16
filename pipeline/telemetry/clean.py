"""What a fix must be to be believed, checked in columns; what is not goes to the quarantine with its reason.

    not_enrolled      the unit is not in the fleet: where it was is not kept
    latitude_range    outside -90..90, or not a number
    longitude_range   outside -180..180, or not a number
    null_island       exactly 0, 0: a receiver without a fix
    clock_early       before `earliest`: a board without a clock
    clock_future      more than `future` after it was received
    accuracy          the receiver itself says that it may be farther off than `accuracy`

What only the fixes before and after can tell (jump, frozen, clock_step, duplicate) is in `doubt`.

An impossible or sentinel speed, course, altitude or accuracy does not condemn a fix: the value becomes NaN, and is
counted. Nor does a stamp that is 1024 or 2048 weeks old and otherwise right: GPS counts weeks with ten bits, and
old receivers lose the carry. It is set right, marked `Clock.IMPLAUSIBLE`, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND, Clock, Float32s, PositionBatch, Refusal
from pipeline.settings import Clean
from pipeline.telemetry.refused import NOT_ENROLLED, groups_of, refuse_rows
from pipeline.wire import parse_rfc3339

MAX_SPEED = 150.0
"""m/s. No enrolled vehicle is faster; receivers send 1023 knots and the like for "unknown"."""

SENTINELS = (255 / 3.6, 255 * 1852 / 3600, 255 * 1609.344 / 3600)
"""m/s below MAX_SPEED that a receiver says for "unknown": all ones in a byte of km/h, of knots, of mph."""

MAX_ALT = 20_000.0
ROLLOVER = 1024 * 7 * 86_400 * SECOND
ROLLED = 86_400 * SECOND
"""How old a stamp may be that is right but for a roll-over; older ones may be history that somebody reads in."""

RELEASED = "release/"
"""Begins the device of fixes that a person has released from the quarantine; no device can be called so."""

REASONS = (
    NOT_ENROLLED,
    "latitude_range",
    "longitude_range",
    "null_island",
    "clock_early",
    "clock_future",
    "accuracy",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is believable. Clock in microseconds: `earliest` since the epoch, `future` after `received`.

    `accuracy` and `slack` in metres, `speed` in m/s: no unit gets farther in a time than `slack + speed * time`.
    """

    earliest: int = 946_684_800 * SECOND
    future: int = 300 * SECOND
    accuracy: float = 2000.0
    speed: float = MAX_SPEED
    slack: float = 500.0

    @staticmethod
    def of(clean: Clean) -> Limits:
        """From the settings' own words. ValueError for a time without an offset."""
        earliest, future = parse_rfc3339(clean.earliest), int(clean.future_s * SECOND)
        return Limits(earliest, future, clean.accuracy_m, clean.jump_mps, clean.jump_m)


class Cleaned(NamedTuple):
    """`mended` counts values that became NaN, and stamps set right."""

    good: PositionBatch
    refusals: list[Refusal]
    mended: int


def clean(batch: PositionBatch, *, enrolled: Collection[str] | None, limits: Limits) -> Cleaned:
    """Split a batch into rows to believe and refusals. `enrolled=None` takes every unit."""
    known = _known(batch, enrolled)
    ahead = batch.at - batch.received
    rolled = 0
    if len(ahead) and ahead.min() < ROLLED - ROLLOVER:
        batch, rolled = _unroll(batch, ahead, limits)
        ahead = batch.at - batch.received
    good = (
        (batch.lat >= -90)
        & (batch.lat <= 90)
        & (batch.lon >= -180)
        & (batch.lon <= 180)
        & ((batch.lat != 0) | (batch.lon != 0))
        & (batch.at >= limits.earliest)
        & (ahead <= limits.future)
    )
    vague = batch.accuracy > limits.accuracy
    if vague.any():
        good &= ~vague | _overruled(batch) | np.isinf(batch.accuracy)
    if known is not None:
        good &= known
    refusals: list[Refusal] = []
    if not good.all():
        strangers = ~known if known is not None else np.zeros(len(batch), np.bool_)
        refusals = list(_refusals(batch, ~good, strangers, limits))
        batch = batch.select(good)
    batch, mended = _mend(batch)
    return Cleaned(batch, refusals, mended + rolled)


def overruled(batch: PositionBatch) -> list[bool]:
    """For each source, whether a person has overruled our doubts about its fixes."""
    return [source.device.startswith(RELEASED) for source in batch.sources]


def _overruled(batch: PositionBatch) -> NDArray[np.bool_]:
    return np.array(overruled(batch), np.bool_)[batch.source]


def _unroll(batch: PositionBatch, ahead: NDArray[np.int64], limits: Limits) -> tuple[PositionBatch, int]:
    """The batch with stamps that have lost one or two carries set right, and how many."""
    at, clock = batch.at.copy(), batch.clock.copy()
    found = np.zeros(len(batch), np.bool_)
    for carries in (1, 2):
        right = ahead + carries * ROLLOVER
        rows = (right <= limits.future) & (right >= -ROLLED)
        at[rows] += carries * ROLLOVER
        found |= rows
    clock[found] = Clock.IMPLAUSIBLE
    return replace(batch, at=at, clock=clock), int(found.sum())


def _known(batch: PositionBatch, enrolled: Collection[str] | None) -> NDArray[np.bool_] | None:
    """Which rows are of an enrolled unit; None if all are."""
    if enrolled is None:
        return None
    known = [name in enrolled for name in batch.units]
    return None if all(known) else np.array(known, np.bool_)[batch.unit]


def _mend(batch: PositionBatch) -> tuple[PositionBatch, int]:
    """The batch without impossible values, and how many there were."""
    impossible = {
        "speed": (batch.speed < 0) | (batch.speed > SENTINELS[0] - 0.01),
        "course": (batch.course < 0) | (batch.course > 360),
        "alt": np.abs(batch.alt) > MAX_ALT,
        "accuracy": (batch.accuracy < 0) | np.isinf(batch.accuracy),
    }
    columns: dict[str, Any] = {}
    mended = 0
    for name, rows in impossible.items():
        if rows.any():
            rows = _no_speed(batch.speed) if name == "speed" else rows
            columns[name] = np.where(rows, np.float32(np.nan), getattr(batch, name))
            mended += int(rows.sum())
    return (replace(batch, **columns) if columns else batch), mended


def _no_speed(speed: Float32s) -> NDArray[np.bool_]:
    """Which speeds are impossible, or stand for none."""
    sentinel = (np.abs(speed[:, None] - np.array(SENTINELS, np.float32)) < 0.01).any(axis=1)
    found: NDArray[np.bool_] = sentinel | (speed < 0) | (speed > MAX_SPEED)
    return found


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
    """Those of a unit, source and reason together: a gateway's clock may be wrong for days."""
    bad = np.flatnonzero(rows)
    reason = _reasons(batch.select(bad), strangers[bad], limits)
    for code, group in groups_of(batch, bad, reason):
        yield from refuse_rows(batch, group, REASONS[code])


def _reasons(batch: PositionBatch, strangers: NDArray[np.bool_], limits: Limits) -> NDArray[np.int64]:
    """The first that applies to each row, as an index of REASONS."""
    found = (
        strangers,
        ~((batch.lat >= -90) & (batch.lat <= 90)),
        ~((batch.lon >= -180) & (batch.lon <= 180)),
        (batch.lat == 0) & (batch.lon == 0),
        batch.at < limits.earliest,
        batch.at - batch.received > limits.future,
    )
    return np.select(found, range(len(found)), len(found)).astype(np.int64)
