"""Streams to frames: TCP brings frames in pieces, several at once, and with rubbish between them.

A splitter is fed what came and gives the whole frames in it. It keeps at most one unfinished frame, of a bounded
length, and drops (and counts) what can be none: a peer that sends rubbish costs neither memory nor time.
"""

from __future__ import annotations

import re
from typing import Protocol

from edge.decode.gt06 import END, fits

JT808_LONGEST = 2 * (1023 + 32) + 2
"""Every byte escaped, the longest header, two delimiters."""

GT06_BARE_LONGEST = 3 + 255 + 1 + 8 * 255 + 6
GT06_LONGEST = 4096
"""A long frame's length has 16 bits, but no layout comes near: a wrong length must not swallow 64 kB."""


MARKS = (b"\x78\x78", b"\x79\x79")
BEGINNING = re.compile(b"\x78\x78|\x79\x79")


class Splitter(Protocol):
    dropped: int

    def feed(self, data: bytes) -> list[bytes]:
        """Frames that are complete now, in order."""
        ...


class Jt808Splitter:
    """Frames between 7E and 7E, and sentences in brackets between frames.

    A delimiter may end one frame and begin the next. What stands between two delimiters is given as a frame even if
    it is rubbish: its check code tells. `dropped` counts bytes that no delimiter encloses.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._inside = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        *pieces, last = (self._rest + data).split(b"\x7e")
        for piece in pieces:
            frames += self._closed(piece)
            self._inside = True
        sentences, self._rest = self._sentences(last)
        frames += sentences
        if len(self._rest) > JT808_LONGEST:
            self.dropped += len(self._rest)
            self._rest, self._inside = b"", False
        return frames

    def _closed(self, piece: bytes) -> list[bytes]:
        """What a piece is, now that a delimiter has come after it."""
        sentences, piece = self._sentences(piece)
        if not piece:
            return sentences
        if self._inside and len(piece) + 2 <= JT808_LONGEST:
            return [*sentences, b"\x7e" + piece + b"\x7e"]
        self.dropped += len(piece)
        return sentences

    def _sentences(self, piece: bytes) -> tuple[list[bytes], bytes]:
        """Whole sentences at the front, and what follows them."""
        found = []
        while piece.startswith(b"(") and (end := piece.find(b")", 0, 1024)) > 0:
            found.append(piece[: end + 1])
            piece = piece[end + 1 :]
        return found, piece


class Gt06Splitter:
    """Frames from 7878 or 7979 to 0D0A, as long as they say; those that say it otherwise end at the next 0D0A."""

    def __init__(self) -> None:
        self._rest = b""
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        data, place = self._rest + data, 0
        while (start := self._start(data, place)) < len(data):
            self.dropped += start - place
            place = start
            size = frame_size(data[place : place + GT06_LONGEST])
            if size == 0:
                break
            if size > 0:
                frames.append(data[place : place + size])
            else:
                self.dropped -= size
            place += abs(size)
        self.dropped += start - place
        self._rest = data[start:]
        return frames

    def _start(self, data: bytes, place: int) -> int:
        """The first mark of a beginning, which may be half there."""
        if found := BEGINNING.search(data, place):
            return found.start()
        half = len(data) > place and data[-1:] in (b"\x78", b"\x79")
        return len(data) - 1 if half else len(data)


def frame_size(rest: bytes) -> int:
    """Bytes of the frame that `rest` begins with; 0 if more must come, below 0 the bytes that belong to none."""
    long = rest[0] == 0x79
    start = 4 if long else 3
    if len(rest) < start + 1 or rest[:2] not in MARKS:  # too little yet, or half a mark
        return 0
    length = int.from_bytes(rest[2:start], "big")
    said = start + length + 2
    if said > GT06_LONGEST:
        return -1
    for size in () if long else (said, said + 1):
        if is_whole(rest, size):
            return size
    if long:
        return _long_size(rest, said)
    return _other_size(rest, said)


def _long_size(rest: bytes, said: int) -> int:
    if len(rest) < said:
        return 0
    return said if rest[said - 2 : said] == END else -1


def _other_size(rest: bytes, said: int) -> int:
    """The first end at which a fitting frame stands; failing that, the said one, so that its refusal is told."""
    end = rest.find(END, 3, GT06_BARE_LONGEST)
    while end >= 0:
        if fits(rest[: end + 2]):
            return end + 2
        if len(rest) > said:
            return next_whole(rest, said if rest[said - 2 : said] == END else end + 2)
        end = rest.find(END, end + 1, GT06_BARE_LONGEST)
    return -1 if len(rest) > GT06_BARE_LONGEST else 0


def is_whole(rest: bytes, size: int) -> bool:
    return rest[size - 2 : size] == END and fits(rest[:size])


def next_whole(rest: bytes, size: int) -> int:
    """`size`, unless a whole frame begins within it: then what stands before that one belongs to no frame."""
    place = rest.find(MARKS[0], 1, size)
    while place > 0:
        if len(rest) > place + 2 and is_whole(rest[place:], rest[place + 2] + 5):
            return -place
        place = rest.find(MARKS[0], place + 1, size)
    return size
