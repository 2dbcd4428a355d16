"""The parts of a `multipart/x-mixed-replace` stream, as cameras send it: MJPEG over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

from edge.errors import SourceError

MOST_BYTES = 16 << 20
"""Of one picture: more is no picture, or a stream without end."""
MOST_HEAD = 16_384
CHUNK = 65_536


@dataclass(slots=True)
class Feed:
    """What has come and is not yet taken. `read1` gives some bytes, none at the end."""

    read1: Callable[[int], bytes]
    _rest: bytearray

    def until(self, mark: bytes, most: int) -> bytes:
        """Everything before the next `mark`, which is taken too. SourceError when it does not come."""
        looked = 0
        while (found := self._rest.find(mark, looked)) < 0:
            looked = max(len(self._rest) - len(mark) + 1, 0)
            if looked > most:
                raise SourceError(f"{most:,} bytes and no end of the part: not MJPEG")
            self._more()
        taken = bytes(self._rest[:found])
        del self._rest[: found + len(mark)]
        return taken

    def exactly(self, count: int) -> bytes:
        """SourceError when the stream ends before."""
        while len(self._rest) < count:
            self._more()
        taken = bytes(self._rest[:count])
        del self._rest[:count]
        return taken

    def _more(self) -> None:
        data = self.read1(CHUNK)
        if not data:
            raise SourceError("the stream broke off")
        self._rest += data


def parts(read1: Callable[[int], bytes], boundary: str) -> Iterator[tuple[Message, bytes]]:
    """(headers, body) of each part. SourceError when the stream ends or is none.

    With a Content-Length the body is so long, whatever it holds; without, it ends before the next boundary.
    Cameras differ in whether the boundary they name begins with its two dashes.
    """
    feed, mark = Feed(read1, bytearray()), b"--" + boundary.strip('"').removeprefix("--").encode()
    feed.until(mark, MOST_HEAD)
    while True:
        if feed.until(b"\n", MOST_HEAD).startswith(b"--"):
            raise SourceError("the stream ended")
        headers = _headers(feed)
        length = _length(headers)
        if length is None:
            yield headers, feed.until(b"\r\n" + mark, MOST_BYTES)
        else:
            yield headers, feed.exactly(length)
            feed.until(mark, MOST_HEAD)


def _headers(feed: Feed) -> Message:
    lines = list[str]()
    while line := feed.until(b"\n", MOST_HEAD).strip():
        lines.append(line.decode("latin-1"))
        if len(lines) > 100:
            raise SourceError("a part with a hundred headers: not MJPEG")
    return HeaderParser().parsestr("\n".join(lines))


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) > MOST_BYTES:
        raise SourceError(f"a part of {text[:20]} bytes: not MJPEG")
    return int(text)
