"""Where a fire is and who is near it: enrolled units inside its area or heading in, and the nearest free ones.

Last positions are read for one purpose, the fire alarm, and only while it stands; each reading is on the audit log
with the units it named, before anything is shown. A unit is free if it is not inside, no open alarm is about it,
and its fix is no older than `FRESH_S`: whether its crew has other orders, this system does not know.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from pipeline.alarms.episode import STANDING
from pipeline.alarms.fire import Member, area_of
from pipeline.api.desk import Desk
from pipeline.api.problems import Problem
from pipeline.api.shapes import Time
from pipeline.message import SECOND, Alarm
from pipeline.ports import AlarmBook, Position, Store
from pipeline.rules.area import Area, geojson
from pipeline.rules.bearing import Place, moved
from pipeline.wire import rfc3339

FRESH_S = 900.0
HORIZON_S, STEP_S = 600, 10
"""A unit that goes on as it last said and would be inside within so many seconds is heading in."""
STILL_MPS = 0.5
NEAREST = 5


class UnitNear(BaseModel):
    """One unit: `distance_m` to the fire's place, or to the line of sight where only that is known."""

    unit: str
    group: str
    at: Time
    age_s: float
    lat: float
    lon: float
    distance_m: float
    speed: float | None
    arrives_in_s: int | None = None


class Nearby(BaseModel):
    """Units by what the fire means to them; each list nearest first."""

    inside: list[UnitNear]
    heading_in: list[UnitNear]
    free: list[UnitNear]

    @property
    def units(self) -> list[str]:
        return sorted({unit.unit for group in (self.inside, self.heading_in, self.free) for unit in group})


def read_nearby(
    book: AlarmBook, store: Store, groups: Mapping[str, str], alarm: Alarm, *, who: str, now: int
) -> Nearby | None:
    """Who is near the fire of `alarm`, after the reading is on the audit log. None: no area, or it is put away."""
    area = area_of(alarm.evidence)
    if area is None or alarm.state not in STANDING:
        return None
    found = nearby(area, store.latest(), groups, busy=_busy(book), now=now)
    _audit(book, alarm, found, who)
    return found


async def desk_nearby(desk: Desk, alarm: Alarm, *, who: str) -> Nearby | None:
    """As `read_nearby`, each port in its own thread."""
    area = area_of(alarm.evidence)
    if area is None or alarm.state not in STANDING:
        return None
    latest = await desk.call(desk.store.latest)
    busy = await desk.call(_busy, desk.book)
    found = nearby(area, latest, desk.groups, busy=busy, now=desk.clock())
    await desk.call(_audit, desk.book, alarm, found, who)
    return found


async def asked_nearby(desk: Desk, alarm: Alarm, *, who: str) -> Nearby:
    """As `desk_nearby`. Problem 409 where there is nothing to read for."""
    found = await desk_nearby(desk, alarm, who=who)
    if found is None:
        reason = "it has been resolved" if alarm.state not in STANDING else "it has no bearing and no place"
        raise Problem(409, f"no units are read for alarm {alarm.id}: {reason}")
    return found


def nearby(
    area: Area, latest: Sequence[Position], groups: Mapping[str, str], *, busy: Collection[str], now: int
) -> Nearby:
    """Pure: `groups` names the enrolled units, `busy` those that an open alarm is about."""
    units = [_near(area, p, groups[p.unit], now) for p in latest if p.unit in groups]
    units.sort(key=lambda unit: (unit.distance_m, unit.unit))
    inside = [u for u in units if (u.lat, u.lon) in area]
    outside = [u for u in units if (u.lat, u.lon) not in area]
    courses = {p.unit: p for p in latest}
    heading = [
        u.model_copy(update={"arrives_in_s": t}) for u in outside if (t := _arrival(area, courses[u.unit], u))
    ]
    coming = {u.unit for u in heading}
    free = [u for u in outside if u.unit not in busy and u.unit not in coming and u.age_s <= FRESH_S]
    return Nearby(inside=inside, heading_in=heading, free=free[:NEAREST])


def _near(area: Area, p: Position, group: str, now: int) -> UnitNear:
    return UnitNear(
        unit=p.unit,
        group=group,
        at=rfc3339(p.at),
        age_s=round(max(0, now - p.at) / SECOND, 1),
        lat=p.lat,
        lon=p.lon,
        distance_m=round(area.distance(p.lat, p.lon), 1),
        speed=p.speed,
    )


def _arrival(area: Area, p: Position, unit: UnitNear) -> int | None:
    """Seconds until a unit that keeps its course and speed is inside, from its fix on; None if not soon."""
    if p.speed is None or p.course is None or not p.speed >= STILL_MPS or unit.age_s > HORIZON_S:
        return None
    course = math.radians(p.course)
    for seconds in range(STEP_S, HORIZON_S + 1, STEP_S):
        way = p.speed * seconds
        if moved(p.lat, p.lon, way * math.sin(course), way * math.cos(course)) in area:
            return seconds
    return None


def _busy(book: AlarmBook) -> set[str]:
    """Subjects of alarms that go on."""
    return {alarm.subject for state in ("raised", "acknowledged") for alarm in book.alarms(state=state)}


def _audit(book: AlarmBook, alarm: Alarm, found: Nearby, who: str) -> None:
    named = ", ".join(found.units) or "none"
    detail = f"units near it: {named}"
    book.audit(who=who, what="last positions", subject="fleet", purpose=f"fire alarm {alarm.id}", detail=detail)


# ---------------------------------------------------------------- in words, and on a map


def where(evidence: Mapping[str, Any]) -> list[str]:
    """Where the fire is, from which cameras, in sentences; nothing without a bearing."""
    fire = evidence.get("fire")
    if not fire:
        return []
    found = [_line(member) for member in msgspec.convert(fire["members"], list[Member])]
    if "place" in fire:
        return [*found, _place(msgspec.convert(fire["place"], Place))]
    return [*found, f"How far away it is, is not known: {fire.get('unplaced') or 'one line gives no place'}."]


def _line(member: Member) -> str:
    seen = "sees" if member.ended is None else "saw"
    b = member.bearing
    mast = f", on mast {b.mast}" if b.mast not in ("", member.camera) else ""
    return f"{member.camera}{mast} {seen} {member.label or 'it'} at bearing {b.azimuth:.1f}° ± {b.error:.1f}°."


def _place(place: Place) -> str:
    return (
        f"The lines meet at {place.lat:.5f}, {place.lon:.5f}: with 95 % certainty within an ellipse of "
        f"{place.major_m:.0f} m by {place.minor_m:.0f} m, the longer way at {place.orientation:.0f}°."
    )


def distance(metres: float) -> str:
    return f"{metres:.0f} m" if metres < 1000 else f"{metres / 1000:.1f} km"


def drawn(evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """The area of a fire as GeoJSON geometry, and whether it is a place or cones."""
    area = area_of(evidence)
    if area is None:
        return None
    return {"kind": "ellipse" if area.place else "cone", "geometry": geojson(area.rings())}
