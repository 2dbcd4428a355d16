"""Fixes that only the ones before and after can judge; what is doubtful waits until they have.

    duplicate    the unit's newest fix again: same time, same place
    jump         out of reach of the fix before, while the next is within its reach again: one wild fix
    clock_step   stamped ahead of the time it was received, while the next is not: one wrong stamp
    frozen       the receiver says that it moves, and has said the same place FROZEN times

A doubtful fix is held. It is refused when the next one belongs to those before it, and believed when the next is
within reach of both, or when BELIEVED fixes after each other agree: the unit was moved, or its clock set.
So nothing is lost, a wild fix does not condemn the next, and one wrong stamp does not make the next ones late.
A fix that no other has judged after `HELD_FOR` is refused. What a person has released is not doubted again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND, PositionBatch, Refusal
from pipeline.rules.moves import NEVER, Moves, Slots, arrange, grown
from pipeline.rules.sphere import haversine
from pipeline.telemetry.clean import Limits, overruled
from pipeline.telemetry.refused import DUPLICATE, Row, groups_of, joined, refuse_kept, refuse_rows, row_of

BELIEVED = 3
FROZEN = 5
MOVING = 5.0
"""m/s. Receivers that stand still name up to some metres a second."""

AHEAD = 30 * SECOND
"""A clock may be that far ahead of ours without a doubt."""

HELD_FOR = 600 * SECOND
"""Of the bridge's clock."""

DEGREE = 111_700.0
"""Metres, no degree is longer."""

RADIUS = 6_371_008.8
REASONS = (DUPLICATE, "jump", "clock_step", "frozen")


class Doubts(msgspec.Struct):
    """State. `place` by slot: of the newest believed fix, latitude + i longitude. The rest by unit, and seldom.

    `held` are doubtful fixes that agree with each other, in order; `ahead` how far a clock is ahead that was
    believed; `frozen` how often a moving unit has said the same place.
    """

    place: np.ndarray
    held: dict[str, list[Row]] = {}
    ahead: dict[str, int] = {}
    frozen: dict[str, int] = {}


def no_doubts() -> Doubts:
    return Doubts(np.empty(0, np.complex128), {}, {}, {})


class Weighed(NamedTuple):
    """`batch` are the believed rows, late ones and those no longer held included; `moves` are over it."""

    batch: PositionBatch
    moves: Moves
    refusals: list[Refusal]


def weigh(state: Doubts, slots: Slots, batch: PositionBatch, limits: Limits) -> Weighed:
    """Bring a cleaned batch into order without what is doubtful. Changes `state` and `slots`."""
    late = slots.late
    moves = arrange(slots, batch)
    state.place = grown(state.place, moves.slots, complex(math.nan, math.nan))
    here = _places(moves)
    suspects = _suspects(state, moves, here, limits)
    if slots.late > late:
        suspects |= _with_late(moves)
    refusals: list[Refusal] = []
    if suspects:
        slots.newest[moves.slot[moves.starts]] = moves.prev_at[moves.starts]
        slots.late = late
        batch, refusals = _Judge(state, slots, batch, limits).judged(sorted(suspects))
        moves = arrange(slots, batch)
        here = _places(moves)
    state.place[moves.slot[moves.starts]] = here[moves.ends - 1]
    return Weighed(batch, moves, refusals)


def give_up(state: Doubts, now: int) -> list[Refusal]:
    """Refuse what has been held too long; `now` is the bridge's clock."""
    refusals: list[Refusal] = []
    for unit, rows in list(state.held.items()):
        if abs(now - rows[-1].received) > HELD_FOR:
            refusals += refuse_kept(state.held.pop(unit), _why(rows[0]))
    return refusals


# ---------------------------------------------------------------- which units to look at


def _places(moves: Moves) -> NDArray[np.complex128]:
    here = np.empty(len(moves), np.complex128)
    here.real, here.imag = moves.column("lat"), moves.column("lon")
    return here


def _suspects(state: Doubts, moves: Moves, here: NDArray[np.complex128], limits: Limits) -> set[int]:
    """Units, by their code in the batch, with a fix that needs a closer look. Coarse, and never too lenient."""
    if not len(moves):
        return set()
    before = np.empty_like(here)
    before[1:] = here[:-1]
    before[moves.starts] = state.place[moves.slot[moves.starts]]
    step = np.abs(here - before) * (DEGREE / limits.speed * SECOND)
    odd = step > (moves.at - moves.prev_at) + limits.slack / limits.speed * SECOND
    still = step == 0
    if still.any():
        odd |= still & (moves.column("speed") > MOVING)
    if (moves.batch.at - moves.batch.received).max() > AHEAD:
        odd |= moves.column("at") - moves.column("received") > AHEAD
    unit = moves.batch.unit[moves.row]
    found = set(unit[odd].tolist()) if odd.any() else set()
    if state.held or state.frozen:
        names = enumerate(moves.batch.units)
        found |= {code for code, name in names if name in state.held or name in state.frozen} & set(unit.tolist())
    return found


def _with_late(moves: Moves) -> set[int]:
    on_time = np.zeros(len(moves.batch), np.bool_)
    on_time[moves.row] = True
    return set(moves.batch.unit[~on_time].tolist())


# ---------------------------------------------------------------- the closer look


class Point(NamedTuple):
    """A fix under judgement; `ref` is its row in the batch, or a row that was held before."""

    at: int
    received: int
    lat: float
    lon: float
    ref: Row | int


class _Judge:
    """Goes through the fixes of suspect units in order of arrival."""

    def __init__(self, state: Doubts, slots: Slots, batch: PositionBatch, limits: Limits) -> None:
        self._state, self._slots, self._batch, self._limits = state, slots, batch, limits
        self._released = overruled(batch)
        self._again: list[Row] = []
        self._refused: dict[int, int] = {}
        self._withdrawn: list[tuple[Row, str]] = []
        self._waiting: list[tuple[str, list[Point]]] = []

    def judged(self, suspects: list[int]) -> tuple[PositionBatch, list[Refusal]]:
        """The batch without what is refused or held, after what is no longer held; and the refusals."""
        for code in suspects:
            self._unit(code)
        out = np.zeros(len(self._batch), np.bool_)
        out[list(self._refused)] = True
        for unit, points in self._waiting:
            out[[point.ref for point in points if isinstance(point.ref, int)]] = True
            self._state.held[unit] = [self._row(point) for point in points]
        return joined(self._again, self._batch.select(~out)), list(self._refusals())

    def _refusals(self) -> Iterator[Refusal]:
        rows = np.array(sorted(self._refused), np.intp)
        if len(rows):
            reason = np.array([self._refused[row] for row in rows.tolist()], np.int64)
            for code, group in groups_of(self._batch, rows, reason):
                yield from refuse_rows(self._batch, group, REASONS[code])
        for row, why in self._withdrawn:
            yield from refuse_kept([row], why)

    def _row(self, point: Point) -> Row:
        return row_of(self._batch, point.ref) if isinstance(point.ref, int) else point.ref

    def _unit(self, code: int) -> None:
        name = self._batch.units[code]
        before = self._before(name)
        held = [Point(r.at, r.received, r.lat or 0.0, r.lon or 0.0, r) for r in self._state.held.pop(name, [])]
        for row in np.flatnonzero(self._batch.unit == code).tolist():
            point = self._point(row)
            if self._released[int(self._batch.source[row])]:
                continue
            if before is not None and point.at <= before.at:
                self._past(before, point)
            elif not self._is_frozen(name, before, point):
                before, held = self._next(name, before, held, point)
        if held:
            self._waiting.append((name, held))

    def _before(self, name: str) -> Point | None:
        """The newest believed fix; None if there is none."""
        slot = self._slots.index[name]
        at, place = int(self._slots.newest[slot]), self._state.place[slot]
        known = at != NEVER and not np.isnan(place.real)
        return Point(at, 0, float(place.real), float(place.imag), -1) if known else None

    def _point(self, row: int) -> Point:
        b = self._batch
        return Point(int(b.at[row]), int(b.received[row]), float(b.lat[row]), float(b.lon[row]), row)

    def _past(self, before: Point, point: Point) -> None:
        """A late fix is believed if the unit can have come from there."""
        if point.at == before.at and (point.lat, point.lon) == (before.lat, before.lon):
            self._refuse([point], DUPLICATE)
        elif not self._within_reach(before, point):
            self._refuse([point], "jump")

    def _is_frozen(self, name: str, before: Point | None, point: Point) -> bool:
        same = before is not None and (point.lat, point.lon) == (before.lat, before.lon)
        speed = float(self._batch.speed[point.ref]) if isinstance(point.ref, int) else math.nan
        if not (same and speed > MOVING):
            self._state.frozen.pop(name, None)
            return False
        self._state.frozen[name] = self._state.frozen.get(name, 1) + 1
        if self._state.frozen[name] <= FROZEN:
            return False
        self._refuse([point], "frozen")
        return True

    def _next(
        self, name: str, before: Point | None, held: list[Point], point: Point
    ) -> tuple[Point | None, list[Point]]:
        """What is believed last and what is held after one more fix."""
        if held and abs(point.received - held[-1].received) > HELD_FOR:
            self._refuse(held, _why(held[0]))  # as `give_up` would have between, however the fixes are batched
            held = []
        fine = self._follows(name, before, point)
        if held and self._agrees(held[-1], point):
            if not fine and len(held) + 1 < BELIEVED:
                return before, [*held, point]
            self._believe(name, held, point)
            return point, []
        if held:
            self._refuse(held, _why(held[0]))
        return (point, []) if fine else (before, [point])

    def _follows(self, name: str, before: Point | None, point: Point) -> bool:
        """Whether a fix is no surprise after the one before."""
        ahead = point.at - point.received
        if ahead > AHEAD and abs(ahead - self._state.ahead.get(name, 0)) > AHEAD:
            return False
        return before is None or self._within_reach(before, point)

    def _agrees(self, held: Point, point: Point) -> bool:
        """Whether a fix confirms the one held before it: the place, and the clock."""
        same_clock = abs((point.at - point.received) - (held.at - held.received)) <= AHEAD
        clock = same_clock or held.at - held.received <= AHEAD
        return point.at > held.at and clock and self._within_reach(held, point)

    def _within_reach(self, a: Point, b: Point) -> bool:
        metres = haversine(a.lat, a.lon, b.lat, b.lon, RADIUS)
        return metres <= self._limits.slack + self._limits.speed * abs(b.at - a.at) / SECOND

    def _believe(self, name: str, held: list[Point], point: Point) -> None:
        self._again += [p.ref for p in held if isinstance(p.ref, Row)]
        ahead = point.at - point.received
        if ahead > AHEAD:
            self._state.ahead[name] = ahead
        else:
            self._state.ahead.pop(name, None)

    def _refuse(self, points: list[Point], why: str) -> None:
        for point in points:
            if isinstance(point.ref, Row):
                self._withdrawn.append((point.ref, why))
            else:
                self._refused[point.ref] = REASONS.index(why)


def _why(first: Any) -> str:
    """What was doubted of a held fix: a Row or a Point."""
    return "clock_step" if first.at - first.received > AHEAD else "jump"
