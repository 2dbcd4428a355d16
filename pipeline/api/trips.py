"""Trips, stops and speeding of a unit, for a stated purpose: what `vedette trips` tells, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from pipeline.api.desk import Desk
from pipeline.api.shapes import Time
from pipeline.api.units import LARGEST_TRACK, Asked, period, read_track
from pipeline.message import SECOND
from pipeline.ports import Track
from pipeline.telemetry.overspeed import Limit, Overspeed, speeding
from pipeline.telemetry.trips import PARAMETERS, Segment, points, segments
from pipeline.wire import rfc3339


class SpotOut(BaseModel):
    """WGS-84 degrees."""

    lat: float
    lon: float


class SegmentOut(BaseModel):
    """A trip, stop or gap; speeds in m/s. `open`: it goes on at the last fix of the period."""

    kind: str
    start: Time
    end: Time
    open: bool
    duration_s: float
    distance_m: float
    mean_speed: float
    top_speed: float
    first: SpotOut
    last: SpotOut

    @classmethod
    def of(cls, segment: Segment) -> SegmentOut:
        start, end = segment.start, segment.end
        return cls(
            kind=segment.kind,
            start=rfc3339(start.at),
            end=rfc3339(end.at),
            open=segment.open,
            duration_s=round(segment.duration, 3),
            distance_m=round(segment.distance, 1),
            mean_speed=round(segment.pace, 3),
            top_speed=round(segment.top, 3),
            first=SpotOut(lat=start.lat, lon=start.lon),
            last=SpotOut(lat=end.lat, lon=end.lon),
        )


class OverspeedOut(BaseModel):
    """One run above the limit, at the fix that settled it; m/s."""

    at: Time
    speed: float
    limit: float


class Trips(BaseModel):
    """In order of time. `more`: the period has more fixes than are read at once, and the end is missing."""

    unit: str
    segments: list[SegmentOut]
    speeding: list[OverspeedOut]
    more: bool


def routes(desk: Desk) -> APIRouter:
    """The route over `desk`."""
    router = APIRouter(prefix="/units", tags=["units and tracks"])

    @router.get("/{unit}/trips", summary="Trips, stops, gaps and speeding of a unit")
    async def trips(
        request: Request,
        unit: Annotated[str, Path(description="Name of an enrolled unit.")],
        start: Annotated[str, Query(alias="from", description="RFC 3339; the first fix is at or after it.")],
        end: Annotated[str, Query(alias="to", description="RFC 3339; the last fix is before it.")],
        purpose: Annotated[
            str, Query(description="Why the track is read; it goes on the audit log.", max_length=200)
        ],
        limit_kmh: Annotated[float, Query(ge=0, le=1000, description="Tell runs above this speed; 0: none.")] = 0.0,
        limit_s: Annotated[float, Query(ge=0, le=86_400, description="... that last so many seconds.")] = 0.0,
    ) -> Trips:
        asked = Asked(unit, *period(start, end), purpose)
        limit = Limit(limit_kmh / 3.6, hold=round(limit_s * SECOND))
        track = await read_track(desk, asked, who=request.state.user, what="trips")
        return await asyncio.to_thread(told, track, limit)

    return router


def told(track: Track, limit: Limit) -> Trips:
    """Pure. Stops and gaps by the default parameters of `vedette trips`."""
    parameters = PARAMETERS["default"]
    fixes = list(points(parameters, track))
    return Trips(
        unit=track.unit,
        segments=[SegmentOut.of(segment) for segment in segments(parameters, fixes)],
        speeding=[_run(event) for event in speeding(fixes, limit)],
        more=len(fixes) >= LARGEST_TRACK,
    )


def _run(event: Overspeed) -> OverspeedOut:
    return OverspeedOut(at=rfc3339(event.at), speed=round(event.speed, 3), limit=round(event.limit, 3))
