"""The life of an alarm, as a pure fold of what rules and people say about one episode.

    state          BEGAN            STILL            ENDED            acknowledge      resolve
    ─────────────  ───────────────  ───────────────  ───────────────  ───────────────  ──────────────
    (none)         raised           expected         expected         —                —
    expected       raised ¹         expected         expected         —                —
    raised         raised           raised ²         cleared          acknowledged     forbidden ³
    acknowledged   acknowledged     acknowledged ²   cleared          (first)          resolved
    cleared        cleared          cleared ²        cleared          cleared ⁴        resolved ³
    resolved       resolved         resolved         resolved         (first)          (first)
    corrected ⁵    corrected        corrected        corrected        corrected ⁴      resolved ³

    ¹ raised and at once cleared, if the end came before the beginning
    ² gathers evidence; an event only if it became graver (escalated)
    ³ nobody has acknowledged it: somebody must have seen an alarm before it is put away
    ⁴ what cleared by itself stays on the list until somebody has acknowledged it: `acknowledged_by` says who
    ⁵ refuted by fixes that came late (`alarms.late`), which alone can raise it again

A fire that several cameras see has the signals of them all (`alarms.merge`). One that begins to see it is an event
(joined), one that no longer does too (left); only the end of the last one is ENDED in this table.

`expected` is not an alarm yet: signals of an episode whose beginning is still on its way. It is never shown.
The order in which signals of an episode come, and how often, makes no difference to where it ends.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.message import Alarm, Change, Signal
from pipeline.ports import UserError

EXPECTED, RAISED, ACKNOWLEDGED, CLEARED, RESOLVED = "expected", "raised", "acknowledged", "cleared", "resolved"
CORRECTED = "corrected"
"""Raised without knowing of fixes that came late and refute it: see `alarms.late`."""

STATES = (RAISED, ACKNOWLEDGED, CLEARED, RESOLVED, CORRECTED)
STANDING = (RAISED, ACKNOWLEDGED, CLEARED)
"""An alarm that somebody still has to deal with."""

ESCALATED, JOINED, LEFT = "escalated", "joined", "left"
ACTIONS = {"acknowledge": ACKNOWLEDGED, "resolve": RESOLVED}
"""What a person can do, and the change it is recorded as."""

SEVERITIES = ("info", "warning", "high", "critical")
PICTURE = ("frame", "camera", "size", "score", "best", "label", "box")
"""Of a signal that carries a frame, what is kept of it beside the first."""


class Step(msgspec.Struct, frozen=True):
    """One change to be recorded; it becomes an `AlarmEvent` when the book gives it a number."""

    change: str
    at: int
    by: str
    reason: str
    evidence: dict[str, Any] = {}


def settle(alarms: dict[str, Alarm], signal: Signal) -> tuple[str, list[Step]]:
    """Fold `signal` into the alarm it belongs to, which changes in `alarms`; the alarm's id, and what to record.

    One that joins an alarm which a person has put away, or which is not there, stands for itself: a second camera
    is news. `alarms` has to hold what is known of `signal.alarm` and `signal.episode`.
    """
    lead = alarms.get(signal.joins)
    refused = signal.change is Change.BEGAN and (lead is None or lead.state not in (RAISED, ACKNOWLEDGED))
    if signal.joins and (refused or signal.episode in alarms):
        alone = {name: value for name, value in signal.evidence.items() if name != "fire"}
        signal = msgspec.structs.replace(signal, joins="", evidence=alone)
    alarms[signal.alarm], steps = fold(alarms.get(signal.alarm), signal)
    return signal.alarm, steps


def fold(alarm: Alarm | None, signal: Signal) -> tuple[Alarm, list[Step]]:
    """The alarm after `signal`, and what is to be recorded. Signals seen before are kept out by the caller."""
    known = alarm or _expected(signal)
    alarm = _gathered(known, signal)
    graver = known.state in STANDING and _rank(alarm.severity) > _rank(known.severity)
    steps = [_step(ESCALATED, signal)] if graver else []
    if signal.change is Change.BEGAN and not signal.joins:
        alarm, more = _begin(alarm, signal)
    elif (signal.joins and signal.change is Change.BEGAN) or _others_see(signal):
        alarm, more = _told(alarm, signal)
    elif signal.change is Change.ENDED:
        alarm, more = _end(alarm, signal)
    else:
        more = []
    return alarm, steps + more


def act(alarm: Alarm, action: str, *, by: str, at: int, note: str) -> tuple[Alarm, Step | None]:
    """The alarm after a person's action; no step if it had been done before. UserError if it may not be done."""
    change = ACTIONS.get(action)
    if change is None:
        raise UserError(f"no action {action!r}: an alarm can be {' or '.join(f'{a}d' for a in ACTIONS)}")
    done = alarm.acknowledged_by if change == ACKNOWLEDGED else alarm.resolved_by
    if done is not None:
        return alarm, None
    step = Step(change=change, at=at, by=by, reason=note)
    if change == RESOLVED:
        if alarm.acknowledged_by is None:
            raise UserError(f"alarm {alarm.id} has not been acknowledged by anybody: acknowledge it first")
        return msgspec.structs.replace(alarm, state=RESOLVED, resolved_by=by, updated_at=at), step
    state = ACKNOWLEDGED if alarm.state == RAISED else alarm.state
    return msgspec.structs.replace(alarm, state=state, acknowledged_by=by, updated_at=at), step


def _begin(alarm: Alarm, signal: Signal) -> tuple[Alarm, list[Step]]:
    if alarm.state != EXPECTED:
        return alarm, []
    raised = msgspec.structs.replace(
        alarm, state=RAISED, raised_at=signal.at, updated_at=signal.at, reason=signal.reason
    )
    step = _step(RAISED, signal)
    if alarm.ended_at is None:
        return raised, [step]
    known = Step(change=CLEARED, at=alarm.ended_at, by=step.by, reason=alarm.reason)
    return msgspec.structs.replace(raised, state=CLEARED, updated_at=alarm.ended_at), [step, known]


def _others_see(signal: Signal) -> bool:
    return signal.change is Change.ENDED and bool(signal.evidence.get("fire", {}).get("going_on"))


def _told(alarm: Alarm, signal: Signal) -> tuple[Alarm, list[Step]]:
    """One camera of several has begun or ceased to see the fire."""
    if alarm.state not in STANDING:
        return alarm, []
    change = JOINED if signal.change is Change.BEGAN else LEFT
    return msgspec.structs.replace(alarm, updated_at=signal.at), [_step(change, signal)]


def _end(alarm: Alarm, signal: Signal) -> tuple[Alarm, list[Step]]:
    at = max(signal.at, alarm.ended_at or signal.at)
    ended = msgspec.structs.replace(alarm, ended_at=at)
    if alarm.state == EXPECTED:
        return msgspec.structs.replace(ended, reason=signal.reason), []
    if alarm.state not in (RAISED, ACKNOWLEDGED):
        return ended, []
    return msgspec.structs.replace(ended, state=CLEARED, updated_at=signal.at), [_step(CLEARED, signal)]


def _expected(signal: Signal) -> Alarm:
    return Alarm(
        id=signal.alarm,
        rule=signal.rule,
        kind=signal.kind,
        subject=signal.subject,
        place=signal.place,
        severity=signal.severity,
        state=EXPECTED,
        start=signal.start,
        raised_at=signal.at,
        updated_at=signal.at,
        ended_at=None,
        reason=signal.reason,
        evidence={},
    )


def _gathered(alarm: Alarm, signal: Signal) -> Alarm:
    """What the beginning showed stands as it was; of later frames the best and the last are kept beside it."""
    evidence = dict(alarm.evidence)
    fire = max((evidence.get("fire"), signal.evidence.get("fire")), key=_revision)
    if signal.change is Change.BEGAN and not signal.joins and "version" not in evidence:
        evidence |= {**signal.evidence, "version": signal.version}
    if fire is not None:
        evidence["fire"] = fire
    if "frame" in signal.evidence:
        evidence["frames"] = _telling([*evidence.get("frames", []), _picture(signal)])
    severity = max(alarm.severity, signal.severity, key=_rank)
    return msgspec.structs.replace(alarm, evidence=evidence, severity=severity)


def _revision(fire: dict[str, Any] | None) -> int:
    return -1 if fire is None else int(fire["revision"])


def _picture(signal: Signal) -> dict[str, Any]:
    return {"at": signal.at, **{name: signal.evidence[name] for name in PICTURE if name in signal.evidence}}


def _telling(pictures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first, the best and the last by event time: at most three, whatever the episode's length."""
    pictures = sorted({(p["at"], p["frame"]): p for p in pictures}.values(), key=lambda p: (p["at"], p["frame"]))
    best = max(pictures, key=lambda p: (p.get("score", 0.0), -p["at"]))
    return [p for i, p in enumerate(pictures) if i in (0, len(pictures) - 1) or p is best]


def _step(change: str, signal: Signal) -> Step:
    return Step(
        change=change, at=signal.at, by=f"rule {signal.rule}", reason=signal.reason, evidence=signal.evidence
    )


def _rank(severity: str) -> int:
    """Severities we do not know stand between info and critical."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 1
