"""Places in GT06 messages.

    date and time 6 (binary, UTC) | GPS length, satellites 1 | latitude 4 | longitude 4 | speed 1 | course, status 2

Latitude and longitude are minutes times 30000; speed is km/h. Of the last two bytes ten bits are the course; bit 10
is north, 11 west, 12 "fixed", 14 says that bit 15 is the ignition. After it come the cell, and for alarms terminal
information 1, voltage 1, signal 1, alarm 1, language 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from edge.decode.base import KMH, DecodeError, Position, Reader, bcd_moment, moment, number
from pipeline.message import SECOND

Body = tuple[str, Sequence[Position], dict[str, Any]]
PER_DEGREE = 1_800_000
SHORTEST = 18
"""Bytes of time and place: with fewer, a maker uses the type for something else."""

WITH_STATUS = (0x16, 0x26, 0x27)
WITH_CELL = (0x12, 0x22, 0x2D)
LEVEL_PERCENT = (0, 5, 10, 25, 50, 75, 100)
STATES = {1: "vibration", 2: "power_cut", 3: "low_battery", 4: "sos"}

ALARMS = {
    0x01: "sos",
    0x02: "power_cut",
    0x03: "vibration",
    0x04: "area_entered",
    0x05: "area_left",
    0x06: "overspeed",
    0x09: "displaced",
    0x0A: "gnss_lost",
    0x0B: "gnss_found",
    0x0C: "power_on",
    0x0D: "first_fix",
    0x0E: "low_power",
    0x0F: "low_power",
    0x10: "sim_changed",
    0x11: "power_off",
    0x13: "removing",
    0x14: "door",
    0x15: "power_off",
    0x16: "sound",
    0x17: "false_base_station",
    0x18: "removing",
    0x19: "low_battery",
    0x20: "sleep",
    0x23: "fall",
    0x29: "hard_acceleration",
    0x2A: "hard_cornering",
    0x2B: "hard_cornering",
    0x2C: "collision",
    0x30: "hard_braking",
    0x32: "removing",
}
CAMERA_ALARMS = {
    0x80: "vibration",
    0x87: "overspeed",
    0x90: "hard_acceleration",
    0x91: "hard_braking",
    0x92: "hard_cornering",
    0x93: "collision",
}
"""0x95 of cameras counts its own way."""

SENTENCE = re.compile(
    r"Lat:([NS])(\d{1,2}\.\d{1,9}),\s*Lon:([EW])(\d{1,3}\.\d{1,9}),\s*Course:(\d{1,3}(?:\.\d{1,6})?),"
    r"\s*Speed:(\d{1,4}(?:\.\d{1,6})?),\s*DateTime:\d\d(\d\d)-(\d\d)-(\d\d)\s{1,4}(\d\d):(\d\d):(\d\d)"
)


def when(reader: Reader) -> int | None:
    """Six bytes of time. Zeros are a clock not set yet; DecodeError `date` for what no clock shows."""
    parts = reader.take(6)
    at = moment(parts)
    if at is None and any(parts):
        raise DecodeError("date", f"{parts.hex()} is no time")
    return at


def is_time(raw: bytes) -> bool:
    return len(raw) == 6 and 0 < raw[0] < 100 and moment(raw) is not None


def identified(reader: Reader) -> tuple[str | None, Reader]:
    """The device, where a maker puts its number before the time, with or without a module's number (01) before.

    Told by structure: no time where it should stand, sixteen digits beginning with 0 in its stead, and then a time.
    """
    data = reader.data
    if is_time(data[:6]):
        return None, reader
    for start in (0, 1):
        digits, after = data[start : start + 8].hex(), data[start + 8 : start + 14]
        if digits.isdigit() and digits[0] == "0" and is_time(after):
            again = is_time(data[start + 14 : start + 20]) and start  # time of sending, then time of the fix
            return digits[1:], Reader(data[start + (14 if again else 8) :])
    return None, reader


def placed(reader: Reader, kind: int) -> Body:
    """Every type that begins with time and place. One of a camera without a place is an event."""
    if kind == 0x95:
        return _camera(reader)
    if reader.left < SHORTEST:
        return "other", [], {}
    at = when(reader)
    satellites = reader.uint(1) & 0x0F
    place = fix(reader, at, {"satellites": satellites})
    try:
        more = _after(reader, kind)
    except DecodeError:
        more = {"unread": [f"0x{kind:02x}"]}  # the place is whole all the same
    return "position", [_with(place, more)], {}


def _after(reader: Reader, kind: int) -> dict[str, Any]:
    """What stands behind the place, where its layout is known."""
    if kind in WITH_STATUS:
        return _state(reader, kind)
    if kind == 0xA0 and reader.left >= 18:
        return cell(reader, wide=True) | _reported(reader)
    if kind not in WITH_CELL or reader.left < 8:
        return {}
    more = cell(reader)
    if kind in (0x22, 0x2D) and reader.left >= 3:
        more |= _reported(reader)
    elif kind == 0x12 and reader.left in (5, 12):
        more |= _supply(reader)
    return more


def _with(place: Position, more: dict[str, Any]) -> Position:
    fields = dict(place.fields) | more
    return Position(
        place.at, place.lat, place.lon, place.speed, place.course, place.alt, valid=place.valid, fields=fields
    )


def fix(reader: Reader, at: int | None, fields: dict[str, Any], *, with_speed: bool = True) -> Position:
    """Latitude to status, after the satellites."""
    lat, lon = reader.uint(4) / PER_DEGREE, reader.uint(4) / PER_DEGREE
    speed = reader.uint(1) * KMH if with_speed else None
    bits = reader.uint(2)
    ignition = {"ignition": bool(bits & 0x8000)} if bits & 0x4000 else {}
    return Position(
        at,
        lat if bits & 0x0400 or not lat else -lat,
        -lon if bits & 0x0800 and lon else lon,
        speed,
        float(bits & 0x03FF) if bits & 0x03FF <= 360 else None,
        valid=bool(bits & 0x1000),
        fields=fields | ignition,
    )


def _supply(reader: Reader) -> dict[str, Any]:
    """Terminal information 1 | voltage 2 | signal 1 | alarm 1 | of some, fuel 2 | temperature 1 | mileage 4."""
    bits, volts, signal = reader.uint(1), reader.uint(2), reader.uint(1)
    fields = {"ignition": bool(bits & 2), "power_v": volts / 100, "signal": signal} | alarms(bits, reader.uint(1))
    if reader.left:
        reader.take(2)
        raw = reader.uint(1)
        fields["temperature_c"] = -(raw & 0x7F) if raw & 0x80 else raw
    return fields


def cell(reader: Reader, *, wide: bool = False) -> dict[str, Any]:
    """Country 2 (with the highest bit, the network has two bytes) | network 1 | area 2 | cell 3; zeros are none.

    `wide` is that of 4G: area 4, cell 8.
    """
    country = reader.uint(2)
    network = reader.uint(2 if country & 0x8000 else 1)
    area, tower = reader.uint(4 if wide else 2), reader.uint(8 if wide else 3)
    if not country:
        return {}
    return {"cell": {"mcc": country & 0x7FFF, "mnc": network, "lac": area, "cell": tower}}


def _reported(reader: Reader) -> dict[str, Any]:
    """Ignition 1 | why it was sent 1 | kept from before 1."""
    ignition, event, stored = reader.uint(1), reader.uint(1), reader.uint(1)
    return {"ignition": bool(ignition), "event": event, "stored": bool(stored)}


def _state(reader: Reader, kind: int) -> dict[str, Any]:
    """Length, cells, state. The length counts itself or (8) not; some leave it out, or the cells empty (0)."""
    more: dict[str, Any] = {}
    if reader.left >= 9:
        length = reader.data[reader.place]
        if 8 <= length <= reader.left:
            reader.take(1)
            more |= cell(Reader(reader.take(max(8, length - 1))))
        elif 0 < length < 4:
            more |= cell(reader)
        elif not length:
            reader.take(reader.left - 5)
        else:
            return more
    state = reader.rest()
    if len(state) == 6 and kind != 0x27:  # one byte more about the battery, by maker
        charge = {"battery_percent": state[2]} if state[2] <= 100 else {}
        return more | charge | alarms(0, state[4])
    return more | (_alarm(state[:5]) if len(state) >= 5 else {})


def _alarm(state: bytes) -> dict[str, Any]:
    bits, level, signal, alarm, _ = state
    fields: dict[str, Any] = {"ignition": bool(bits & 2), "charging": bool(bits & 4), "signal": signal}
    if level < len(LEVEL_PERCENT):
        fields["battery_percent"] = LEVEL_PERCENT[level]
    return fields | alarms(bits, alarm)


def alarms(bits: int, code: int) -> dict[str, Any]:
    """From the terminal information and the alarm's byte, each name once."""
    names = (STATES.get(bits >> 3 & 7), ALARMS.get(code))
    return {"alarm_code": code, "alarms": list(dict.fromkeys(name for name in names if name))}


def _camera(reader: Reader) -> Body:
    """0x95: time, and for a long one a place without satellites and speed; then the alarm."""
    at = when(reader)
    if reader.left <= 2:
        return "event", [], {"alarms": [CAMERA_ALARMS.get(reader.uint(1), "general")]}
    place = fix(reader, at, {}, with_speed=False)
    code = reader.uint(1)
    name = "sos" if code == 1 else CAMERA_ALARMS.get(code, "general")
    return "position", [_with(place, {"alarms": [name]})], {}


def x1(reader: Reader, _kind: int) -> Body:
    """0x34: alarm bits 4, then time, satellites and place."""
    bits = reader.uint(4)
    at, satellites = when(reader), reader.uint(1) & 0x0F
    return "position", [fix(reader, at, {"satellites": satellites, "alarm_bits": bits})], {}


def with_length_byte(reader: Reader, _kind: int) -> Body:
    """0x32 and 0x33 in long frames: time, the length of the place in a byte of its own (0: none), the place."""
    at = when(reader)
    if not reader.uint(1):
        return "network", [], {}
    return "position", [fix(reader, at, {"satellites": reader.uint(1) & 0x0F})], {}


def modules(reader: Reader, _kind: int) -> Body:
    """0x70: modules of type 2, length 2, value; 0x33 is a place with seconds since 1970 and the altitude."""
    positions, fields = [], dict[str, Any]()
    while reader.left >= 4:
        module, value = reader.uint(2), Reader(reader.take(reader.uint(2)))
        if module == 0x33:
            at, satellites, alt = value.uint(4) * SECOND, value.uint(1), value.int16()
            place = fix(value, at, {"satellites": satellites})
            positions.append(
                Position(at, place.lat, place.lon, place.speed, place.course, float(alt), valid=place.valid)
            )
        elif module == 0x2B and value.uint(1) == 0x14:
            fields["alarms"] = ["removing"]
    return ("position" if positions else "information"), positions, fields


def reply(reader: Reader, _kind: int) -> Body:
    """0x21: the answered command 4, coding 1, text. A place that was asked for comes as a sentence."""
    reader.take(4)
    coding = reader.uint(1)
    text = reader.rest().decode("latin-1" if coding == 1 else "utf-16-be", "replace")
    found = SENTENCE.search(text)
    if not found:
        return "reply", [], {}
    north, lat, east, lon, course, speed, *time = found.groups()
    at = bcd_moment("".join(time))
    place = float(lat) * (1 if north == "N" else -1), float(lon) * (1 if east == "E" else -1)
    return "position", [Position(at, place[0], place[1], float(speed) * KMH, number(course))], {}
