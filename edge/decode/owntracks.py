"""OwnTracks: one JSON message to a message of ours. Source: owntracks.org/booklet/tech/json.

`lat`, `lon` degrees; `tst` seconds since 1970; `vel` km/h; `cog` degrees; `alt`, `acc` metres. The device is the
last part of the topic `owntracks/<user>/<device>`, which the app puts into the message or `mosquitto_sub -v` before
it; without a topic it is the tracker's id `tid`. The user's name, regions, networks and pictures are not kept.
"""

from __future__ import annotations

from typing import Any

from edge.decode.base import KMH, LIMIT, DecodeError, Message, Position, number, told
from edge.decode.osmand import parsed, stamp

WITHOUT_PLACE = {
    "lwt": "offline",
    "waypoint": "waypoint",
    "waypoints": "waypoints",
    "card": "card",
    "cmd": "command",
    "configuration": "configuration",
    "steps": "steps",
    "status": "status",
    "beacon": "beacon",
    "dump": "configuration",
    "request": "request",
}
"""A waypoint is where a region was drawn, not where the device is."""

SUFFIXES = ("event", "waypoint", "waypoints", "cmd", "info", "status", "step", "beacon", "dump")


def decode(raw: bytes) -> list[Message]:
    """The message of one line. DecodeError: empty, length, text, json, kind, encrypted, coordinates, time."""
    if len(raw) > LIMIT:
        raise DecodeError("length", f"{len(raw)} bytes are no report")
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise DecodeError("text", "not UTF-8") from None
    if not text:
        raise DecodeError("empty")
    topic, brace, rest = text.partition("{")
    report = parsed(brace + rest)
    return [_read(report, device_of(report, topic.strip()))]


def device_of(report: dict[str, Any], topic: str) -> str | None:
    told_topic = report.get("topic")
    parts = (told_topic if isinstance(told_topic, str) else topic).strip("/").split("/")
    if len(parts) > 3 and parts[-1] in SUFFIXES:
        parts.pop()
    if len(parts) >= 3 and parts[-1]:
        return parts[-1]
    tid = report.get("tid")
    return tid if isinstance(tid, str) and tid else None


def _read(report: dict[str, Any], device: str | None) -> Message:
    kind = report.get("_type")
    if kind == "location":
        return Message("position", device, (_position(report),))
    if kind == "transition":
        positions = (_position(report),) if "lat" in report and "lon" in report else ()
        return Message("transition", device, positions, told(event=_text(report, "event")))
    if kind == "encrypted":
        raise DecodeError("encrypted", "the key is the user's")
    if not isinstance(kind, str) or kind not in WITHOUT_PLACE:
        raise DecodeError("kind", f"_type {str(kind)[:40]!r}")
    return Message(WITHOUT_PLACE[kind], device)


def _text(report: dict[str, Any], name: str) -> str | None:
    value = report.get(name)
    return value if isinstance(value, str) else None


def _position(report: dict[str, Any]) -> Position:
    lat, lon = number(report.get("lat")), number(report.get("lon"))
    if lat is None or lon is None:
        raise DecodeError("coordinates", "lat or lon is no number")
    if number(report.get("tst")) is None:
        raise DecodeError("time", "no tst")
    kmh, course = _known(report, "vel"), _known(report, "cog")
    return Position(
        stamp(report["tst"]),
        lat,
        lon,
        None if kmh is None else kmh * KMH,
        None if course is None else course % 360,
        number(report.get("alt")),
        _known(report, "acc"),
        fields=told(battery_percent=_known(report, "batt"), trigger=_text(report, "t")),
    )


def _known(report: dict[str, Any], name: str) -> float | None:
    """iOS says -1 for "not known"."""
    value = number(report.get(name))
    return None if value is None or value < 0 else value
