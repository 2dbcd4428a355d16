"""Items after a location of JT/T 808: id 1, length 1, value.

0x01 to 0x31 are the standard's (JT/T 808-2019, tables 27 to 31), the others are makers', read where their length
and meaning agree among the frames seen. The ids of all others are listed under `unread`; their content is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edge.decode.base import KMH, DecodeError, Reader, flags

Value = dict[str, Any]
ZONE = re.compile(rb"UTC[+-]\d\d:\d\d")
JIMI_ALARMS = {
    0x0400: "hard_acceleration",
    0x0401: "hard_braking",
    0x0402: "hard_cornering",
    0x0403: "overspeed",
    0x0405: "collision",
    0x0406: "vibration",
    0x0C01: "sos",
    0x0C0E: "power_cut",
    0x0C0F: "low_battery",
    0x0C12: "removing",
}


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
    if ZONE.fullmatch(value):
        return {"zone": value.decode("ascii")}
    reader, found = Reader(value), Value()
    while reader.left:
        entry = Reader(reader.take(reader.uint(2)))
        kind, content = entry.uint(2), entry.rest()
        if row := ENTRIES.get((kind, len(content))):
            fields = row(content)
            found["alarms"] = found.get("alarms", []) + fields.pop("alarms", [])
            found |= fields
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


def _lock_event(value: bytes) -> Value:
    """0x60: what happened to a padlock, in the first two bytes; then who opened it, which is not kept."""
    return {"lock_event": Reader(value).uint(2)}


def _locks(value: bytes) -> Value:
    """0x63: for each padlock of its own id 6, battery in mV 2, seal 1, state 1, signal 1; eleven bytes."""
    return {
        "lock_battery_v": [
            int.from_bytes(value[i + 6 : i + 8], "big") / 1000 for i in range(0, len(value) - 10, 11)
        ]
    }


def _jimi(value: bytes) -> Value:
    """0xE8 of Jimi's cameras: kind 2, length 1, then by kind; an alarm's kind says it all."""
    reader = Reader(value)
    kind = reader.uint(2)
    reader.take(1)
    if kind != 0x2003:
        return {"alarms": [JIMI_ALARMS[kind]]} if kind in JIMI_ALARMS else {}
    charging, _, battery = reader.uint(1), reader.uint(1), reader.uint(2)
    return {"charging": charging == 1, "battery_v": battery / 100}


def _surroundings(value: bytes) -> Value:
    """0xF6 of AOVX: event 1, mask 1, then its bits light 2, temperature 2, humidity 2, acceleration 6, and more."""
    reader = Reader(value)
    reader.take(1)
    mask, found = reader.uint(1), Value()
    if mask & 1:
        reader.take(2)
    if mask & 2:
        found["temperature_c"] = reader.int16() / 10
    if mask & 4:
        found["humidity_percent"] = reader.int16() / 10
    return found


def _behaviour(value: bytes) -> Value:
    """0xFE beginning with 7C: entries of id 1, length 1, value; 1 is a word of driving alarms."""
    reader, found = Reader(value), Value()
    if reader.uint(1) != 0x7C:
        raise DecodeError("short", "another layout")
    while reader.left >= 2:
        kind, content = reader.uint(1), reader.take(reader.uint(1))
        if kind == 1:
            found["alarms"] = flags(int.from_bytes(content, "big"), DRIVING)
    return found


DRIVING = {0: "hard_acceleration", 1: "hard_braking", 2: "hard_cornering", 3: "collision", 4: "removing"}
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
    (0x60, -1): _lock_event,
    (0x63, -1): _locks,
    (0x69, 2): scaled("battery_v", 100),
    (0x82, 2): scaled("power_v", 10),
    (0xAC, 4): whole("mileage_m"),
    (0xD4, 1): whole("battery_percent"),
    (0xD5, 2): scaled("battery_v", 100),
    (0xE1, 1): whole("battery_percent"),
    (0xE1, 2): scaled("power_v", 10),
    (0xE4, 2): _charge,
    (0xE8, -1): _jimi,
    (0xEB, -1): _nested,
    (0xF6, 8): _imei,
    (0xF6, 22): _surroundings,
    (0xFE, 1): whole("battery_percent"),
    (0xFE, -1): _behaviour,
}
"""Items by id and length; -1 is any length. 0x01 to 0x31 are the standard's, the others are makers'."""
