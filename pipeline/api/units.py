"""Units and tracks. A track is read for a stated purpose, and the reading is on the audit log before it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from pipeline.api.desk import Desk
from pipeline.api.problems import Problem, time_of
from pipeline.api.shapes import UnitList, UnitOut
from pipeline.message import SECOND, Floats, Ints
from pipeline.ports import Track
from pipeline.wire import NAME, rfc3339

LONGEST_PERIOD_S = 31 * 86_400
LARGEST_TRACK = 200_000
LIVE_VIEW_S = 3600
"""A person who keeps the live map open is on the audit log once in so many seconds, not once a refresh."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for the positions of `unit` with start <= at < end, for a purpose."""

    unit: str
    start: int
    end: int
    purpose: str
    limit: int = LARGEST_TRACK


def routes(desk: Desk) -> APIRouter:
    """The unit routes over `desk`."""
    router = APIRouter(prefix="/units", tags=["units and tracks"])
    viewed: dict[str, int] = {}

    @router.get("", summary="Enrolled units with their last position")
    async def units(request: Request) -> UnitList:
        await _audit_view(desk, viewed, request.state.user)
        latest = await desk.call(desk.store.latest)
        return UnitList(units=[UnitOut.of(p) for p in latest if p.unit in desk.fleet])

    @router.get("/{unit}/track", summary="Track of a unit as GeoJSON", response_class=Response)
    async def track(
        request: Request,
        unit: Annotated[str, Path(description="Name of an enrolled unit.")],
        start: Annotated[str, Query(alias="from", description="RFC 3339; the first fix is at or after it.")],
        end: Annotated[str, Query(alias="to", description="RFC 3339; the last fix is before it.")],
        purpose: Annotated[
            str, Query(description="Why the track is read; it goes on the audit log.", max_length=200)
        ],
        limit: Annotated[int, Query(ge=1, le=LARGEST_TRACK)] = LARGEST_TRACK,
    ) -> Response:
        asked = Asked(unit, *period(start, end), purpose, limit)
        found = await read_track(desk, asked, who=request.state.user)
        return Response(msgspec.json.encode(feature(found, asked)), media_type="application/geo+json")

    return router


async def _audit_view(desk: Desk, viewed: dict[str, int], user: str) -> None:
    now = desk.clock()
    if now - viewed.get(user, -LIVE_VIEW_S * SECOND) >= LIVE_VIEW_S * SECOND:
        await desk.call(desk.book.audit, who=user, what="last positions", subject="fleet", purpose="live map")
        viewed[user] = now


def period(start: str, end: str) -> tuple[int, int]:
    """Microseconds of both ends. Problem 422 for a time, an order or a length that cannot be."""
    since, until = time_of("from", start), time_of("to", end)
    if until <= since:
        raise Problem(422, f"to ({rfc3339(until)}) is not after from ({rfc3339(since)})")
    if until - since > LONGEST_PERIOD_S * SECOND:
        raise Problem(422, f"a period is at most {LONGEST_PERIOD_S // 86_400} days; ask for it in pieces")
    return since, until


async def read_track(desk: Desk, asked: Asked, *, who: str, what: str = "track") -> Track:
    """The track, after its reading is recorded as `what`. Problem 404: unit not enrolled, 422: no purpose."""
    purpose, unit = asked.purpose.strip(), asked.unit
    if not NAME.fullmatch(unit) or unit not in desk.fleet:
        raise Problem(404, "no such unit is enrolled; only tracks of enrolled units can be read")
    if not purpose:
        raise Problem(422, "purpose: say why the track is read; it goes on the audit log")
    detail = f"{rfc3339(asked.start)} to {rfc3339(asked.end)}"
    await desk.call(desk.book.audit, who=who, what=what, subject=unit, purpose=purpose, detail=detail)
    return await desk.call(desk.store.track, unit, asked.start, asked.end, limit=asked.limit)


def feature(track: Track, asked: Asked) -> dict[str, Any]:
    """A GeoJSON Feature: LineString of [lon, lat], with the times and speeds of its points beside it.

    A single fix is a Point, no fix has no geometry. `more`: the limit cut the track, go on from the last time.
    """
    points = np.column_stack([track.lon, track.lat]).round(7).tolist()
    geometry: dict[str, Any] | None = {"type": "LineString", "coordinates": points}
    if len(points) < 2:
        geometry = {"type": "Point", "coordinates": points[0]} if points else None
    properties = {
        "unit": track.unit,
        "from": rfc3339(asked.start),
        "to": rfc3339(asked.end),
        "fixes": len(points),
        "more": len(points) >= asked.limit,
        "times": _times(track.at),
        "speeds": _numbers(track.speed, 2),
        "courses": _numbers(track.course, 1),
        "accuracies": _numbers(track.accuracy, 1),
    }
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _times(at: Ints) -> list[str]:
    return [text + "Z" for text in np.datetime_as_string(at.astype("datetime64[us]"), unit="ms").tolist()]


def _numbers(column: Floats, digits: int) -> list[float | None]:
    """Rounded, with None where the source did not say."""
    values = np.asarray(column, np.float64).round(digits)
    return [None if v != v else v for v in values.tolist()]
