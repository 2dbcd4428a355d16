"""JT/T 808, the protocol of Chinese commercial vehicles, versions 2011, 2013 and 2019: frames to messages.

    7E | id 2 | properties 2 | [version 1] | phone BCD 6 (2019: 10) | serial 2 | [parts 2, part 2] | body | XOR 1 | 7E

Between the delimiters 7D 01 stands for 7D and 7D 02 for 7E. Properties: body length (10 bits), encryption (3),
divided (1), version flag of 2019 (1). Source: JT/T 808-2011, -2013 and -2019, chapters 4 and 8. The plate of a
registration, a driver's name and card, and texts that people wrote are not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Any

from edge.decode import jt808_vendor
from edge.decode.base import LIMIT, DecodeError, Message, Position, Reader, told
from edge.decode.jt808_location import location

DELIMITER = 0x7E
ESCAPE = 0x7D
MAX_PARTS = 256
PENDING = 8

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


@dataclass(frozen=True, slots=True)
class Header:
    """`device` is the phone number's digits, leading zeros included; letters where a maker fills in hexadecimals."""

    message: int
    device: str
    serial: int
    version: int | None
    total: int = 1
    part: int = 1

    def fields(self) -> dict[str, Any]:
        divided = {"total": self.total, "part": self.part} if self.total > 1 else {}
        return told(message_id=f"0x{self.message:04x}", serial=self.serial, version=self.version) | divided


def decode(frame: bytes) -> list[Message]:
    """Messages of one frame with its delimiters, escaped as on the line; one recorded after unescaping is taken too.

    DecodeError: empty, framing, escape, short, length, encrypted, checksum.
    """
    if frame[:1] == b"(":
        return [sentence(frame)]
    header, body = opened(frame)
    return [read(header, body)]


def opened(frame: bytes) -> tuple[Header, bytes]:
    """Header and body of a frame whose length and check code are right. DecodeError as for `decode`."""
    if len(frame) > LIMIT:
        raise DecodeError("length", f"{len(frame)} bytes are no frame")
    inner = bare(frame)
    if jt808_vendor.is_short(inner):
        return _short(inner)
    try:
        return parted(unescape(inner))
    except DecodeError as refused:
        try:
            return parted(inner)
        except DecodeError:
            raise refused from None


def bare(frame: bytes) -> bytes:
    """What stands between the delimiters."""
    if not frame:
        raise DecodeError("empty")
    if len(frame) < 2 or frame[0] != DELIMITER or frame[-1] != DELIMITER:
        raise DecodeError("framing", "a frame begins and ends with 7e")
    return frame[1:-1]


def unescape(inner: bytes) -> bytes:
    """Undo 7D 01 and 7D 02. DecodeError `escape` for another byte after 7D, or a bare 7E."""
    head, *pieces = inner.split(b"\x7d")
    plain = bytearray(head)
    for piece in pieces:
        if piece[:1] not in (b"\x01", b"\x02"):
            raise DecodeError("escape", f"7d is followed by {piece[:1].hex() or 'nothing'}")
        plain += bytes([0x7C + piece[0]]) + piece[1:]
    if DELIMITER in head or any(DELIMITER in piece for piece in pieces):
        raise DecodeError("escape", "7e stands inside the frame")
    return bytes(plain)


def parted(content: bytes) -> tuple[Header, bytes]:
    reader = Reader(content)
    message, properties = reader.uint(2), reader.uint(2)
    version = reader.uint(1) if properties & 0x4000 else None
    device = reader.bcd(6 if version is None else 10)
    header = Header(message, device, reader.uint(2), version)
    if properties & 0x2000:
        total, part = reader.uint(2), reader.uint(2)
        header = Header(message, device, header.serial, version, total, part)
    body = reader.take(reader.left - 1) if reader.left else b""
    _checked(content, body, reader, properties)
    return header, body


def _checked(content: bytes, body: bytes, reader: Reader, properties: int) -> None:
    said, length = reader.uint(1), properties & 0x03FF
    if length != len(body):
        raise DecodeError("length", f"the header says {length} bytes of body, {len(body)} came")
    if said != (code := reduce(xor, content[:-1], 0)):
        raise DecodeError("checksum", f"said {said:02x}, computed {code:02x}")
    if properties & 0x1C00:
        raise DecodeError("encrypted", f"method {properties >> 10 & 7}")


def _short(inner: bytes) -> tuple[Header, bytes]:
    """Padlocks of one maker count these messages with one byte, and the length from elsewhere."""
    content = inner
    if reduce(xor, content, 0):
        content = unescape(inner)
    if reduce(xor, content, 0) or len(content) < 13:
        raise DecodeError("checksum", "of a message with a short header")
    reader = Reader(content)
    message = reader.uint(2)
    reader.take(2)
    return Header(message, reader.bcd(6), reader.uint(1), None), reader.data[reader.place : -1]


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


def _location(reader: Reader, header: Header) -> Body:
    return "position", [location(reader.rest())], {}


def _answered(reader: Reader, header: Header) -> Body:
    """The answer to a question (0x0201) or to a control (0x0500): its serial number first."""
    reply = reader.uint(2)
    return "position", [location(reader.rest())], {"reply_to": reply}


def _batch(reader: Reader, header: Header) -> Body:
    """0x0704: type 0 is a normal batch, 1 what was kept where there was no network."""
    count, kind = reader.uint(2), reader.uint(1)
    positions = []
    for _ in range(count):
        positions.append(location(reader.take(reader.uint(2))))
    return "positions", positions, {"batch": "backfill" if kind == 1 else "normal"}


def _run(reader: Reader, header: Header) -> Body:
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


def _reply(reader: Reader, header: Header) -> Body:
    serial, message, result = reader.uint(2), reader.uint(2), reader.uint(1)
    return "reply", [], {"reply_to": serial, "reply_id": f"0x{message:04x}", "result": result}


def _media(reader: Reader, header: Header) -> Body:
    """0x0801 since 2013: id 4, type 1, format 1, event 1, channel 1, location 28, then the picture."""
    media, kind = reader.uint(4), reader.uint(1)
    reader.take(3)
    return "media", [location(reader.take(28))], {"media_id": media, "media_type": kind}


def _media_list(reader: Reader, header: Header) -> Body:
    """0x0802: the answered serial, a count, and for each id 4, type 1, channel 1, event 1, location 28."""
    reply, count = reader.uint(2), reader.uint(2)
    positions = []
    for _ in range(count):
        reader.take(7)
        positions.append(location(reader.take(28)))
    return "media_list", positions, {"reply_to": reply}


def _passed_through(reader: Reader, header: Header) -> Body:
    """0x0900: a type, and whatever the maker likes. One layout with a place in it is known."""
    kind = reader.uint(1)
    found = jt808_vendor.diagnosis(reader) if kind == 0xF0 else None
    return "data", [found] if found else [], {"data_type": f"0x{kind:02x}"}


def _padlock(reader: Reader, header: Header) -> Body:
    return "position", [jt808_vendor.padlock(reader, blind=header.message == 0x5502)], {}


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
    """One connection: joins divided messages. Holds at most 8 of them and 64 kB each; the oldest give way."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, int, int], dict[int, bytes]] = OrderedDict()

    def decode(self, frame: bytes) -> list[Message]:
        """As `decode`; the last part of a divided message brings the whole. DecodeError as there, and `parts`."""
        if frame[:1] == b"(":
            return [sentence(frame)]
        header, body = opened(frame)
        if header.total <= 1:
            return [read(header, body)]
        whole = self._joined(header, body)
        return [read(header, body) if whole is None else read(_undivided(header), whole)]

    def _joined(self, header: Header, body: bytes) -> bytes | None:
        if not 1 <= header.part <= header.total <= MAX_PARTS:
            raise DecodeError("parts", f"part {header.part} of {header.total}")
        key = (header.device, header.message, (header.serial - header.part) % 65536)
        parts = self._waiting.setdefault(key, {})
        parts[header.part] = body
        while len(self._waiting) > PENDING:
            self._waiting.popitem(last=False)
        if len(parts) < header.total:
            return None
        del self._waiting[key]
        if sum(map(len, parts.values())) > LIMIT:
            raise DecodeError("length", "a divided message over 64 kB")
        return b"".join(parts[number] for number in sorted(parts))


def _undivided(header: Header) -> Header:
    return Header(header.message, header.device, header.serial, header.version)
