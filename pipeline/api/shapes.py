"""The JSON that leaves the api: the nouns with times as RFC 3339, described for the OpenAPI page."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from pipeline.message import Alarm, AlarmEvent
from pipeline.ports import Position
from pipeline.wire import optional, rfc3339

Time = Annotated[str, Field(json_schema_extra={"format": "date-time", "example": "2026-01-31T12:00:00Z"})]
State = Literal["raised", "acknowledged", "cleared", "resolved", "corrected"]


class AlarmOut(BaseModel):
    """One episode as it stands now. `start` and `ended_at` are event times of the episode itself."""

    id: str
    rule: str
    kind: str
    subject: str
    place: str
    severity: str
    state: str
    start: Time
    raised_at: Time
    updated_at: Time
    ended_at: Time | None
    reason: str
    evidence: dict[str, Any]
    acknowledged_by: str | None
    resolved_by: str | None

    @classmethod
    def of(cls, alarm: Alarm) -> AlarmOut:
        return cls(
            id=alarm.id,
            rule=alarm.rule,
            kind=alarm.kind,
            subject=alarm.subject,
            place=alarm.place,
            severity=alarm.severity,
            state=alarm.state,
            start=rfc3339(alarm.start),
            raised_at=rfc3339(alarm.raised_at),
            updated_at=rfc3339(alarm.updated_at),
            ended_at=maybe_time(alarm.ended_at),
            reason=alarm.reason,
            evidence=spelled(alarm.evidence),
            acknowledged_by=alarm.acknowledged_by,
            resolved_by=alarm.resolved_by,
        )


class AlarmList(BaseModel):
    """Alarms, newest first. `more` says that the limit cut the list."""

    alarms: list[AlarmOut]
    more: bool


class EventOut(BaseModel):
    """One change in the life of an alarm. `at` is event time, `recorded` when the book wrote it down."""

    number: int
    alarm: str
    change: str
    at: Time
    recorded: Time
    by: str
    reason: str
    evidence: dict[str, Any]

    @classmethod
    def of(cls, event: AlarmEvent) -> EventOut:
        return cls(
            number=event.number,
            alarm=event.alarm,
            change=event.change,
            at=rfc3339(event.at),
            recorded=rfc3339(event.recorded),
            by=event.by,
            reason=event.reason,
            evidence=spelled(event.evidence),
        )


class Acted(BaseModel):
    """The event of an action, and the alarm after it."""

    event: EventOut
    alarm: AlarmOut


class Action(BaseModel):
    """What a person adds to an action."""

    note: str = Field("", max_length=2000, description="Why, or what was done. Stands in the alarm's history.")


class UnitOut(BaseModel):
    """The newest known position of an enrolled unit: WGS-84 degrees, m/s, degrees true."""

    unit: str
    at: Time
    lat: float
    lon: float
    speed: float | None
    course: float | None

    @classmethod
    def of(cls, p: Position) -> UnitOut:
        speed, course = optional(p.speed), optional(p.course)
        return cls(unit=p.unit, at=rfc3339(p.at), lat=p.lat, lon=p.lon, speed=speed, course=course)


class UnitList(BaseModel):
    units: list[UnitOut]


TIMES = frozenset({"at", "began", "first", "last", "start", "ended", "received"})
"""Keys of evidence that hold a time, at any depth."""


def spelled(evidence: Any) -> Any:
    """Evidence with its times as RFC 3339."""
    if isinstance(evidence, dict):
        return {
            key: rfc3339(value) if key in TIMES and isinstance(value, int) else spelled(value)
            for key, value in evidence.items()
        }
    return [spelled(item) for item in evidence] if isinstance(evidence, list | tuple) else evidence


def maybe_time(at: int | None) -> str | None:
    """RFC 3339, or None for no time."""
    return None if at is None else rfc3339(at)
