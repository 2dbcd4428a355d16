"""Who halts and who drives, for every fix of a batch, by the stops and trips of `motion.Stays`.

A unit that drives so that each fix is away from the one before needs no look of its own: what is remembered of it
is that fix. Units that stand or crawl are folded one fix at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import Floats, Ints
from pipeline.rules.ellipsoid import MEAN_RADIUS
from pipeline.rules.motion import Point, Stays, StayState
from pipeline.rules.moves import NEVER, Moves, grown
from pipeline.rules.sphere import haversine, sphere


class State(msgspec.Struct):
    """By slot the newest fix, and whether the unit drives; of the others, by name, where and since when."""

    at: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    drives: np.ndarray
    stays: dict[str, StayState]


def nobody() -> State:
    floats = np.empty(0, np.float64)
    return State(np.empty(0, np.int64), floats, floats, np.empty(0, np.bool_), {})


@dataclass(frozen=True, slots=True)
class Course:
    """For each row of the moves, microseconds.

    `since`: when the stop began in which the unit stands, NEVER if it drives. `stood`: how long it has been seen
    there. `moved`: when it was last seen coming from elsewhere, NEVER if it stands.
    """

    since: Ints
    stood: Ints
    moved: Ints


class Halts:
    def __init__(self, stays: Stays) -> None:
        self.stays = stays

    def step(self, state: State, moves: Moves, covers: Callable[[str], bool]) -> Course:
        """Changes `state`. Rows of units that are not covered have NEVER."""
        _grow(state, moves.slots)
        never = np.full(len(moves), NEVER, np.int64)
        course = Course(never, never.copy(), never.copy())
        if not len(moves):
            return course
        lat, lon = moves.column("lat"), moves.column("lon")
        first, last = moves.slot[moves.starts], moves.ends - 1
        hops = self._hops(state, moves, lat, lon)
        driving = np.logical_and.reduceat(hops, moves.starts) & state.drives[first]
        rows = np.repeat(driving, moves.ends - moves.starts)
        course.moved[rows] = moves.at[rows]
        for i in np.flatnonzero(~driving).tolist():
            span = slice(int(moves.starts[i]), int(moves.ends[i]))
            if covers(moves.unit(span.start)):
                points = list(map(Point, moves.at[span].tolist(), lat[span].tolist(), lon[span].tolist()))
                self._fold(state, moves, span.start, points, course)
        state.at[first], state.lat[first], state.lon[first] = moves.at[last], lat[last], lon[last]
        return course

    def _hops(self, state: State, moves: Moves, lat: Floats, lon: Floats) -> NDArray[np.bool_]:
        """Rows that are away from the fix before, and not after a gap."""
        lat0, lon0 = np.empty_like(lat), np.empty_like(lon)
        lat0[1:], lon0[1:] = lat[:-1], lon[:-1]
        slot = moves.slot[moves.starts]
        lat0[moves.starts], lon0[moves.starts] = state.lat[slot], state.lon[slot]
        far = sphere(lat0, lon0, lat, lon, MEAN_RADIUS) > self.stays.near  # NaN for a first fix: no hop
        return np.asarray(far & (moves.at - moves.prev_at <= self.stays.gap))

    def _fold(self, state: State, moves: Moves, start: int, points: list[Point], course: Course) -> None:
        unit, slot = moves.unit(start), int(moves.slot[start])
        last = self._last(state, slot)
        stay = state.stays.pop(unit, None) or self._begin(state, slot, last, points[0])
        for row, point in enumerate(points, start):
            self.stays.step(stay, last, point, _apart)
            last = point
            if stay.stopped:
                course.since[row], course.stood[row] = stay.began.at, stay.within.at - stay.began.at
            else:
                course.moved[row] = stay.window[0].at
        state.drives[slot] = not stay.stopped and len(stay.window) == 1
        if not state.drives[slot]:
            state.stays[unit] = stay

    def _last(self, state: State, slot: int) -> Point | None:
        if state.at[slot] == NEVER:
            return None
        return Point(int(state.at[slot]), float(state.lat[slot]), float(state.lon[slot]))

    def _begin(self, state: State, slot: int, last: Point | None, first: Point) -> StayState:
        """Of a unit that drove until `last`, or was never seen."""
        if last is None or not state.drives[slot]:
            return self.stays.initial(first)
        return StayState(last, last, last, [last], stopped=False)


def _apart(a: Point, b: Point) -> float:
    return haversine(a.lat, a.lon, b.lat, b.lon, MEAN_RADIUS)


def _grow(state: State, slots: int) -> None:
    state.at, state.drives = grown(state.at, slots, NEVER), grown(state.drives, slots, False)
    state.lat, state.lon = grown(state.lat, slots, np.nan), grown(state.lon, slots, np.nan)
