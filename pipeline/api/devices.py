"""The health of devices and parts, what was refused, and evidence frames."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pipeline.api.desk import Desk
from pipeline.api.health import DEVICE_STATES, Blindness, DeviceHealth, Health, judge
from pipeline.api.problems import Problem
from pipeline.api.shapes import Time, maybe_time
from pipeline.api.stream import Tail
from pipeline.message import Alarm, Refusal
from pipeline.wire import rfc3339

MOST_MISSED = 10_000
BLOB_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class DeviceOut(BaseModel):
    """A device: `state` is ok, finished, ailing, silent, blind or lost (and `why`); ages in s, null for never.

    `cause` names what a rule has found of a blind camera: black, white, frozen, covered, moved, defocused, stale or
    silent; `scored_s` is the age of the last scored picture in which it saw.
    """

    device: str
    state: str
    why: str
    cause: str
    heard_s: float | None
    scored_s: float | None
    received: Time | None
    waiting: int
    oldest: Time | None
    dropped: int
    detail: str

    @classmethod
    def of(cls, health: DeviceHealth) -> DeviceOut:
        row = health.row
        return cls(
            device=health.device,
            state=health.state,
            why=health.why,
            cause=health.cause,
            heard_s=health.heard_s,
            scored_s=health.scored_s,
            received=maybe_time(row.get("received")),
            waiting=int(row.get("waiting") or 0),
            oldest=maybe_time(row.get("oldest")),
            dropped=int(row.get("dropped") or 0),
            detail=str(row.get("detail") or ""),
        )


class DeviceList(BaseModel):
    devices: list[DeviceOut]


class RefusalOut(BaseModel):
    """Something refused. `raw_bytes` is the size of what is kept of it."""

    id: str
    device: str
    topic: str
    reason: str
    detail: str
    received: Time
    raw_bytes: int
    released_by: str | None = None

    @classmethod
    def of(cls, r: Refusal, released_by: str | None = None) -> RefusalOut:
        return cls(
            released_by=released_by,
            id=r.id,
            device=r.device,
            topic=r.topic,
            reason=r.reason,
            detail=r.detail,
            received=rfc3339(r.received),
            raw_bytes=len(r.raw),
        )


class Quarantine(BaseModel):
    """Counts by reason over all time, and the newest refusals."""

    counts: dict[str, int]
    refusals: list[RefusalOut]


def routes(desk: Desk, tail: Tail) -> APIRouter:
    """Device, quarantine and evidence routes over `desk`."""
    router = APIRouter()

    @router.get("/devices", tags=["devices"], summary="Devices and how they are")
    async def devices() -> DeviceList:
        health = await look(desk, tail)
        return DeviceList(devices=[DeviceOut.of(d) for d in health.devices])

    @router.get("/quarantine", tags=["devices"], summary="What was refused, and why")
    async def quarantine(
        reason: Annotated[str | None, Query(description="Only this reason.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Quarantine:
        counts = await desk.call(desk.book.refusal_counts)
        found = await desk.call(desk.book.refusals, reason=reason, limit=limit)
        gone = await desk.call(desk.book.releases)
        return Quarantine(counts=counts, refusals=[RefusalOut.of(r, gone.get(r.id)) for r in found])

    @router.get("/evidence/{key}", tags=["alarms"], summary="An evidence frame (JPEG)", response_class=Response)
    async def evidence(
        request: Request, key: Annotated[str, Path(description="From an alarm's evidence.")]
    ) -> Response:
        return Response(await read_evidence(desk, key, who=request.state.user), media_type="image/jpeg")

    return router


async def read_evidence(desk: Desk, key: str, *, who: str) -> bytes:
    """The picture, after its reading has been recorded. Problem 404 for a key unknown or expired."""
    if not BLOB_KEY.fullmatch(key):
        raise Problem(404, "no such evidence")
    await desk.call(desk.book.audit, who=who, what="evidence", subject=key, purpose="alarm evidence")
    try:
        return await desk.call(desk.blobs.get, key)
    except KeyError:
        raise Problem(404, f"no evidence {key}: unknown, or past its retention") from None


async def look(desk: Desk, tail: Tail) -> Health:
    """Judge the system now."""
    beats = await desk.call(desk.pulse.beats)
    devices = await desk.call(desk.book.devices)
    missed = {alarm.subject for alarm in await _standing(desk, "device_silence")}
    blind = {alarm.subject: _blindness(alarm) for alarm in await _standing(desk, "blind")}
    return judge(beats, devices, now=desk.clock(), own_trouble=tail.blindness, missed=missed, blind=blind)


async def _standing(desk: Desk, kind: str) -> list[Alarm]:
    """Alarms of a kind that have neither ended nor been resolved."""
    found: list[Alarm] = []
    for state in ("raised", "acknowledged"):
        found += await desk.call(desk.book.alarms, state=state, kind=kind, limit=MOST_MISSED)
    return found


def _blindness(alarm: Alarm) -> Blindness:
    return Blindness(str(alarm.evidence.get("cause") or ""), f"an alarm about it stands: {alarm.reason}")


def health_routes(desk: Desk, tail: Tail) -> APIRouter:
    """/healthz, which needs no token and tells no names of devices."""
    router = APIRouter()

    @router.get("/healthz", tags=["health"], summary="Does the system see? 200 if so, 503 with the reason if not")
    async def healthz() -> JSONResponse:
        health = await look(desk, tail)
        return JSONResponse(_health_body(health), 200 if health.ok else 503)

    return router


def _health_body(health: Health) -> dict[str, Any]:
    return {
        "status": "sees" if health.ok else "blind",
        "blind": health.blind,
        "parts": [
            {"part": p.part, "instance": p.instance, "ok": p.ok, "why": p.why, "beaten": maybe_time(p.beaten)}
            for p in health.parts
        ],
        "devices": {state: health.count(state) for state in reversed(DEVICE_STATES)},
        "blind_cameras": health.causes,
    }
