"""When a unit sets out and when it stops: three ways to tell, each a fold over the fixes of one unit in event time.

    Stays     ours: a stop is staying near one place, a trip is going away from it
    Window    Traccar's newer rules (its default since 2026): how far it is from where it was a while ago
    Flag      Traccar's older rules: each fix says moving or not (by speed), trips and stops must last

A `Turn` says what begins at which fix; it is told by a later fix, the one that settles it. The two of Traccar are
written from its published behaviour and agree with its tests (tests/test_trips.py); they are for comparison.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from pipeline.message import SECOND

Kind = Literal["trip", "stop", "gap"]
"""`gap`: it was elsewhere when it came back, nobody saw how."""

MINUTE = 60 * SECOND
KNOT = 1852 / 3600


class Point(NamedTuple):
    """A fix as motion needs it. `odometer` is metres gone so far, `moving` what the fix itself says."""

    at: int
    lat: float
    lon: float
    speed: float = 0.0
    odometer: float = 0.0
    moving: bool = False
    ignition: bool | None = None


class Turn(NamedTuple):
    kind: Kind
    point: Point


class Distance(Protocol):
    def __call__(self, a: Point, b: Point) -> float:
        """Metres."""
        ...


class Detector(Protocol):
    """`State` is a msgspec.Struct; `step` owns and changes it. `last` is the fix before, None if there is none."""

    def initial(self, first: Point) -> Any: ...

    def begins(self, first: Point) -> Kind:
        """As what the track begins."""
        ...

    def step(self, state: Any, last: Point | None, point: Point, distance: Distance) -> list[Turn]: ...

    def settled(self, state: Any, point: Point) -> int:
        """The time up to which speeds belong to the open segment, whatever comes. `point` is the newest fix."""
        ...


# ---------------------------------------------------------------- ours


class StayState(msgspec.Struct, tag="stay"):
    """`stopped` at `centre`, seen there last at `within`; `window` are the newest fixes, all near the newest."""

    began: Point
    centre: Point
    within: Point
    window: list[Point]
    stopped: bool = True
    away: int = 0


class Stays(msgspec.Struct, frozen=True):
    """Metres and microseconds.

    It has stopped once all fixes of `stay` lie within `near` of the newest, and the stop begins with the first of
    them. It has left once it is `far` from there, twice in a row or after `stay`, so that one wild fix is no trip;
    the trip begins with the last fix near the place. Elsewhere after `gap` without a fix: nobody knows how.
    """

    near: float = 75.0
    far: float = 200.0
    stay: int = 3 * MINUTE
    gap: int = 60 * MINUTE

    def initial(self, first: Point) -> StayState:
        return StayState(first, first, first, [])

    def begins(self, first: Point) -> Kind:
        return "stop"

    def step(self, state: StayState, last: Point | None, point: Point, distance: Distance) -> list[Turn]:
        if last is not None and point.at - last.at > self.gap and self._elsewhere(state, last, point, distance):
            _restart(state, point)
            return [Turn("gap", last), Turn("stop", point)]
        self._slide(state, point, distance)
        settled = point.at - state.window[0].at >= self.stay
        if not state.stopped:
            return self._settle(state, point) if settled else []
        if settled or distance(state.centre, point) <= self.near:
            state.within, state.away = point, 0
            state.centre = state.window[0] if settled else state.centre
            return []
        return self._leave(state, point) if distance(state.centre, point) >= self.far else []

    def settled(self, state: StayState, point: Point) -> int:
        return state.within.at if state.stopped else state.window[0].at

    def _elsewhere(self, state: StayState, last: Point, point: Point, distance: Distance) -> bool:
        if state.stopped:
            return distance(state.centre, point) >= self.far
        return distance(last, point) > self.near

    def _slide(self, state: StayState, point: Point, distance: Distance) -> None:
        """Forget what is not near the newest fix, and in a long stop what is not needed to go on."""
        window = state.window
        far = [i for i, old in enumerate(window) if distance(old, point) > self.near]
        keep = far[-1] + 1 if far else 0
        while state.stopped and keep + 1 < len(window) and point.at - window[keep + 1].at >= self.stay:
            keep += 1
        state.window = [*window[keep:], point]

    def _settle(self, state: StayState, point: Point) -> list[Turn]:
        first = state.window[0]
        state.stopped, state.began, state.centre, state.within, state.away = True, first, first, point, 0
        return [Turn("stop", first)]

    def _leave(self, state: StayState, point: Point) -> list[Turn]:
        state.away += 1
        if state.away < 2 and point.at - state.within.at < self.stay:
            return []
        state.stopped = False
        passing = state.within.at - state.began.at < self.stay  # the track began here, that is no stop
        return [Turn("trip", state.began if passing else state.within)]


def _restart(state: StayState, point: Point) -> None:
    state.began = state.centre = state.within = point
    state.window, state.stopped, state.away = [point], True, 0


# ---------------------------------------------------------------- Traccar's


class WindowState(msgspec.Struct, tag="window"):
    """`streak`: on a trip. `event`: the fix of the newest turn. `window`: the fixes of the last `duration`."""

    streak: bool
    event: Point
    window: list[Point] = []


class Window(msgspec.Struct, frozen=True):
    """Metres and microseconds; `gap` None: a gap is nothing special. Defaults are Traccar's.

    On a trip until no fix of the window is `distance` away; stopped until that far from the newest turn, and the
    trip then begins where the fast part of the window does. A gap gone through at a trip's pace is a trip itself.
    """

    distance: float = 200.0
    duration: int = 3 * MINUTE
    gap: int | None = 60 * MINUTE

    def initial(self, first: Point) -> WindowState:
        return WindowState(first.moving, first)

    def begins(self, first: Point) -> Kind:
        return "trip" if first.moving else "stop"

    def step(self, state: WindowState, last: Point | None, point: Point, distance: Distance) -> list[Turn]:
        turns = self.judge(state, point, distance)
        if turns:
            state.event = turns[-1].point
        state.window.append(point)
        while len(state.window) > 1 and point.at - state.window[1].at >= self.duration:
            del state.window[0]
        return turns

    def settled(self, state: WindowState, point: Point) -> int:
        return point.at

    def judge(self, state: WindowState, point: Point, distance: Distance) -> list[Turn]:
        """The turns that `point` settles, with the window before it."""
        if not state.window:
            return []
        last = state.window[-1]
        if self._through_a_gap(last, point):
            ended = [Turn("stop", last)] if state.streak else []
            state.streak = False
            return [*ended, Turn("trip", last), Turn("stop", point)]
        if not state.streak:
            if distance(state.event, point) < self.distance:
                return []
            state.streak = True
            return [Turn("trip", self._outset(state, point, distance))]
        if any(distance(old, point) >= self.distance for old in state.window):
            return []
        if point.at - state.window[0].at < self.duration:
            return []
        state.streak = False
        return [Turn("stop", point)]

    def _pace(self, metres: float, micros: int) -> bool:
        """Faster than a trip is at least."""
        least = self.distance / (self.duration / 1000) if self.duration else math.inf
        return micros > 0 and metres / (micros / 1000) > least

    def _through_a_gap(self, last: Point, point: Point) -> bool:
        way, micros = point.odometer - last.odometer, point.at - last.at
        return self.gap is not None and micros > self.gap and way >= self.distance and self._pace(way, micros)

    def _outset(self, state: WindowState, point: Point, distance: Distance) -> Point:
        start = point
        for old in reversed(state.window):
            slow = not self._pace(distance(old, start), start.at - old.at)
            if old.at <= state.event.at or (start is not point and slow):
                break
            start = old
        return start


class FlagState(msgspec.Struct, tag="flag"):
    """`streak`: on a trip. `moving`: what the newest fix said. `since`: the fix of a change that must last yet."""

    streak: bool
    moving: bool
    since: Point | None = None


class Flag(msgspec.Struct, frozen=True):
    """Metres and microseconds. Defaults are Traccar's.

    A change of the fixes' own word becomes a turn once it has lasted: for a trip `trip` or `distance`, for a stop
    `parking` or until the ignition is off. No fix for `gap` ends a trip with the last one.
    """

    distance: float = 500.0
    trip: int = 5 * MINUTE
    parking: int = 5 * MINUTE
    gap: int = 60 * MINUTE
    ignition: bool = False

    def initial(self, first: Point) -> FlagState:
        return FlagState(first.moving, first.moving)

    def begins(self, first: Point) -> Kind:
        return "trip" if first.moving else "stop"

    def step(self, state: FlagState, last: Point | None, point: Point, distance: Distance) -> list[Turn]:
        if last is not None and state.streak and point.at - last.at >= self.gap:
            state.streak, state.moving, state.since = False, False, None
            return [Turn("stop", last)]
        if state.moving != point.moving:
            state.moving = point.moving
            state.since = point if state.streak != point.moving else None
            return []
        if state.since is None or not self._lasted(state.since, point):
            return []
        turn = Turn("trip" if point.moving else "stop", state.since)
        state.streak, state.since = point.moving, None
        return [turn]

    def settled(self, state: FlagState, point: Point) -> int:
        return point.at

    def _lasted(self, since: Point, point: Point) -> bool:
        if point.moving:
            return point.at - since.at >= self.trip or point.odometer - since.odometer >= self.distance
        off = self.ignition and point.ignition is False
        return off or point.at - since.at >= self.parking
