"""The location body of JT/T 808 (0x0200): 28 fixed bytes, then items of id 1, length 1, value.

    alarm 4 | status 4 | latitude 4 | longitude 4 | altitude 2 | speed 2 | direction 2 | time BCD 6 (GMT+8)

Latitude and longitude are millionths of a degree, south and west by status bits 2 and 3; speed is in 0.1 km/h.
Source: JT/T 808-2019, 8.18, tables 23 to 31. Items of makers (above 0x31) are read only where their length and
meaning agree among those seen; the ids of all others are listed under `unread`, and their content is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.decode.base import KMH, DecodeError, Position, Reader, bcd_moment, flags

GMT_PLUS_8 = 8
Value = dict[str, Any]

ALARMS = {  # as in 2013; 2019 gives meaning to 15, 16 and 17, which makers had used before
    0: "sos",
    1: "overspeed",
    2: "fatigue",
    3: "danger",
    4: "gnss_fault",
    5: "antenna_cut",
    6: "antenna_short",
    7: "low_power",
    8: "power_cut",
    9: "display_fault",
    10: "voice_fault",
    11: "camera_fault",
    12: "card_fault",
    13: "overspeed_warning",
    14: "fatigue_warning",
    18: "driving_time_of_day",
    19: "parking_overtime",
    20: "area",
    21: "route",
    22: "section_time",
    23: "off_route",
    24: "speed_sensor_fault",
    25: "fuel",
    26: "stolen",
    27: "illegal_ignition",
    28: "illegal_movement",
    29: "collision",
    30: "rollover",
    31: "door",
}


def location(body: bytes) -> Position:
    """A location with its items. DecodeError `short` under 28 bytes."""
    reader = Reader(body)
    alarm, status = reader.uint(4), reader.uint(4)
    lat, lon = coordinate(reader, status & 4), coordinate(reader, status & 8)
    alt, speed, course = reader.int16(), reader.uint(2), reader.uint(2)
    at = bcd_moment(reader.bcd(6), GMT_PLUS_8)
    fields: Value = {"ignition": bool(status & 1), "alarm_bits": alarm, "status_bits": status}
    fields |= items(reader)
    fields["alarms"] = list(dict.fromkeys(flags(alarm, ALARMS) + fields.get("alarms", [])))
    kmh = speed / 10
    heading = float(course) if course <= 360 else None
    return Position(at, lat, lon, kmh * KMH, heading, float(alt), valid=bool(status & 2), fields=fields)


def coordinate(reader: Reader, negative: int) -> float:
    """Millionths of a degree. Some terminals send two's complement instead of setting the hemisphere's bit."""
    raw = reader.uint(4)
    if raw & 0x8000_0000:
        raw, negative = 0x1_0000_0000 - raw, 1
    return -raw / 1e6 if negative and raw else raw / 1e6


def items(reader: Reader) -> Value:
    """Fields of the items. What follows a broken item is not read, and is said to be so."""
    found: Value = {}
    unread: list[str] = []
    while reader.left >= 2:
        kind, length = reader.uint(1), reader.uint(1)
        if length > reader.left:
            found["damaged_items"] = True
            break
        value = reader.take(length)
        merge(found, unread, kind, value)
    if unread:
        found["unread"] = unread
    return found


def merge(found: Value, unread: list[str], kind: int, value: bytes) -> None:
    row = ITEMS.get((kind, len(value))) or ITEMS.get((kind, -1))
    name = f"0x{kind:02x}"
    if row is None:
        unread += [name] if name not in unread else []
        return
    try:
        fields = row(value)
    except DecodeError:
        unread.append(name)
        return
    alarms = found.get("alarms", []) + fields.pop("alarms", [])
    found |= fields | ({"alarms": alarms} if alarms else {})


def scaled(name: str, factor: float) -> Callable[[bytes], Value]:
    """An unsigned number in units of 1/`factor`: whole numbers divide exactly, tenths multiplied would not."""
    return lambda value: {name: int.from_bytes(value, "big") / factor}


def whole(name: str) -> Callable[[bytes], Value]:
    return lambda value: {name: int.from_bytes(value, "big")}


def metres(name: str) -> Callable[[bytes], Value]:
    """Tenths of a kilometre."""
    return lambda value: {name: int.from_bytes(value, "big") * 100}


def speed(name: str) -> Callable[[bytes], Value]:
    """0.1 km/h to m/s."""
    return lambda value: {name: round(int.from_bytes(value, "big") / 10 * KMH, 4)}


def _fuel(value: bytes) -> Value:
    """Tenths of a litre; with the highest bit set, percent of the tank (2019 allows both by agreement)."""
    raw = int.from_bytes(value, "big")
    return {"fuel_percent": float(raw & 0x7FFF)} if raw & 0x8000 else {"fuel_l": raw / 10}


def _overspeed(value: bytes) -> Value:
    """0x11: which kind of place the limit belongs to, and its id, if it is not 'no place'."""
    reader = Reader(value)
    kind = reader.uint(1)
    return {"overspeed_area_type": kind} | ({"overspeed_area": reader.uint(4)} if reader.left >= 4 else {})


def _area(value: bytes) -> Value:
    reader = Reader(value)
    kind, area, leaving = reader.uint(1), reader.uint(4), reader.uint(1)
    return {"area_type": kind, "area": area, "area_leaving": bool(leaving)}


def _section(value: bytes) -> Value:
    reader = Reader(value)
    section, seconds, late = reader.uint(4), reader.uint(2), reader.uint(1)
    return {"section": section, "section_s": seconds, "section_too_long": bool(late)}


def _charge(value: bytes) -> Value:
    """0xE4: 0 while charging, then percent."""
    return {"charging": value[0] == 0, "battery_percent": value[1]}


def _tenths_of_charge(value: bytes) -> Value:
    return {"battery_percent": value[0] * 10}


def _driving(value: bytes) -> Value:
    """0x57: a word of driving alarms, then switches."""
    names = {8: "hard_acceleration", 9: "hard_braking", 10: "hard_cornering"}
    return {"alarms": flags(int.from_bytes(value[:2], "big"), names)}


def _imei(value: bytes) -> Value:
    digits = value.hex()
    if not digits.isdigit():
        raise DecodeError("short", "no IMEI")
    return {"imei": digits[1:]}


def _nested(value: bytes) -> Value:
    """0xEB of many makers: entries of length 2 (the id counts), id 2, value. Anything else is left unread."""
    reader, found = Reader(value), Value()
    while reader.left:
        entry = Reader(reader.take(reader.uint(2)))
        kind, content = entry.uint(2), entry.rest()
        if row := ENTRIES.get((kind, len(content))):
            found |= row(content)
    return found


def _switches(value: bytes) -> Value:
    """Bits are alarms when they are clear."""
    bits = ~int.from_bytes(value, "big")
    return {"alarms": flags(bits, {0: "power_cut", 12: "removing"})}


def _movement(value: bytes) -> Value:
    bits = int.from_bytes(value, "big")
    found: Value = {"alarms": [] if bits >> 6 & 1 else ["vibration"]}
    state = bits >> 23 & 3
    return found | ({"motion": state == 0} if state < 2 else {})


ENTRIES: dict[tuple[int, int], Callable[[bytes], Value]] = {
    (0x0001, 3): lambda value: {"fuel_percent": int.from_bytes(value[:2], "big") / 10},
    (0x002D, 2): scaled("battery_v", 1000),
    (0x002D, 4): scaled("power_v", 1000),
    (0x0089, 4): _switches,
    (0x00A8, 1): whole("battery_percent"),
    (0x00C5, 4): _movement,
    (0x00CE, 2): scaled("power_v", 100),
}
"""Entries inside 0xEB, by id and length."""

ITEMS: dict[tuple[int, int], Callable[[bytes], Value]] = {
    (0x01, 4): metres("mileage_m"),
    (0x02, 2): _fuel,
    (0x03, 2): speed("recorder_speed"),
    (0x04, 2): whole("alarm_event"),
    (0x06, 2): lambda value: {"cabin_temperature_c": int.from_bytes(value, "big", signed=True)},
    (0x11, 1): _overspeed,
    (0x11, 5): _overspeed,
    (0x12, 6): _area,
    (0x13, 7): _section,
    (0x25, 4): whole("vehicle_signals"),
    (0x2A, 2): whole("io_status"),
    (0x2B, 4): whole("analog"),
    (0x30, 1): whole("signal"),
    (0x31, 1): whole("satellites"),
    (0x56, 2): _tenths_of_charge,
    (0x57, 8): _driving,
    (0x69, 2): scaled("battery_v", 100),
    (0x82, 2): scaled("power_v", 10),
    (0xAC, 4): whole("mileage_m"),
    (0xD4, 1): whole("battery_percent"),
    (0xD5, 2): scaled("battery_v", 100),
    (0xE1, 1): whole("battery_percent"),
    (0xE1, 2): scaled("power_v", 10),
    (0xE4, 2): _charge,
    (0xEB, -1): _nested,
    (0xF6, 8): _imei,
    (0xFE, 1): whole("battery_percent"),
}
"""Items by id and length; -1 is any length. 0x01 to 0x31 are the standard's, the others are makers'."""
