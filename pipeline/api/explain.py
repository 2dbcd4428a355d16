"""Why an alarm fired, from what it carries: for the api, the console and `vedette alarms explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from pipeline.api.fires import Nearby, distance, where
from pipeline.api.shapes import AlarmOut, EventOut, spelled
from pipeline.message import SECOND, Alarm, AlarmEvent
from pipeline.wire import rfc3339

DOUBTFUL = ("unsynced", "stepped", "implausible")
"""States of a device's clock that a person must know of."""

SCORES = ("score", "best", "strong", "hits", "in_sight")


class RuleOut(BaseModel):
    """Which rule spoke, of what kind, in which version."""

    name: str
    kind: str
    version: str | None


class Explanation(BaseModel):
    """Everything known about why an alarm stands as it does. Fields that a kind of rule does not have are empty."""

    alarm: AlarmOut
    rule: RuleOut
    model: str | None
    scores: Any
    thresholds: Any
    suppressed: Any
    clock: Any
    evidence: dict[str, Any]
    history: list[EventOut]
    sentences: list[str]


def explain(alarm: Alarm, history: Sequence[AlarmEvent]) -> Explanation:
    """The explanation of `alarm` with its `history` in order."""
    evidence: dict[str, Any] = readable(alarm.evidence)
    return Explanation(
        alarm=AlarmOut.of(alarm),
        rule=RuleOut(name=alarm.rule, kind=alarm.kind, version=evidence.get("version")),
        model=evidence.get("model"),
        scores={name: evidence[name] for name in SCORES if name in evidence} or None,
        thresholds=_first(evidence, "confirmation", "limit"),
        suppressed=evidence.get("held_back"),
        clock=evidence.get("clock") or (evidence.get("fix") or {}).get("clock"),
        evidence=evidence,
        history=[EventOut.of(event) for event in history],
        sentences=sentences(alarm, history),
    )


def readable(evidence: Any, key: str = "") -> Any:
    """Evidence with times as RFC 3339, and numbers with as many digits as say something: places to 0.1 m."""
    if isinstance(evidence, dict):
        return {name: readable(value, name) for name, value in spelled(evidence).items()}
    if isinstance(evidence, list | tuple):
        return [readable(item, "lat") for item in evidence]
    return _rounded(evidence, key) if isinstance(evidence, float) else evidence


def _rounded(value: float, key: str) -> float:
    if key in ("lat", "lon"):
        return round(value, 6)
    return round(value, 3) if abs(value) >= 1 else float(f"{value:.4g}")


def sentences(alarm: Alarm, history: Sequence[AlarmEvent]) -> list[str]:
    """The same for a person, in the order a person asks: what, why, how sure, what since."""
    found = [_what(alarm), alarm.reason.rstrip(".") + "."]
    found += where(alarm.evidence)
    found += _how_sure(alarm.evidence)
    found.append(_how_long(alarm))
    found += [_since(event) for event in history if event.change in ("acknowledged", "resolved")]
    return found


def _what(alarm: Alarm) -> str:
    version = alarm.evidence.get("version")
    rule = f"{alarm.rule} ({alarm.kind}" + (f", version {version})" if version else ")")
    place = f" at {alarm.place}" if alarm.place not in ("", alarm.subject) else ""
    return f"Rule {rule} raised this {alarm.severity} alarm about {alarm.subject}{place}."


def _how_sure(evidence: dict[str, Any]) -> list[str]:
    found = []
    confirmation = evidence.get("confirmation") or {}
    if evidence.get("model") and evidence.get("score") is not None:
        needed = f", {_plain(confirmation['open_score'])} needed" if "open_score" in confirmation else ""
        found.append(f"Model {evidence['model']} gave it {_plain(evidence['score'])}{needed}.")
    for held in evidence.get("held_back") or ():
        found.append(f"Held back before it, at {moment(held['first'])}: {held['detail']}.")
    clock = evidence.get("clock") or (evidence.get("fix") or {}).get("clock")
    if clock in DOUBTFUL:
        found.append(f"The device's clock was {clock}: its times may be wrong.")
    return found


def _how_long(alarm: Alarm) -> str:
    if alarm.ended_at is None:
        return f"It began at {moment(alarm.start)} and has not ended."
    return f"It began at {moment(alarm.start)} and ended {duration(alarm.ended_at - alarm.start)} later."


def _since(event: AlarmEvent) -> str:
    note = f": {event.reason.rstrip('.')}" if event.reason else ""
    return f"{event.by.capitalize()} {event.change} it at {moment(event.recorded)}{note}."


def spelled_units(found: Nearby) -> Iterator[tuple[str, str]]:
    """(what the fire means to it, the unit) for a person."""
    for name, units in (("inside", found.inside), ("heading in", found.heading_in), ("free", found.free)):
        for u in units:
            soon = f", there in {u.arrives_in_s} s" if u.arrives_in_s else ""
            kind = f" ({u.group})" if u.group else ""
            yield (
                name,
                f"{u.unit}{kind}: {distance(u.distance_m)}, fix {duration(round(u.age_s * SECOND))} old{soon}",
            )


def moment(at: int) -> str:
    """`2026-11-22 16:44:33 UTC`: a time for a person, to the second."""
    return rfc3339(at // SECOND * SECOND).replace("T", " ").replace("Z", " UTC")


def duration(micros: int) -> str:
    """`47 s`, `3 min 20 s`, `5 h 2 min`, `9 d 4 h`."""
    seconds = max(0, micros) // SECOND
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def _plain(value: Any) -> str:
    """Numbers, lists and tables as a person would write them."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(v) for v in value)
    return str(value)


def _first(evidence: dict[str, Any], *names: str) -> Any:
    return next((evidence[name] for name in names if name in evidence), None)
