"""Alarms over HTTP: the list, one, why it fired, and the two things an operator does with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from pipeline.api.desk import Desk
from pipeline.api.explain import Explanation, explain
from pipeline.api.fires import Nearby, asked_nearby
from pipeline.api.problems import Problem, time_of
from pipeline.api.shapes import Acted, Action, AlarmList, AlarmOut, EventOut, State
from pipeline.api.whynot import LONGEST_S, WITHIN_S, Asked, WhyNot, answer, gather, shown, watches
from pipeline.message import Alarm
from pipeline.ports import UserError

LARGEST_LIST = 10_000

AlarmId = Annotated[str, Path(description="Id of the alarm: 16 hex digits.", max_length=64)]


def routes(desk: Desk) -> APIRouter:
    """The alarm routes over `desk`."""
    router = APIRouter(prefix="/alarms", tags=["alarms"])

    @router.get("", summary="Alarms, newest first")
    async def list_alarms(
        state: Annotated[State | None, Query(description="Only alarms in this state.")] = None,
        subject: Annotated[str | None, Query(description="Only alarms of this unit, camera or device.")] = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_LIST)] = 100,
    ) -> AlarmList:
        found = await desk.call(desk.book.alarms, state=state, subject=subject, limit=limit + 1)
        return AlarmList(alarms=[AlarmOut.of(a) for a in found[:limit]], more=len(found) > limit)

    @router.get("/why-not", summary="Why a camera raised no alarm at a time")
    async def why_not(
        camera: Annotated[str, Query(description="Name of the camera.")],
        at: Annotated[str, Query(description="RFC 3339, by the camera's own stamps.")],
        within: Annotated[float, Query(gt=0, le=LONGEST_S, description="Seconds before and after.")] = WITHIN_S,
    ) -> WhyNot:
        asked = Asked.of(camera, time_of("at", at), within)
        try:
            return await ask_why_not(desk, asked)
        except UserError as error:
            raise Problem(404, str(error)) from None

    @router.get("/{alarm_id}", summary="One alarm")
    async def one_alarm(alarm_id: AlarmId) -> AlarmOut:
        return AlarmOut.of(await find(desk, alarm_id))

    @router.get("/{alarm_id}/explain", summary="Why an alarm fired, and what happened since")
    async def explain_alarm(alarm_id: AlarmId) -> Explanation:
        alarm = await find(desk, alarm_id)
        return explain(alarm, await desk.call(desk.book.history, alarm_id))

    @router.get("/{alarm_id}/units", summary="Units near a fire: inside, heading in, and the nearest free ones")
    async def units_near(request: Request, alarm_id: AlarmId) -> Nearby:
        """Last positions of enrolled units, read for this alarm; the reading goes on the audit log."""
        return await asked_nearby(desk, await find(desk, alarm_id), who=request.state.user)

    @router.post("/{alarm_id}/acknowledge", summary="Take note of an alarm")
    async def acknowledge(request: Request, alarm_id: AlarmId, action: Action | None = None) -> Acted:
        return await act(desk, alarm_id, "acknowledge", by=request.state.user, note=_note(action))

    @router.post("/{alarm_id}/resolve", summary="Close an alarm")
    async def resolve(request: Request, alarm_id: AlarmId, action: Action | None = None) -> Acted:
        return await act(desk, alarm_id, "resolve", by=request.state.user, note=_note(action))

    return router


async def ask_why_not(desk: Desk, asked: Asked) -> WhyNot:
    """The answer. UserError for a camera that nobody knows, or rules that cannot be read."""
    rules = watches(desk.settings)
    seen = await desk.turn(desk.store, lambda store: shown(store, asked))
    return answer(await desk.turn(desk.book, lambda book: gather(book, seen, rules, asked)))


async def find(desk: Desk, alarm_id: str) -> Alarm:
    """The alarm, or Problem 404."""
    alarm = await desk.call(desk.book.alarm, alarm_id)
    if alarm is None:
        raise Problem(404, f"no alarm {alarm_id}")
    return alarm


async def act(desk: Desk, alarm_id: str, action: str, *, by: str, note: str) -> Acted:
    """Record a person's action. Problem 404 for an unknown alarm, UserError (409) for one its state forbids."""
    await find(desk, alarm_id)
    event = await desk.call(desk.book.act, alarm_id, action, by=by, note=note)
    return Acted(event=EventOut.of(event), alarm=AlarmOut.of(await find(desk, alarm_id)))


def _note(action: Action | None) -> str:
    return action.note.strip() if action else ""
