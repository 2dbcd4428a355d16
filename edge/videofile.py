"""A recording as a camera: its pictures carry `start` plus their number over the file's frames a second."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from edge.capture import retrieve
from edge.errors import SetupError
from edge.outlet import Outlet
from edge.picture import Image
from edge.settings import Camera
from edge.shot import Shot
from pipeline import wire
from pipeline.message import SECOND, Clock, Frame

log = logging.getLogger(__name__)


class VideoFile:
    """A recording played at `speed`. A restart goes on after the last picture kept."""

    def __init__(self, settings: Camera, frame_of: Callable[[Shot], Frame]) -> None:
        self._settings = settings
        self._frame_of = frame_of
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
            frame = self._frame_of(Shot(at, Clock.UNKNOWN, image))
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
                    yield number, retrieve(capture, self._settings.url)
            number += 1
