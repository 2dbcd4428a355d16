"""Alarms as rows of the list and marks on the map: what the browser needs of them, and no more."""

from __future__ import annotations

from typing import Any

from pipeline.api.console import words
from pipeline.api.fires import drawn
from pipeline.message import Alarm

SEVERE = ("critical", "high", "warning", "info")


def severity(alarm: Alarm) -> str:
    """One of those that the console has a colour for; an unknown one is shown as a warning."""
    return alarm.severity if alarm.severity in SEVERE else "warning"


def state_name(alarm: Alarm) -> str:
    """What the state means to the operator."""
    if alarm.state == "cleared" and alarm.acknowledged_by:
        return words.CHANGES["cleared"]
    return words.STATES.get(alarm.state, alarm.state)


def unseen(alarm: Alarm) -> bool:
    """Whether nobody has taken note of it yet."""
    return alarm.state != "resolved" and alarm.acknowledged_by is None


def row(alarm: Alarm) -> dict[str, Any]:
    """A row of the list."""
    return {
        "id": alarm.id,
        "at": alarm.raised_at // 1000,
        "severity": severity(alarm),
        "state": alarm.state,
        "state_name": state_name(alarm),
        "urgent": int(unseen(alarm) and severity(alarm) == "critical"),
        "unseen": "yes" if unseen(alarm) else "no",
        "reason": alarm.reason,
        "about": " · ".join(filter(None, (alarm.subject, alarm.place, alarm.kind))),
    }


def place(alarm: Alarm) -> dict[str, Any]:
    """A mark on the map; `lat` is None for an alarm without a place, `shown` is whether it has a mark.

    `area` is the cone or ellipse of a fire that goes on.
    """
    where = position(alarm.evidence)
    area = drawn(alarm.evidence) if alarm.state in ("raised", "acknowledged") else None
    return {
        "id": alarm.id,
        "lat": where[0] if where else None,
        "lon": where[1] if where else None,
        "severity": severity(alarm),
        "state": alarm.state,
        "reason": alarm.reason,
        "area": area,
        "shown": (where is not None or area is not None) and alarm.state in ("raised", "acknowledged"),
    }


def position(evidence: dict[str, Any]) -> tuple[float, float] | None:
    """(lat, lon) of the evidence: of its fire, at its top or in its `fix`."""
    fire = evidence.get("fire")
    placed = fire.get("place") if isinstance(fire, dict) else None
    for holder in (placed, evidence, evidence.get("fix"), evidence.get("position")):
        if isinstance(holder, dict):
            lat, lon = holder.get("lat"), holder.get("lon")
            if isinstance(lat, int | float) and isinstance(lon, int | float):
                return float(lat), float(lon)
    return None
