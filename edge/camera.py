"""A camera by OpenCV: an RTSP or HTTP stream, a V4L2 device, or a video file.

A live picture is stamped when it arrives, never before a read that may block. A file's pictures carry `start` plus
their number over the file's frames a second, whatever the pace at which they are sent.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.clock import DeviceClock
from edge.errors import SetupError, SourceError
from edge.outlet import Outlet
from edge.picture import Image, encode
from edge.settings import Camera, is_address, is_live
from edge.watch import Watched
from pipeline import wire
from pipeline.message import SECOND, Clock, Frame

log = logging.getLogger(__name__)
FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
OPEN_TIMEOUT_MS = 15_000
"""FFmpeg looks at a stream for some seconds before it counts as open; the watchdog gives it twice this."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture with its stamp."""

    at: int
    clock: Clock
    image: Image


class CameraSource:
    """Sends a picture every `interval_s`. SetupError for a file that is not there or is no video."""

    def __init__(self, settings: Camera) -> None:
        self._settings = settings
        self._watched: Watched[Shot | None] | None = None
        if not is_live(settings.url):
            VideoFile(settings).check()

    @property
    def trouble(self) -> str:
        return without_password(self._watched.trouble) if self._watched else ""

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until `stop`, or the end of a file."""
        if is_live(self._settings.url):
            self._watch(outlet, stop)
        else:
            VideoFile(self._settings).run(outlet, stop)

    def _watch(self, outlet: Outlet, stop: threading.Event) -> None:
        settings = self._settings
        self._watched = Watched(
            lambda closing: shots(settings, closing), stall_s=settings.stall_s, open_s=2 * OPEN_TIMEOUT_MS / 1000
        )
        for shot in self._watched.items(stop):
            if shot is not None:
                outlet.send("frame", [frame_of(shot, settings)])


def frame_of(shot: Shot, settings: Camera) -> Frame:
    """The message body: smaller if need be, and as JPEG."""
    return Frame(shot.at, encode(shot.image, settings.jpeg_quality, settings.max_side), shot.clock)


def shots(settings: Camera, closing: threading.Event, clock: DeviceClock | None = None) -> Iterator[Shot | None]:
    """Pictures of one opening of a live camera when they are due, None for each that is not: a sign of life.

    SourceError when it cannot be opened or a read fails.
    """
    clock = clock or DeviceClock()
    capture = _open_live(settings)
    due = 0
    try:
        while not closing.is_set():
            if not capture.grab():
                raise SourceError(f"{without_password(settings.url)}: the stream broke off")
            at, state = clock.now()
            if at < due <= at + round(settings.interval_s * SECOND):
                yield None
                continue
            due = at + round(settings.interval_s * SECOND)
            yield Shot(at, state, _retrieve(capture, settings))
    finally:
        capture.release()


def _open_live(settings: Camera) -> cv2.VideoCapture:
    capture = cv2.VideoCapture()
    if is_address(settings.url):
        os.environ.setdefault(FFMPEG_OPTIONS, f"rtsp_transport;{settings.transport}")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.stall_s * 1000)]
        opened = capture.open(settings.url, cv2.CAP_FFMPEG, limits)
    else:
        opened = capture.open(settings.url, cv2.CAP_V4L2)
    if not opened:
        raise SourceError(f"{without_password(settings.url)}: cannot be opened")
    return capture


def _retrieve(capture: cv2.VideoCapture, settings: Camera) -> Image:
    """Decode the picture just grabbed."""
    try:
        done, image = capture.retrieve()
    except cv2.error as error:
        raise SourceError(f"{without_password(settings.url)}: {error}") from None
    if not done or image is None or image.ndim != 3 or not image.size:
        raise SourceError(f"{without_password(settings.url)}: a picture that cannot be decoded")
    return np.asarray(image, np.uint8)


def without_password(url: str) -> str:
    """The url for logs and the console."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


class VideoFile:
    """A recording played at `speed`. A restart goes on after the last picture kept."""

    def __init__(self, settings: Camera) -> None:
        self._settings = settings
        path = Path(settings.url)
        if not path.is_file():
            raise SetupError(f"{path}: there is no such video file")
        parts = (settings.url, path.stat().st_size, settings.run)
        self._name = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def check(self) -> None:
        """SetupError if it cannot be played."""
        self._start()
        self._facts()

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until the end (never, with `loop`) or `stop`."""
        start, first = self._position(outlet.cursor)
        fps = self._facts()[0]
        started = time.monotonic()
        for number, image in self._pictures(first, fps, stop):
            wait = (number - first) / fps / self._settings.speed if self._settings.speed else 0.0
            if stop.wait(max(started + wait - time.monotonic(), 0)) or not outlet.wait_for_room(stop):
                return
            at = start + round(number / fps * SECOND)
            frame = frame_of(Shot(at, Clock.UNKNOWN, image), self._settings)
            cursor = f"{self._name} {start} {number + 1}"
            while not outlet.send("frame", [frame], cursor=cursor) and not stop.wait(1.0):
                pass  # a recording can wait until the disk takes it
        log.info("%s: all pictures are spooled", self._settings.url)

    def _position(self, cursor: str) -> tuple[int, int]:
        """(event time of picture 0, number of the next picture)."""
        parts = cursor.split(" ")
        if len(parts) == 3 and parts[0] == self._name:
            return int(parts[1]), int(parts[2])
        start = self._start()
        return time.time_ns() // 1000 - round(self._lead_s() * SECOND) if start is None else start, 0

    def _start(self) -> int | None:
        """The event time of picture 0 as the settings say it."""
        try:
            return wire.parse_rfc3339(self._settings.start) if self._settings.start else None
        except ValueError as error:
            raise SetupError(f"[source]: start: {error}") from None

    def _lead_s(self) -> float:
        """How far a file played fast would run ahead of the clock: it begins so much earlier, and ends now."""
        fps, frames = self._facts()
        speed = self._settings.speed
        return 0.0 if 0 < speed <= 1 else frames / fps * (1 - 1 / speed if speed else 1)

    def _facts(self) -> tuple[float, int]:
        """(frames a second, frames). SetupError for a file that is no video."""
        capture = self._open()
        fps, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        if not (math.isfinite(fps) and fps > 0):
            raise SetupError(f"{self._settings.url}: does not say how many frames a second it has")
        return fps, max(int(frames), 0)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._settings.url, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SetupError(f"{self._settings.url}: is no video that OpenCV can read")
        return capture

    def _pictures(self, first: int, fps: float, stop: threading.Event) -> Iterator[tuple[int, Image]]:
        """(number, picture) of those due from number `first` on; with `loop` numbers go on over the end."""
        number, capture = 0, self._open()
        step = self._settings.interval_s * fps
        due = 0.0
        while not stop.is_set():
            if not capture.grab():
                capture.release()
                if not self._settings.loop or not number:
                    return
                capture = self._open()
                continue
            if number + 1e-6 >= due:
                due = max(due + step, number + 1e-6)
                if number >= first:
                    yield number, _retrieve(capture, self._settings)
            number += 1
