"""OsmAnd's live tracking and Traccar Client: a query string, a form, or a JSON body to a message.

    /?id=DEVICE&lat=..&lon=..&timestamp=..&speed=..&bearing=..&altitude=..&accuracy=..     `location=lat,lon` too

`timestamp` is seconds or milliseconds since 1970, ISO 8601, or `YYYY-MM-DD HH:MM:SS` in UTC; without it `at` is
None, and the time of arrival is meant. `speed` is in knots, as Traccar's clients send it; in JSON it is m/s, as the
phone's own position is. Sources: traccar.org/osmand, and the JSON of Traccar Client 9. Cells, Wi-Fi stations and a
driver's number are not kept.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge.decode.base import KNOT, LIMIT, DecodeError, Message, Position, number, since_epoch, told
from pipeline.message import SECOND
from pipeline.wire import rfc3339

MILLISECONDS_FROM = 100_000_000_000
"""Larger numbers are milliseconds: as seconds they would be in the year 5138."""

FARTHEST = 253_402_300_800
"""The year 10000: no stamp beyond it can be written."""


def decode(raw: bytes) -> list[Message]:
    """The message of a line or body. DecodeError: empty, length, text, json, device, coordinates, number, time."""
    if len(raw) > LIMIT:
        raise DecodeError("length", f"{len(raw)} bytes are no report")
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise DecodeError("text", "not UTF-8") from None
    if not text:
        raise DecodeError("empty")
    if text.startswith("{"):
        return [_json(text)]
    return [_query(text)]


def _query(text: str) -> Message:
    values = parameters(text)
    device = values.get("id") or values.get("deviceid")
    if not device:
        raise DecodeError("device", "neither id nor deviceid")
    at = stamp(values["timestamp"]) if values.get("timestamp") else None
    if "location" in values:
        values["lat"], _, values["lon"] = values["location"].partition(",")
    if "lat" not in values and "lon" not in values:
        return Message("status", device, (), told(at=None if at is None else rfc3339(at)) | _extra(values))
    speed = _optional(values, "speed")
    position = Position(
        at,
        _degrees(values, "lat"),
        _degrees(values, "lon"),
        speed if speed is None else speed * KNOT,
        _heading(_optional(values, "bearing", "heading")),
        _optional(values, "altitude"),
        _optional(values, "accuracy"),
        valid=values.get("valid", "true").lower() not in ("false", "0"),
        fields=_extra(values),
    )
    return Message("position", device, (position,))


def parameters(text: str) -> dict[str, str]:
    """The first value of each parameter of an address, a request line, or a bare query."""
    for method in ("GET ", "POST "):
        if text.startswith(method):
            text = text.removeprefix(method).split(" ")[0]
    try:
        query = urlsplit(text).query if "?" in text else text
        return {name: values[0] for name, values in parse_qs(query, max_num_fields=200).items()}
    except ValueError as error:
        raise DecodeError("text", str(error)) from None


def stamp(value: Any) -> int:
    """Microseconds of a time in any of the forms. DecodeError `time` for anything else."""
    seconds = number(value)
    if seconds is not None:
        seconds = seconds / 1000 if abs(seconds) >= MILLISECONDS_FROM else seconds
        if abs(seconds) < FARTHEST:
            return round(seconds * SECOND)
        raise DecodeError("time", f"{value!r:.40} is beyond the calendar")
    try:
        moment = dt.datetime.fromisoformat(str(value).strip())
        return since_epoch(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC))
    except (ValueError, OverflowError):
        raise DecodeError("time", f"{str(value)[:40]!r} is no time") from None


def _degrees(values: dict[str, str], name: str) -> float:
    value = number(values.get(name))
    if value is None:
        raise DecodeError("coordinates", f"{name}={values.get(name, '')[:40]}")
    return value


def _optional(values: dict[str, str], *names: str) -> float | None:
    """The first that is there; NaN, which phones send for "not known", is none."""
    for name in names:
        if (text := values.get(name)) and text.lower() != "nan":
            if (value := number(text)) is None:
                raise DecodeError("number", f"{name}={text[:40]}")
            return value
    return None


def _heading(course: float | None) -> float | None:
    """Phones say -1 for "not known"."""
    return None if course is None or course < 0 else course % 360


def _extra(values: dict[str, str]) -> dict[str, Any]:
    ignition = values.get("ignition")
    return told(
        hdop=number(values.get("hdop")),
        battery_percent=number(values.get("batt")),
        ignition=None if ignition is None else ignition.lower() == "true",
    )


# ---------------------------------------------------------------- JSON


def _json(text: str) -> Message:
    report = parsed(text)
    device = report.get("device_id") or report.get("id")
    if not isinstance(device, str | int) or isinstance(device, bool):
        raise DecodeError("device", "no device_id")
    location = report.get("location", report)
    locations = location if isinstance(location, list) else [location]
    positions = tuple(_of_location(each) for each in locations)
    if not positions:
        raise DecodeError("coordinates", "no location")
    return Message("position" if len(positions) == 1 else "positions", str(device), positions)


def parsed(text: str) -> dict[str, Any]:
    """A JSON object. DecodeError `json` for anything else, however deep."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError("json", str(error)[:80]) from None
    if not isinstance(report, dict):
        raise DecodeError("json", "not an object")
    return report


def _of_location(location: Any) -> Position:
    if not isinstance(location, dict) or not isinstance(coords := location.get("coords"), dict):
        raise DecodeError("coordinates", "no location.coords")
    lat, lon = number(coords.get("latitude")), number(coords.get("longitude"))
    if lat is None or lon is None:
        raise DecodeError("coordinates", "latitude or longitude is no number")
    speed = number(coords.get("speed"))
    battery = location.get("battery")
    level = number(battery.get("level")) if isinstance(battery, dict) else None
    told_at = location.get("timestamp")
    return Position(
        None if told_at is None else stamp(told_at),
        lat,
        lon,
        None if speed is None or speed < 0 else speed,
        _heading(number(coords.get("heading"))),
        number(coords.get("altitude")),
        number(coords.get("accuracy")),
        fields=told(
            motion=location.get("is_moving") if isinstance(location.get("is_moving"), bool) else None,
            mileage_m=number(location.get("odometer")),
            battery_percent=None if level is None or level < 0 else round(level * 100),
        ),
    )
