"""The location body of JT/T 808 (0x0200): 28 fixed bytes, then items of id 1, length 1, value.

    alarm 4 | status 4 | latitude 4 | longitude 4 | altitude 2 | speed 2 | direction 2 | time BCD 6 (GMT+8)

Latitude and longitude are millionths of a degree, south and west by status bits 2 and 3; speed is in 0.1 km/h.
Source: JT/T 808-2019, 8.18, tables 23 to 25.
"""

from __future__ import annotations

from typing import Any

from edge.decode.base import KMH, Position, Reader, bcd_moment, flags
from edge.decode.jt808_items import items

GMT_PLUS_8 = 8

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
    fields: dict[str, Any] = {"ignition": bool(status & 1), "alarm_bits": alarm, "status_bits": status}
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
