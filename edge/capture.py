"""Live pictures by OpenCV: RTSP and other streams by FFmpeg, devices of the machine by V4L2.

A picture is stamped when it was taken: its arrival, less what it waited in buffers by the stream's own time (Lag).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from edge.clock import DeviceClock
from edge.errors import SourceError
from edge.pace import Lag
from edge.picture import Image
from edge.settings import Camera, is_address
from edge.shot import Shot, without_password
from pipeline.message import SECOND

FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
OPEN_TIMEOUT_MS = 15_000
"""FFmpeg looks at a stream for some seconds before it counts as open; the watchdog gives it twice this."""
CATCH_UP_S = 3.0
WAITED_S = 0.01
"""A grab that took longer had to wait for its picture: nothing is buffered any more."""
NO_HARDWARE = "no hardware decoder here: decoding in software"


def captured(
    settings: Camera,
    closing: threading.Event,
    clock: DeviceClock,
    *,
    look_s: float,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Shot | None]:
    """Pictures of one opening, one every `look_s`, and None for each between: a sign of life.

    `note` is told what a person should know though all is well. SourceError when it cannot be opened or a read
    fails.
    """
    capture = open_live(settings)
    note(_hardware_note(capture, settings))
    lag, due = Lag(), 0
    try:
        yield from _caught_up(capture, closing)
        while not closing.is_set():
            if not capture.grab():
                raise SourceError(f"{without_password(settings.url)}: the stream broke off")
            now, state = clock.now()
            at = now - lag.of(now, round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1000))
            if at < due <= at + round(look_s * SECOND):
                yield None
                continue
            due = at + round(look_s * SECOND)
            yield Shot(at, state, retrieve(capture, settings.url))
    finally:
        capture.release()


def _caught_up(capture: cv2.VideoCapture, closing: threading.Event) -> Iterator[None]:
    """Pass over what was buffered while the stream opened: it is old, and nothing says how old."""
    end = time.monotonic() + CATCH_UP_S
    while not closing.is_set() and (before := time.monotonic()) < end:
        if not capture.grab() or time.monotonic() - before > WAITED_S:
            return
        yield None


def open_live(settings: Camera) -> cv2.VideoCapture:
    """SourceError when it cannot be opened."""
    capture = cv2.VideoCapture()
    if is_address(settings.url):
        os.environ.setdefault(FFMPEG_OPTIONS, f"rtsp_transport;{settings.transport}")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.stall_s * 1000)]
        limits += [cv2.CAP_PROP_HW_ACCELERATION, _acceleration(settings)]
        opened = capture.open(settings.url, cv2.CAP_FFMPEG, limits)
    else:
        opened = capture.open(settings.url, cv2.CAP_V4L2)
    if not opened:
        raise SourceError(f"{without_password(settings.url)}: cannot be opened")
    return capture


def _acceleration(settings: Camera) -> int:
    """OpenCV's word; with ANY it falls back to software by itself."""
    return cv2.VIDEO_ACCELERATION_ANY if settings.hardware else cv2.VIDEO_ACCELERATION_NONE


def _hardware_note(capture: cv2.VideoCapture, settings: Camera) -> str:
    used = int(capture.get(cv2.CAP_PROP_HW_ACCELERATION))
    return NO_HARDWARE if settings.hardware and used in (-1, cv2.VIDEO_ACCELERATION_NONE) else ""


def retrieve(capture: cv2.VideoCapture, url: str) -> Image:
    """Decode the picture just grabbed. SourceError when it cannot be."""
    try:
        done, image = capture.retrieve()
    except cv2.error as error:
        raise SourceError(f"{without_password(url)}: {error}") from None
    if not done or image is None or image.ndim != 3 or not image.size:
        raise SourceError(f"{without_password(url)}: a picture that cannot be decoded")
    return np.asarray(image, np.uint8)
