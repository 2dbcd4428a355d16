"""A fire: the episodes of one or several cameras that mean the same, and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.message import SECOND
from pipeline.rules.area import Area
from pipeline.rules.bearing import Bearing, Limits, Place
from pipeline.wire import rfc3339


class Member(msgspec.Struct):
    """One episode of one rule and camera. `bearing` is of its newest signal, `picture` of the newest with one."""

    alarm: str
    rule: str
    camera: str
    label: str
    start: int
    began: int
    bearing: Bearing
    picture: dict[str, Any] = {}
    ended: int | None = None


class Fire(msgspec.Struct):
    """`members` in the order in which they joined; the first has given the alarm its id."""

    members: list[Member]
    place: Place | None = None
    unplaced: str = ""
    revision: int = 0

    @property
    def id(self) -> str:
        return self.members[0].alarm

    @property
    def going_on(self) -> int:
        return sum(member.ended is None for member in self.members)


def told(fire: Fire, limits: Limits) -> dict[str, Any]:
    """A fire as it stands in evidence: of each rule and camera its newest episode."""
    newest = {(member.camera, member.rule): member for member in fire.members}
    found: dict[str, Any] = {
        "revision": fire.revision,
        "going_on": fire.going_on,
        "range_m": limits.range_m,
        "members": [msgspec.to_builtins(member) for member in newest.values()],
    }
    if fire.place is not None:
        return found | {"place": msgspec.to_builtins(fire.place)}
    return found | {"unplaced": fire.unplaced}


def area_of(evidence: Mapping[str, Any]) -> Area | None:
    """Where the fire of an alarm may be; None for an alarm that has no bearing."""
    fire = evidence.get("fire")
    if not fire:
        return None
    members = msgspec.convert(fire["members"], list[Member])
    place = msgspec.convert(fire["place"], Place) if "place" in fire else None
    going_on = [m.bearing for m in members if m.ended is None] or [m.bearing for m in members]
    return Area(place, tuple(going_on), fire["range_m"])


def why(fire: Fire) -> str:
    """Why the newest member is the same fire."""
    newest, first = fire.members[-1], fire.members[0]
    begun = f"the fire that {first.camera} has seen since {rfc3339(first.began // SECOND * SECOND)}"
    if fire.place is None:
        return f"{begun}: from one mast, {newest.bearing.azimuth:.1f} and {first.bearing.azimuth:.1f} degrees"
    place = fire.place
    return (
        f"{begun}: the lines meet at {place.lat:.5f}, {place.lon:.5f}, known to "
        f"{place.major_m:.0f} m by {place.minor_m:.0f} m (95 %)"
    )


def lines(fire: Fire) -> list[Bearing]:
    """The best line of each camera: two of one camera would share the error of its azimuth."""
    best: dict[str, Bearing] = {}
    for member in fire.members:
        known = best.get(member.camera)
        if known is None or member.bearing.error < known.error:
            best[member.camera] = member.bearing
    return list(best.values())
