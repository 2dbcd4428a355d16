"""A camera's pictures over HTTP: an MJPEG stream, or single pictures asked for one by one.

Which of the two the camera says itself, by the Content-Type of its answer. Digest or basic authentication with the
name and password of the url. A picture carries the time at which it was taken, where the camera tells it:

    Last-Modified, beside Date   single pictures: so long ago, by the camera's own clock
    X-Timestamp                  MJPEG: the camera's running time, see `pace.Lag`
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edge.clock import DeviceClock
from edge.errors import SourceError
from edge.multipart import CHUNK, MOST_BYTES, parts
from edge.pace import Lag
from edge.picture import decode
from edge.settings import Camera
from edge.shot import Shot, without_password
from pipeline.message import SECOND

BAD_IN_A_ROW = 5
OLDEST_S = 7 * 86_400.0
"""A camera that says a picture is older has no clock worth listening to."""
REFUSED = {
    401: "user name or password refused",
    403: "not allowed to see this",
    404: "no such path: see its manual",
}


def is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def web_pictures(
    settings: Camera, closing: threading.Event, clock: DeviceClock, *, look_s: float
) -> Iterator[Shot | None] | None:
    """Pictures of one opening; None when the answer is no picture and no MJPEG, so perhaps something for FFmpeg.

    SourceError when the camera cannot be reached or refuses.
    """
    web = Web(settings)
    response = web.get()
    kind = response.headers.get_content_type()
    if kind == "multipart/x-mixed-replace":
        return web.stream(response, closing, clock, look_s)
    response.close()
    return web.singles(closing, clock, look_s) if kind in ("image/jpeg", "image/jpg", "image/png") else None


@dataclass(slots=True)
class Web:
    """One camera's address, with its name and password set aside."""

    settings: Camera
    _opener: urllib.request.OpenerDirector = field(init=False)
    _url: str = field(init=False)

    def __post_init__(self) -> None:
        url = urlsplit(self.settings.url)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        place = f"{host}:{url.port}" if url.port else host
        self._url = urlunsplit((url.scheme, place, url.path or "/", url.query, ""))
        words = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if url.username:
            words.add_password(None, self._url, unquote(url.username), unquote(url.password or ""))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # a camera is on our own network
            urllib.request.HTTPDigestAuthHandler(words),
            urllib.request.HTTPBasicAuthHandler(words),
        )

    def get(self) -> Any:
        """The camera's answer, to be read. SourceError."""
        request = urllib.request.Request(self._url, headers={"User-Agent": "vedette-edge"})
        try:
            return self._opener.open(request, timeout=self.settings.stall_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._wrong(f"HTTP {error.code}: {REFUSED.get(error.code, error.reason)}") from None
        except urllib.error.URLError as error:
            raise self._wrong(f"cannot be opened: {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._wrong(f"cannot be opened: {error or type(error).__name__}") from None

    def _wrong(self, words: str) -> SourceError:
        return SourceError(f"{without_password(self.settings.url)}: {words}")

    # ------------------------------------------------------------ single pictures

    def singles(self, closing: threading.Event, clock: DeviceClock, look_s: float) -> Iterator[Shot | None]:
        """One picture every `look_s`. One that the camera has shown before is no sign of life."""
        before, changed, due = "", time.monotonic(), 0.0
        while not closing.is_set():
            if (wait := due - time.monotonic()) > 0:
                closing.wait(min(wait, 1.0))
                yield None
                continue
            due = max(due + look_s, time.monotonic() + look_s / 2)
            shot, mark = self._single(clock)
            if mark != before:
                before, changed = mark, time.monotonic()
                yield shot
            elif (still := time.monotonic() - changed) > max(self.settings.stall_s, 3 * look_s):
                raise self._wrong(f"shows the same old picture for {still:.0f} s")

    def _single(self, clock: DeviceClock) -> tuple[Shot, str]:
        """A picture, and what tells it from the one before: its time and its bytes; empty where it has no time."""
        with contextlib.closing(self.get()) as response:
            try:
                data = _whole_body(response)
                now, state = clock.now()
                image = decode(data)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self._wrong(str(error) or type(error).__name__) from None
            age = age_of(response.headers)
            modified = response.headers.get("Last-Modified", "")
        mark = f"{modified} {hashlib.sha256(data).hexdigest()}" if modified else f"{time.monotonic()}"
        return Shot(now - round(age * SECOND), state, image), mark

    # ------------------------------------------------------------ MJPEG

    def stream(
        self, response: Any, closing: threading.Event, clock: DeviceClock, look_s: float
    ) -> Iterator[Shot | None]:
        """Parts of one answer, one every `look_s` decoded. A few bad ones are passed over."""
        lag, due, bad = Lag(), 0, 0
        boundary = response.headers.get_param("boundary") or ""
        with contextlib.closing(response):
            for headers, data in self._parts(response, boundary):
                if closing.is_set():
                    return
                now, state = clock.now()
                at = now - lag.of(now, running_of(headers))
                if at < due <= at + round(look_s * SECOND):
                    yield None
                    continue
                try:
                    shot = Shot(at, state, decode(data))
                except ValueError as error:
                    bad += 1
                    if bad >= BAD_IN_A_ROW:
                        raise self._wrong(f"{bad} bad pictures in a row: {error}") from None
                    continue
                due, bad = at + round(look_s * SECOND), 0
                yield shot

    def _parts(self, response: Any, boundary: str) -> Iterator[tuple[Message, bytes]]:
        try:
            yield from parts(response.read1, boundary)
        except SourceError as error:
            raise self._wrong(str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._wrong(f"the stream broke off: {error or type(error).__name__}") from None


def _whole_body(response: Any) -> bytes:
    """ValueError for one that is too long; one that is too short raises http.client.IncompleteRead."""
    data = bytearray()
    while chunk := response.read1(CHUNK):
        data += chunk
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes: no picture")
    if response.length:
        raise ValueError(f"a picture cut short: {response.length:,} bytes are missing")
    return bytes(data)


def age_of(headers: Message) -> float:
    """Seconds since a picture was taken, by the camera's own clock: Date less Last-Modified; 0 when not told."""
    try:
        date, modified = (parsedate_to_datetime(headers[name] or "") for name in ("Date", "Last-Modified"))
        age = (date - modified).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return age if 1.0 < age <= OLDEST_S else 0.0  # both are in whole seconds


def running_of(headers: Message) -> int:
    """Microseconds of the camera's running time at a part; 0 when it does not tell."""
    try:
        seconds = float(headers.get("X-Timestamp", ""))
    except ValueError:
        return 0
    return round(seconds * SECOND) if 0 < seconds < 1e11 else 0
