"""Too fast, as Traccar counts it: one event in a run above the limit, once the run has lasted.

`rules.speed` is the rule for alarms (it has a hysteresis and knows of gaps); this is for reports that must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from pipeline.rules.motion import Point


class Over(msgspec.Struct):
    """`since`: when the run began, until its event was told. `fence`: under whose limit it began, `""` for none."""

    over: bool = False
    since: int | None = None
    fence: str = ""


class Overspeed(msgspec.Struct, frozen=True):
    """At `at`, under `fence`'s limit, `speed` was above `limit` for long enough; m/s."""

    at: int
    speed: float
    limit: float
    fence: str
    kind: Literal["overspeed"] = "overspeed"


class Limit(msgspec.Struct, frozen=True):
    """m/s and microseconds; `tolerance` multiplies the limit."""

    speed: float
    fence: str = ""
    hold: int = 0
    tolerance: float = 1.0


def overspeed(state: Over, at: int, speed: float, limit: Limit) -> Overspeed | None:
    """The event that the fix settles, if there is one. Changes `state`. NaN is above nothing, 0 is no limit."""
    if limit.speed <= 0 or not speed > limit.speed * limit.tolerance:
        state.over, state.since, state.fence = False, None, ""
        return None
    if not state.over:
        state.over, state.since, state.fence = True, at, limit.fence
    if state.since is None or at - state.since < limit.hold:
        return None
    event = Overspeed(at, speed, limit.speed, state.fence)
    state.since, state.fence = None, ""
    return event


def speeding(points: Iterable[Point], limit: Limit) -> Iterator[Overspeed]:
    """All events of one unit's fixes."""
    state = Over()
    for point in points:
        event = overspeed(state, point.at, point.speed, limit)
        if event is not None:
            yield event
