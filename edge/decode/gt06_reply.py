"""What a server answers in GT06: the type and the serial number of what it answers, and sometimes a time.

Of the family without serial number and check code: the login is answered with 01, a place with its own time. That
is how open servers answer these; no document of a maker is known.
"""

from __future__ import annotations

import time

from edge.decode.gt06 import END, Frame, crc_itu

COMMAND_REPLIES = (0x15, 0x21, 0x80, 0x81)
"""Answers to a command of ours: they wait for nothing."""

TIME_REQUEST, LOGIN = 0x8A, 0x01
BARE_PLACES = (0x10, 0x11)


def reply(frame: Frame, now_s: float) -> bytes:
    """The answer to `frame`; empty for one that waits for none."""
    if frame.type in COMMAND_REPLIES:
        return b""
    if frame.serial is None:
        return _bare(frame)
    content = bytes(_clock(now_s)) if frame.type == TIME_REQUEST else b""
    length = (len(content) + 5).to_bytes(2 if frame.long else 1, "big")
    counted = length + bytes([frame.type]) + content + frame.serial.to_bytes(2, "big")
    mark = b"\x79\x79" if frame.long else b"\x78\x78"
    return mark + counted + crc_itu(counted).to_bytes(2, "big") + END


def _bare(frame: Frame) -> bytes:
    if frame.type == LOGIN:
        content = b"\x01"
    elif frame.type in BARE_PLACES:
        content = frame.content[:6]
    else:
        return b""
    return b"\x78\x78" + bytes([len(content), frame.type]) + content + END


def _clock(now_s: float) -> tuple[int, ...]:
    now = time.gmtime(now_s)
    return now.tm_year % 100, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec
