"""JT/T 808, the protocol of Chinese commercial vehicles, versions 2011, 2013 and 2019: frames to messages.

Source: JT/T 808-2011, -2013 and -2019, chapter 8. The plate of a registration, a driver's name and card, a SIM's
number, and texts that people wrote are not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge.decode import jt808_vendor
from edge.decode.base import DecodeError, Message, Position, Reader
from edge.decode.jt808_frame import Header, opened
from edge.decode.jt808_location import location
from edge.decode.jt808_parts import Parts

PLAIN = {
    0x0002: "heartbeat",
    0x0003: "logout",
    0x0004: "time_request",
    0x0005: "resend_request",
    0x0102: "authentication",
    0x0104: "parameters",
    0x0107: "attributes",
    0x0108: "upgrade_result",
    0x0109: "time_request",
    0x0301: "event",
    0x0302: "answer",
    0x0303: "subscription",
    0x0506: "heartbeat",
    0x0608: "areas",
    0x0700: "recorder",
    0x0701: "waybill",
    0x0702: "driver",
    0x0705: "can",
    0x0800: "media_event",
    0x0805: "media_reply",
    0x0901: "compressed",
    0x0A00: "key",
    0x1300: "text",
}
"""Messages without a position, by their id: reported, and not read further."""


def decode(frame: bytes) -> list[Message]:
    """Messages of one frame with its delimiters, escaped as on the line; one recorded unescaped is taken too.

    DecodeError: empty, framing, escape, short, length, encrypted, checksum. With `checksum` comes what the frame
    would have said, as `unverified`.
    """
    if frame[:1] == b"(":
        return [sentence(frame)]
    return [read(*sound(frame))]


def sound(frame: bytes) -> tuple[Header, bytes]:
    """Header and body of a frame whose check code is right. DecodeError as for `decode`."""
    found = opened(frame)
    if not found.complaint:
        return found.header, found.body
    try:
        unverified = [read(found.header, found.body)]
    except DecodeError:
        unverified = []
    raise DecodeError("checksum", found.complaint, unverified=unverified)


# ---------------------------------------------------------------- bodies


def read(header: Header, body: bytes) -> Message:
    """The message of a header and a whole body. A part of a divided one says only that it is one."""
    if header.total > 1:
        return Message("part", header.device, (), header.fields())
    if header.message >= 0x8000:
        return Message("command", header.device, (), header.fields())
    reading = READ.get(header.message)
    if reading is None:
        kind = PLAIN.get(header.message, "other")
        return Message(kind, header.device, (), header.fields() | jt808_vendor.fields(header.message, body))
    kind, positions, fields = reading(Reader(body), header)
    return Message(kind, header.device, tuple(positions), header.fields() | fields)


Body = tuple[str, list[Position], dict[str, Any]]


def _location(reader: Reader, _header: Header) -> Body:
    return "position", [location(reader.rest())], {}


def _answered(reader: Reader, _header: Header) -> Body:
    """The answer to a question (0x0201) or to a control (0x0500): its serial number first."""
    reply = reader.uint(2)
    return "position", [location(reader.rest())], {"reply_to": reply}


def _batch(reader: Reader, _header: Header) -> Body:
    """0x0704: type 0 is a normal batch, 1 what was kept where there was no network.

    What is there counts, not what the count says: a terminal that miscounts loses nothing.
    """
    count, kind = reader.uint(2), reader.uint(1)
    positions = []
    while reader.left >= 2:
        positions.append(location(reader.take(reader.uint(2))))
    fields = {"batch": "backfill" if kind == 1 else "normal"}
    return "positions", positions, fields | ({} if count == len(positions) else {"count_said": count})


def _run(reader: Reader, _header: Header) -> Body:
    """0x0210 of some makers: locations one after the other, each with its length in a byte."""
    positions = []
    while reader.left:
        positions.append(location(reader.take(reader.uint(1))))
    return "positions", positions, {}


def _registration(reader: Reader, header: Header) -> Body:
    """0x0100: province 2, city 2, maker 5 (2019: 11), model 8 or 20 (30), terminal 7 (30), colour 1, plate.

    The model's length tells 2011 from 2013, and there is no mark of it: only what is common to both is read. The
    plate is not.
    """
    province, city = reader.uint(2), reader.uint(2)
    maker = reader.take(5 if header.version is None else 11)
    return "registration", [], {"province": province, "city": city, "maker": ascii_text(maker)}


def _reply(reader: Reader, _header: Header) -> Body:
    serial, message, result = reader.uint(2), reader.uint(2), reader.uint(1)
    return "reply", [], {"reply_to": serial, "reply_id": f"0x{message:04x}", "result": result}


def _media(reader: Reader, _header: Header) -> Body:
    """0x0801 since 2013: id 4, type 1, format 1, event 1, channel 1, location 28, then the picture.

    In 2011 the picture came at once, and what stands in the time's place is no time.
    """
    media, kind = reader.uint(4), reader.uint(1)
    reader.take(3)
    where = location(reader.take(28)) if reader.left >= 28 else None
    found = [where] if where and where.at is not None else []
    return "media", found, {"media_id": media, "media_type": kind}


def _media_list(reader: Reader, _header: Header) -> Body:
    """0x0802: answered serial, count, and for each id 4 (not in 2011), type 1, channel 1, event 1, location 28."""
    reply, count = reader.uint(2), reader.uint(2)
    head = 3 if reader.left == count * 31 else 7
    positions = []
    for _ in range(count):
        reader.take(head)
        positions.append(location(reader.take(28)))
    return "media_list", positions, {"reply_to": reply}


def _passed_through(reader: Reader, _header: Header) -> Body:
    """0x0900: a type, and whatever the maker likes. One layout with a place in it is known."""
    kind = reader.uint(1)
    found = jt808_vendor.diagnosis(reader) if kind == 0xF0 else None
    fields = {"data_type": f"0x{kind:02x}"}
    return ("position", [found], fields) if found else ("data", [], fields)


def _padlock(reader: Reader, header: Header) -> Body:
    return "position", [jt808_vendor.padlock(reader, stored=header.message == 0x5502)], {}


READ: dict[int, Callable[[Reader, Header], Body]] = {
    0x0001: _reply,
    0x0100: _registration,
    0x0200: _location,
    0x0201: _answered,
    0x0210: _run,
    0x0500: _answered,
    0x0704: _batch,
    0x0801: _media,
    0x0802: _media_list,
    0x0900: _passed_through,
    0x5501: _padlock,
    0x5502: _padlock,
}


def ascii_text(raw: bytes) -> str:
    """Printable characters, without the filling."""
    return "".join(chr(byte) for byte in raw if 0x20 <= byte < 0x7F).strip()


def sentence(raw: bytes) -> Message:
    """`(740190311185,1,001,...)`: padlocks speak so beside the frames. DecodeError `framing` without the end."""
    if raw[-1:] != b")" or len(raw) > 1024:
        raise DecodeError("framing", "a sentence ends with )")
    device, _, said = ascii_text(raw[1:-1]).partition(",")
    return Message("time_request" if ",BASE,2" in said else "text", device or None, (), {"text": said})


# ---------------------------------------------------------------- divided messages


class Session:
    """One connection: joins divided messages."""

    def __init__(self) -> None:
        self._parts = Parts()

    def decode(self, frame: bytes) -> list[Message]:
        """As `decode`; the last part of a divided message brings the whole. DecodeError as there, and `parts`."""
        if frame[:1] == b"(":
            return [sentence(frame)]
        header, body = sound(frame)
        if header.total <= 1:
            return [read(header, body)]
        whole = self._parts.add(header, body)
        return [read(header, body) if whole is None else read(undivided(header), whole)]


def undivided(header: Header) -> Header:
    """The header of the whole message that a part has completed."""
    return replace(header, total=1, part=1)
