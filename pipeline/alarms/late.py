"""What fixes that came late make of alarms that were raised without them. Pure.

A HOLDS signal says of one unit which episodes there were between two times: `holds` is their end (None: it goes on)
by alarm id, `versions` are those of the rules that were asked, by name. Alarms of another version of a rule were
raised by another rule and stay as they are.

    known of the alarm      HOLDS says       becomes
    ──────────────────────  ───────────────  ─────────────────────────────────────────────────────────────────────
    nobody has seen it      no such episode  corrected: it stays in the book, with the reason
    somebody has            no such episode  over, with a note; a person's acknowledgement and resolution stay
    corrected               an episode       raised again, and cleared if it is over
    over                    it goes on       raised or acknowledged again, unless resolved
    going on                it ended         cleared
    over                    another end      the same, with the other end
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.alarms.episode import ACKNOWLEDGED, CLEARED, CORRECTED, EXPECTED, RAISED, RESOLVED, Step
from pipeline.message import Alarm, Signal
from pipeline.wire import rfc3339

BY = "late fixes"
REFUTED = "refuted"
"""Key in the evidence of an alarm that fixes which came late refute."""


def settled(alarms: dict[str, Alarm], signal: Signal) -> list[tuple[str, Step]]:
    """Apply a HOLDS signal to `alarms`, which has to hold the unit's; what is to be recorded, by alarm."""
    told: list[tuple[str, Step]] = []
    for key in sorted(key for key, alarm in alarms.items() if _concerns(signal, alarm)):
        alarms[key], steps = _corrected(alarms[key], signal)
        told += [(key, step) for step in steps]
    return told


def _concerns(signal: Signal, alarm: Alarm) -> bool:
    versions: Mapping[str, str] = signal.evidence["versions"]
    if alarm.subject != signal.subject or alarm.state == EXPECTED or alarm.rule not in versions:
        return False
    if versions[alarm.rule] != alarm.evidence.get("version", ""):
        return False
    return alarm.id in signal.evidence["holds"] or signal.start <= alarm.start <= signal.at


def _corrected(alarm: Alarm, signal: Signal) -> tuple[Alarm, list[Step]]:
    holds: Mapping[str, int | None] = signal.evidence["holds"]
    if alarm.id not in holds:
        return _refuted(alarm, signal)
    end = holds[alarm.id]
    if REFUTED in alarm.evidence:
        evidence = {name: value for name, value in alarm.evidence.items() if name != REFUTED}
        alarm = msgspec.structs.replace(alarm, evidence=evidence)
        return _ending(alarm, end, _step(RAISED, signal, "fixes that came later still show it after all"))
    if end == alarm.ended_at:
        return alarm, []
    return _ending(alarm, end, _other_end(alarm, end, signal))


def _refuted(alarm: Alarm, signal: Signal) -> tuple[Alarm, list[Step]]:
    if REFUTED in alarm.evidence:
        return alarm, []
    reason = f"there was no such episode: {signal.reason}"
    evidence = {**alarm.evidence, REFUTED: {"reason": reason, "known_at": signal.evidence["known_at"]}}
    state = alarm.state if alarm.state == RESOLVED else CLEARED if alarm.acknowledged_by else CORRECTED
    over = msgspec.structs.replace(
        alarm, state=state, evidence=evidence, ended_at=alarm.ended_at or alarm.updated_at, updated_at=signal.at
    )
    return over, [_step(CORRECTED, signal, reason)]


def _other_end(alarm: Alarm, end: int | None, signal: Signal) -> Step:
    if end is None:
        return _step(CORRECTED, signal, f"it goes on: {signal.reason}")
    if alarm.ended_at is None:
        return _step(CLEARED, signal, f"it ended at {rfc3339(end)}: {signal.reason}")
    return _step(CORRECTED, signal, f"it ended at {rfc3339(end)}, not {rfc3339(alarm.ended_at)}: {signal.reason}")


def _ending(alarm: Alarm, end: int | None, step: Step) -> tuple[Alarm, list[Step]]:
    state = CLEARED if end is not None else ACKNOWLEDGED if alarm.acknowledged_by else RAISED
    state = RESOLVED if alarm.state == RESOLVED else state
    return msgspec.structs.replace(alarm, state=state, ended_at=end, updated_at=step.at), [step]


def _step(change: str, signal: Signal, reason: str) -> Step:
    evidence: dict[str, Any] = {name: signal.evidence[name] for name in ("first", "known_at")}
    return Step(change=change, at=signal.at, by=BY, reason=reason, evidence=evidence)
