"""Trips and stops of one unit, from its fixes in event time: the same fold over a stream and over a stored track.

fixes ─► Point (odometer, moving) ─► detector ─► Turn ─► Segment (trip, stop, gap)

default       Stays(): a stop begins with the first fix at the place and ends with the last, whatever the
              receiver's speed says; jitter and one wild fix make no trip; a gap is told as a gap
traccar       Window(): Traccar as it comes; a stop begins when it is settled, minutes after the standstill
traccar-old   Flag(): Traccar before its 2026 rules; needs speeds, and any jitter above 0.01 knots is a move
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline.message import SECOND
from pipeline.rules.ellipsoid import MEAN_RADIUS, metres
from pipeline.rules.motion import (
    KNOT,
    Detector,
    Distance,
    Flag,
    FlagState,
    Kind,
    Point,
    Stays,
    StayState,
    Turn,
    Window,
    WindowState,
)
from pipeline.rules.sphere import haversine, sphere

Name = Literal["default", "traccar", "traccar-old"]
LATEST = 1 << 62
TRACCAR_RADIUS = 6_378_137.0
MOVING = 0.01 * KNOT
"""m/s above which Traccar takes a fix for moving."""


class Parameters(msgspec.Struct, frozen=True):
    """`radius`: of the sphere on which distances are measured.

    `traccar`: told as Traccar does: segments of no duration too, and the top speed from settling to settling.
    """

    detector: Any
    radius: float = MEAN_RADIUS
    traccar: bool = False


PARAMETERS: dict[Name, Parameters] = {
    "default": Parameters(Stays()),
    "traccar": Parameters(Window(), TRACCAR_RADIUS, True),
    "traccar-old": Parameters(Flag(), TRACCAR_RADIUS, True),
}


class Segment(msgspec.Struct, frozen=True):
    """One trip, stop or gap. `distance` in metres along the fixes, `top` the highest speed in m/s.

    `open`: it goes on.
    """

    kind: Kind
    start: Point
    end: Point
    top: float
    open: bool = False

    @property
    def duration(self) -> float:
        """Seconds."""
        return (self.end.at - self.start.at) / SECOND

    @property
    def distance(self) -> float:
        return self.end.odometer - self.start.odometer

    @property
    def pace(self) -> float:
        """Mean speed along the way, m/s; 0 for no time at all."""
        return self.distance / self.duration if self.duration > 0 else 0.0


class Journey(msgspec.Struct):
    """State of one unit: the open segment, the newest fix, the top speed so far, and speeds not settled yet."""

    kind: Kind
    start: Point
    last: Point
    top: float
    motion: StayState | WindowState | FlagState
    speeds: list[tuple[int, float]] = []


def begin(parameters: Parameters, first: Point) -> Journey:
    """The journey after its first fix, which settles nothing yet."""
    detector: Detector = parameters.detector
    journey = Journey(detector.begins(first), first, first, _known(first.speed), detector.initial(first))
    detector.step(journey.motion, None, first, _distance(parameters.radius))
    return journey


def step(parameters: Parameters, journey: Journey, point: Point) -> list[Segment]:
    """The segments that ended, as this fix settles. Changes `journey`. Fixes must ascend in time."""
    detector: Detector = parameters.detector
    journey.speeds.append((point.at, _known(point.speed)))
    turns = detector.step(journey.motion, journey.last, point, _distance(parameters.radius))
    ended = [segment for turn in turns for segment in _turn(parameters, journey, turn)]
    if turns and parameters.traccar:
        journey.top = 0.0
    _absorb(journey, detector.settled(journey.motion, point))
    journey.last = point
    return ended


def current(parameters: Parameters, journey: Journey) -> list[Segment]:
    """What goes on at the newest fix: at most one segment."""
    if journey.start.at == journey.last.at and not parameters.traccar:
        return []
    top = max([journey.top, *(speed for _at, speed in journey.speeds)])
    return [Segment(journey.kind, journey.start, journey.last, top, open=True)]


def segments(parameters: Parameters, points: Iterable[Point]) -> Iterator[Segment]:
    """All segments of a track, the last one open."""
    journey: Journey | None = None
    for point in points:
        if journey is None:
            journey = begin(parameters, point)
        else:
            yield from step(parameters, journey, point)
    if journey is not None:
        yield from current(parameters, journey)


def _turn(parameters: Parameters, journey: Journey, turn: Turn) -> list[Segment]:
    _absorb(journey, LATEST if parameters.traccar else turn.point.at)
    top = 0.0 if journey.kind == "gap" else journey.top
    ended = Segment(journey.kind, journey.start, turn.point, top)
    journey.kind, journey.start = turn.kind, turn.point
    if not parameters.traccar:
        journey.top = _known(turn.point.speed)
    return [ended] if parameters.traccar or ended.end.at > ended.start.at else []


def _absorb(journey: Journey, until: int) -> None:
    """Speeds up to that time belong to the open segment for good."""
    journey.top = max([journey.top, *(speed for at, speed in journey.speeds if at <= until)])
    journey.speeds = [entry for entry in journey.speeds if entry[0] > until]


def _known(speed: float) -> float:
    return 0.0 if math.isnan(speed) else speed


# ---------------------------------------------------------------- fixes and distances


def points(parameters: Parameters, track: Any) -> Iterator[Point]:
    """The fixes of columns at, lat, lon, speed, ascending in time. The odometer counts from the first."""
    at, lat, lon = track.at, np.asarray(track.lat, np.float64), np.asarray(track.lon, np.float64)
    speed = np.asarray(track.speed, np.float64)
    legs = sphere(lat[:-1], lon[:-1], lat[1:], lon[1:], parameters.radius)
    if parameters.radius == MEAN_RADIUS:
        legs = metres(lat[:-1], lon[:-1], lat[1:], lon[1:])
    odometer = np.concatenate(([0.0], np.cumsum(legs)))[: len(at)]
    rows = (at, lat, lon, speed, odometer, speed > MOVING)
    yield from (Point(*row) for row in zip(*(column.tolist() for column in rows), strict=True))


@cache
def _distance(radius: float) -> Distance:
    return lambda a, b: haversine(a.lat, a.lon, b.lat, b.lon, radius)
