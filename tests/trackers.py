"""Frames as trackers send them, made from their fields; and changed at random, as lines and attackers do."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import reduce
from operator import xor

from edge.decode.gt06 import crc_itu


def jt808(message: int, body: bytes, *, serial: int = 1, phone: str = "013512345678", part: str = "") -> bytes:
    """A frame of 2013, escaped; of 2019 with a phone number of 20 digits. `part` is like 2/3."""
    new = len(phone) == 20
    properties = len(body) | (0x4000 if new else 0) | (0x2000 if part else 0)
    head = message.to_bytes(2) + properties.to_bytes(2) + (b"\x01" if new else b"") + bytes.fromhex(phone)
    head += serial.to_bytes(2)
    if part:
        number, total = part.split("/")
        head += int(total).to_bytes(2) + int(number).to_bytes(2)
    return escaped(head + body)


def escaped(content: bytes) -> bytes:
    plain = content + bytes([reduce(xor, content, 0)])
    return b"\x7e" + plain.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02") + b"\x7e"


def place(
    lat: int = 31_000_000, lon: int = 121_500_000, *, status: int = 3, time: str = "200707192359", items: str = ""
) -> bytes:
    """A location's body: 31 N 121.5 E, 40 m, 36 km/h, 90 degrees."""
    numbers = b"".join(value.to_bytes(4) for value in (0, status, lat, lon))
    moving = b"".join(value.to_bytes(2) for value in (40, 360, 90))
    return numbers + moving + bytes.fromhex(time) + bytes.fromhex(items)


def gt06(kind: int, content: bytes, *, serial: int = 1, long: bool = False) -> bytes:
    length = len(content) + 5
    counted = length.to_bytes(2 if long else 1) + bytes([kind]) + content + serial.to_bytes(2)
    return (b"\x79\x79" if long else b"\x78\x78") + counted + crc_itu(counted).to_bytes(2) + b"\r\n"


def gt06_place(*, status: int = 0x145A, time: str = "0f0a140e150b") -> bytes:
    """54.94535 N, 24.01762 E, 36 km/h; the status says fixed, north, and a course of 90 degrees."""
    return bytes.fromhex(time) + bytes.fromhex("c505e51e780293a9e824") + status.to_bytes(2)


LOGIN = gt06(0x01, bytes.fromhex("0123456789012345"))
CELL = bytes.fromhex("01cc00287d001f71")
STATE = bytes.fromhex("4604040302")
ITEMS = "0104000000640202003703020168300115310109e4020063eb0c000c00b28988228066613427"


def sentence(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode(), 0):02X}".encode()


NMEA_LINES = [
    sentence("GPRMC,123519.00,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"),
    sentence("GPGGA,123519.00,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
]
SEEDS: dict[str, list[bytes]] = {
    "jt808": [
        jt808(0x0200, place(items=ITEMS)),
        jt808(0x0200, place(items="eb100004002d0fa500060089ffffefff00e1"), phone="00000000013512345678"),
        jt808(0x0704, b"\0\2\1" + 2 * (b"\0\x1c" + place())),
        jt808(0x0210, b"\x1c" + place() + b"\x1c" + place()),
        jt808(0x0801, bytes(8) + place() + b"picture"),
        jt808(0x0802, b"\0\1\0\1" + bytes(7) + place()),
        jt808(0x0100, bytes(37) + b"plate"),
        jt808(0x0900, bytes.fromhex("f0230223150215010203013800000c000b029dc58c04b99b60")),
        bytes.fromhex(
            "7e550100287001608180000127061008045322332880113555602e050031010000000608000010"
            "9314350100020003000301000 51b7e".replace(" ", "")
        ),
        b"(740190311185,1,001,ELOCK,3,529439)",
    ],
    "gt06": [
        LOGIN,
        gt06(0x12, gt06_place() + CELL),
        gt06(0x12, gt06_place() + CELL + bytes(12)),
        gt06(0x16, gt06_place() + b"\x09" + CELL + STATE),
        gt06(0x22, bytes.fromhex("0866703066502297") + gt06_place() + CELL + bytes(3)),
        gt06(0x13, STATE),
        gt06(0x36, STATE + bytes.fromhex("0018020192006a015f")),
        gt06(0x70, bytes.fromhex("003300125d7e3a180600d504b598f708814b3a001500"), long=True),
        gt06(0x32, bytes.fromhex("1106170c1b180cc900a875580b7ab4f0001035"), long=True),
        gt06(
            0x21, bytes(4) + b"\1Lat:N54.7,Lon:E25.2,Course:1.5,Speed:3.6,DateTime:2017-05-26 10:27:47", long=True
        ),
        bytes.fromhex("787800691709261259400700cc0400d376714600d37a3d5000d37a3c500d0a"),
    ],
    "osmand": [
        b"/?id=123456&timestamp=1504763810&lat=40.72&lon=-74.006&bearing=7.2&speed=40&batt=24&hdop=1",
        b"id=1&timestamp=2014-06-04+09%3A10%3A11&location=49.6,6.1&altitude=384.7",
        json.dumps(
            {
                "device_id": "7",
                "location": {
                    "timestamp": "2024-11-21T10:00:00.000Z",
                    "coords": {"latitude": 1.5, "longitude": 2.5, "speed": 3, "heading": -1, "accuracy": 4},
                    "battery": {"level": 0.5},
                },
            }
        ).encode(),
    ],
    "owntracks": [
        b'{"_type":"location","acc":15,"alt":440,"lat":46.06,"lon":11.15,"tid":"5t","tst":1551874878,"vel":36}',
        b'owntracks/u/d/event {"_type":"transition","lat":1,"lon":2,"tst":1551874878,"event":"enter"}',
    ],
    "nmea": NMEA_LINES,
}
INTERESTING = b'\x00\x01\x7d\x7e\x7f\x80\xff\r\n(){}[],.:"-9'


def mutations(protocol: str, count: int, *, seed: int) -> Iterator[bytes]:
    """`count` changed messages. Half of the binary ones have a check code that fits the change."""
    chance = random.Random(seed)
    seeds = SEEDS[protocol]
    for _ in range(count):
        changed = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            change(changed, chance)
        text = protocol not in ("jt808", "gt06") and chance.random() < 0.9
        data = bytes(byte & 0x7F for byte in changed) if text else bytes(changed)
        yield sealed(protocol, data) if chance.random() < 0.5 else data


def change(data: bytearray, chance: random.Random) -> None:
    """One byte set, bit turned, piece cut, doubled, or put in."""
    place, kind = chance.randrange(len(data) + 1), chance.randrange(6)
    if kind == 0:
        data[place : place + 1] = bytes([chance.choice(INTERESTING)])
    elif kind == 1 and place < len(data):
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 2:
        del data[place : place + chance.randint(1, 8)]
    elif kind == 3:
        data[place:place] = data[place : place + chance.randint(1, 40)]
    elif kind == 4:
        data[place:place] = chance.randbytes(chance.randint(1, 4))
    elif place < len(data):
        data[place] = chance.randrange(256)


def sealed(protocol: str, data: bytes) -> bytes:
    """With right length and check code, so that what is inside is reached."""
    if protocol == "jt808" and len(data) > 16 and data[:1] == b"\x7e":
        inner = data[1:-2].replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")
        header = 12 if not inner[2] & 0x40 else 17
        length = max(0, len(inner) - header - (4 if inner[2] & 0x20 else 0))
        return escaped(inner[:2] + ((length & 0x3FF) | (inner[2] & 0x60) << 8).to_bytes(2) + inner[4:])
    if protocol == "gt06" and 10 < len(data) < 250 and data[0] in (0x78, 0x79):
        long = data[0] == 0x79
        start = 4 if long else 3
        return gt06(data[start], data[start + 1 : -6], long=long)
    if protocol == "nmea" and data[:1] == b"$":
        said = data[1:].rpartition(b"*")[0].replace(b"*", b"")
        return b"$%s*%02X" % (said, reduce(xor, said, 0))
    return data
