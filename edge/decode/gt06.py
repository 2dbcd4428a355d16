"""GT06, the protocol of Concox and of most small trackers: frames to messages.

    78 78 | length 1 | type 1 | content | serial 2 | CRC 2 | 0D 0A      length counts from type to CRC
    79 79 | length 2 | type 1 | content | serial 2 | CRC 2 | 0D 0A

The CRC is CRC-ITU (X.25) from the length to the serial number. A family of simple trackers sends 78 78 frames
without serial number and CRC, where the length counts the content only, or the Wi-Fi stations in it; those types
are in `BARE`. Only the login names the device: a `Session` carries it on to what follows. Times are UTC, as the
published layouts say. Source: protocol documents of Concox (GT06 1.8, GT06N, GK310, JC100, LL301). Driver cards,
SIM numbers, phone numbers and the addresses of Wi-Fi stations are not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edge.decode.base import LIMIT, DecodeError, Message, Reader, told
from edge.decode.gt06_location import (
    LEVEL_PERCENT,
    STATES,
    Body,
    identified,
    is_time,
    modules,
    placed,
    reply,
    with_length_byte,
    x1,
)

END = b"\r\n"
CRC_ITU = 0x8408
STATUS = (0x13, 0x23, 0x36)
BARE = {0x01, 0x08, 0x10, 0x11, 0x13, 0x14, 0x15, 0x17, 0x30, 0x57, 0x69, 0x80, 0x81}
STATIONS = (0x17, 0x69)
PLAIN = {
    0x08: "heartbeat",
    0x15: "text",
    0x17: "network",
    0x18: "network",
    0x19: "network",
    0x1B: "driver",
    0x24: "network",
    0x28: "network",
    0x2A: "address_request",
    0x2C: "network",
    0x2E: "network",
    0x57: "settings_request",
    0x69: "network",
    0x81: "text",
    0x8A: "time_request",
    0xA1: "network",
    0xA5: "network",
    0xA7: "network",
    0xF3: "network",
}
"""Types without a place: reported, and not read further."""

LONG = {0x8C: "diagnosis", 0x94: "information", 0x9B: "data"}


@dataclass(frozen=True, slots=True)
class Frame:
    """`serial` is None for a frame that has none."""

    type: int
    long: bool
    content: bytes
    serial: int | None

    def fields(self) -> dict[str, Any]:
        return told(type=f"0x{self.type:02x}", serial=self.serial)


def decode(frame: bytes) -> list[Message]:
    """Messages of one frame. DecodeError: empty, framing, length, checksum, short, imei, date.

    With `checksum` comes what the frame would have said, as `unverified`.
    """
    opened, complaint = open_frame(frame)
    if not complaint:
        return [read(opened)]
    try:
        unverified = [read(opened)]
    except DecodeError:
        unverified = []
    raise DecodeError("checksum", complaint, unverified=unverified)


def open_frame(frame: bytes) -> tuple[Frame, str]:
    """The parts of a frame, and what is wrong with its check code, if anything."""
    if not frame:
        raise DecodeError("empty")
    if len(frame) > LIMIT or len(frame) < 6 or frame[:2] not in (b"\x78\x78", b"\x79\x79") or frame[-2:] != END:
        raise DecodeError("framing", "a frame begins with 7878 or 7979 and ends with 0d0a")
    long = frame[0] == 0x79
    start = 4 if long else 3
    length = int.from_bytes(frame[2:start], "big")
    if len(frame) == start + length + 2 and length >= 5:
        return _checked(frame, start, long)
    if not long and is_bare(frame):
        return Frame(frame[3], False, frame[4:-2], None), ""
    if len(frame) >= start + 7 and not (counted := _checked(frame, start, long))[1]:
        return counted  # some count their length otherwise; the check code covers all
    raise DecodeError("length", f"the header says {length} bytes, {len(frame) - start - 2} came")


def fits(frame: bytes) -> bool:
    """Whether a frame is as long as it says, with a right check code if it should have one."""
    start = 4 if frame[0] == 0x79 else 3
    length = int.from_bytes(frame[2:start], "big")
    if len(frame) == start + length + 2 and length >= 5:
        return not _checked(frame, start, start == 4)[1]
    return start == 3 and len(frame) >= 6 and is_bare(frame)


def _checked(frame: bytes, start: int, long: bool) -> tuple[Frame, str]:
    said, code = int.from_bytes(frame[-4:-2], "big"), crc_itu(frame[2:-4])
    opened = Frame(frame[start], long, frame[start + 1 : -6], int.from_bytes(frame[-6:-4], "big"))
    return opened, "" if said == code else f"said {said:04x}, computed {code:04x}"


def is_bare(frame: bytes) -> bool:
    """A frame of the family without check code: its length is that of the content, or it tells the stations."""
    kind, length, content = frame[3], frame[2], len(frame) - 6
    if kind in STATIONS:
        return content >= 6 + 7 * length
    if kind == 0x01:
        return content == 9  # identity and version, and a length that counts what is not sent
    return kind in BARE and (length == content or (length == content + 1 and length < 5))


def crc_itu(data: bytes) -> int:
    """CRC-16/X.25: reflected 0x1021, all ones at the start and inverted at the end."""
    code = 0xFFFF
    for byte in data:
        code = code >> 8 ^ TABLE[(code ^ byte) & 0xFF]
    return code ^ 0xFFFF


def _entry(code: int) -> int:
    for _ in range(8):
        code = code >> 1 ^ CRC_ITU if code & 1 else code >> 1
    return code


TABLE = tuple(_entry(byte) for byte in range(256))


# ---------------------------------------------------------------- contents


def read(frame: Frame) -> Message:
    """The message of a frame. DecodeError as for `decode`."""
    reading = (READ_LONG if frame.long else READ).get(frame.type)
    if reading is None:
        names = PLAIN | LONG
        return Message(names.get(frame.type, "command" if frame.type == 0x80 else "other"), fields=frame.fields())
    reader = Reader(frame.content)
    device = None
    if reading is placed:
        device, reader = identified(reader)
    kind, positions, fields = reading(reader, frame.type)
    device = fields.pop("device", device)
    return Message(kind, device, tuple(positions), frame.fields() | fields)


def _login(reader: Reader, _kind: int) -> Body:
    """IMEI as 16 BCD digits of which the first is 0 | kind of device 2 | zone and language 2, both optional."""
    digits = reader.bcd(8)
    if not digits.isdigit():
        raise DecodeError("imei", f"{digits} has letters")
    fields: dict[str, Any] = {"device": digits.removeprefix("0")}
    if reader.left >= 4:
        reader.take(2)
        zone = reader.uint(2)
        seconds = (zone >> 4) // 100 * 3600 + (zone >> 4) % 100 * 60
        fields["utc_offset_s"] = -seconds if zone & 8 else seconds
    return "login", [], fields


def _status(reader: Reader, kind: int) -> Body:
    """Terminal information 1 | voltage level 1 | signal 1 | alarm and language 2. Longer ones differ by maker."""
    if not reader.left:
        return "heartbeat", [], {}
    bits = reader.uint(1)
    fields: dict[str, Any] = {"ignition": bool(bits & 2), "charging": bool(bits & 4), "armed": bool(bits & 1)}
    fields["relay_cut"] = bool(bits & 0x80)
    if alarm := STATES.get(bits >> 3 & 7):
        fields["alarms"] = [alarm]
    if reader.left in (2, 3, 4) or kind == 0x36:
        fields |= _level(reader)
    elif reader.left == 13:
        fields |= _asset(reader)
    return "heartbeat", [], fields


def _level(reader: Reader) -> dict[str, Any]:
    """Voltage level 1 | signal 1 | alarm and language 2, and for 0x36 items of id 2, length 1, value."""
    if reader.left < 2:
        return {}
    level, signal = reader.uint(1), reader.uint(1)
    fields: dict[str, Any] = {"signal": signal}
    if level < len(LEVEL_PERCENT):
        fields["battery_percent"] = LEVEL_PERCENT[level]
    reader.take(min(2, reader.left))
    while reader.left >= 3:
        item, value = reader.uint(2), reader.take(reader.uint(1))
        if item in (0x18, 0x6A):
            raw = int.from_bytes(value, "big")
            fields |= {"battery_v": raw / 100} if item == 0x18 else {"battery_percent": raw}
    return fields


def _asset(reader: Reader) -> dict[str, Any]:
    """satellites 2 | alarm 1 | language 1 | battery 1 | mode 1 | voltage 2 | what differs by maker 5."""
    reader.take(4)
    percent, _, volts = reader.uint(1), reader.uint(1), reader.uint(2)
    return {"battery_percent": percent} | ({"battery_v": volts / 100} if volts else {})


def _information(reader: Reader, _kind: int) -> Body:
    """0x94: a subtype 1. 00: voltage of the vehicle 2, in hundredths; 1E: temperature 4 and humidity 4, in tenths.

    The others tell of SIM cards, of drivers' tags and of settings, and are not kept.
    """
    fields: dict[str, Any] = {}
    subtype = reader.uint(1) if reader.left else None
    if subtype == 0x00 and reader.left == 2:
        fields = {"power_v": reader.uint(2) / 100}
    elif subtype == 0x1E and reader.left == 8:
        fields = {"temperature_c": reader.uint(4) / 10, "humidity_percent": reader.uint(4) / 10}
    return "information", [], fields


def _status_or_place(reader: Reader, kind: int) -> Body:
    """0x36: items of state, or time and place like an alarm's."""
    return placed(reader, kind) if is_time(reader.data[:6]) and has_place(reader) else _status(reader, kind)


def _network_or_place(reader: Reader, kind: int) -> Body:
    """0xA2: cells and stations; with a place when the byte after the time has C for the length of one."""
    return placed(reader, kind) if has_place(reader) else ("network", [], {})


def has_place(reader: Reader) -> bool:
    """C, the length of a place, stands before the satellites."""
    return reader.left > 18 and reader.data[reader.place + 6] >> 4 == 0xC


Reading = Callable[[Reader, int], Body]
FIXES = (0x10, 0x11, 0x12, 0x16, 0x1A, 0x1E, 0x22, 0x25, 0x26, 0x27, 0x2D, 0x31, 0x32, 0x37)
MORE_FIXES = (0x61, 0x95, 0xA0, 0xA3, 0xA4)
READ: dict[int, Reading] = {
    **dict.fromkeys(STATUS, _status),
    **dict.fromkeys(FIXES + MORE_FIXES, placed),
    0x01: _login,
    0x34: x1,
    0x36: _status_or_place,
    0xA2: _network_or_place,
}
READ_LONG: dict[int, Reading] = {
    **dict.fromkeys(FIXES + MORE_FIXES, placed),
    0x13: _status,
    0x21: reply,
    0x94: _information,
    0x32: with_length_byte,
    0x33: with_length_byte,
    0x70: modules,
}


def quiet(message: Message) -> Message:
    """A heartbeat that names no alarm says that there is none."""
    return replace(message, fields={**message.fields, "alarms": []})


class Session:
    """One connection: the login's device is the device of all that follows."""

    def __init__(self) -> None:
        self.device: str | None = None

    def decode(self, frame: bytes) -> list[Message]:
        messages = decode(frame)
        for message in messages:
            self.device = message.device or self.device
        return [replace(message, device=message.device or self.device) for message in messages]
