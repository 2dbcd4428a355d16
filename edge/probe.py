"""A look at a source before anything is installed: does it open, how fast, what does it show?"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np

from edge.capture import FFMPEG_OPTIONS, OPEN_TIMEOUT_MS
from edge.errors import SourceError
from edge.gps import live_reader
from edge.picture import Image
from edge.settings import Gps, is_address, is_live
from edge.shot import without_password
from pipeline.message import Fix

LOOK_S = 3.0
DARK, FLAT = 16.0, 4.0
"""Grey levels of 255: a mean under the first is a black picture, a deviation under the second shows nothing."""
CATCH_UP_S = 3.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a camera showed. `fps` is measured, `declared_fps` the stream's own word (0: none); sizes in pixels."""

    codec: str
    width: int
    height: int
    fps: float
    declared_fps: float
    first_s: float
    frames: int
    mean: float
    spread: float
    image: Image

    @property
    def trouble(self) -> str:
        """What is wrong with the picture; empty if something can be seen."""
        if self.mean < DARK:
            return "the picture is black: take the cap off, or wait for light"
        return "the picture is one single shade: check lens and exposure" if self.spread < FLAT else ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a receiver said: how many sentences or reports, and the last fix."""

    lines: int
    fix: Fix | None


def look(url: str, *, seconds: float = LOOK_S, transport: str = "tcp", patience_s: float = 40.0) -> Seen:
    """Watch `url` for `seconds` after its first picture. SourceError when it shows none within `patience_s`."""
    return _in_time(lambda closing: _look(url, seconds, transport, closing), patience_s + seconds, url)


def listen(settings: Gps, *, seconds: float = 10.0) -> Heard:
    """Listen to a live receiver until it has a fix, `seconds` at the most. SourceError when it cannot be opened."""
    return _in_time(lambda closing: _listen(settings, seconds, closing), seconds + 15, settings.url)


def _in_time(work: Callable[[threading.Event], T], patience_s: float, url: str) -> T:
    """Opening may hang for good and cannot be interrupted: it has a thread of its own, left behind then."""
    closing, done = threading.Event(), list[T | SourceError]()
    thread = threading.Thread(target=lambda: done.append(_caught(work, closing)), daemon=True)
    thread.start()
    thread.join(patience_s)
    closing.set()
    result = done[0] if done else SourceError(f"{without_password(url)}: no answer in {patience_s:.0f} s")
    if isinstance(result, SourceError):
        raise result
    return result


def _caught(work: Callable[[threading.Event], T], closing: threading.Event) -> T | SourceError:
    try:
        return work(closing)
    except SourceError as error:
        return error
    except (OSError, ValueError, cv2.error) as error:
        return SourceError(" ".join(str(error).split()))


def _look(url: str, seconds: float, transport: str, closing: threading.Event) -> Seen:
    start = time.monotonic()
    capture = _open(url, transport)
    try:
        image = _read(capture, url)
        first = time.monotonic()
        if is_live(url):
            _catch_up(capture, closing)
        begun, frames = time.monotonic(), 0
        while not closing.is_set() and time.monotonic() - begun < seconds and capture.grab():
            frames += 1
        fps = frames / (time.monotonic() - begun)
        return _seen(capture, _retrieved(capture, image), frames + 1, fps, first - start)
    finally:
        capture.release()


def _catch_up(capture: cv2.VideoCapture, closing: threading.Event) -> None:
    """What was buffered while the stream opened comes all at once and would count as speed."""
    declared, end = capture.get(cv2.CAP_PROP_FPS), time.monotonic() + CATCH_UP_S
    waited = 0.6 / declared if 1 <= declared <= 60 else 0.02
    while not closing.is_set() and (before := time.monotonic()) < end:
        if not capture.grab() or time.monotonic() - before > waited:
            return


def _seen(capture: cv2.VideoCapture, image: Image, frames: int, fps: float, first_s: float) -> Seen:
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    declared = capture.get(cv2.CAP_PROP_FPS)
    return Seen(
        codec=fourcc(int(capture.get(cv2.CAP_PROP_FOURCC))),
        width=image.shape[1],
        height=image.shape[0],
        fps=fps,
        declared_fps=declared if 0 < declared < 1000 else 0.0,
        first_s=first_s,
        frames=frames,
        mean=float(grey.mean()),
        spread=float(grey.std()),
        image=image,
    )


def _open(url: str, transport: str) -> cv2.VideoCapture:
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
    capture = cv2.VideoCapture()
    if is_address(url):
        os.environ.setdefault(FFMPEG_OPTIONS, f"rtsp_transport;{transport}")
        opened = capture.open(url, cv2.CAP_FFMPEG, limits)
    else:
        opened = capture.open(url, cv2.CAP_V4L2 if is_live(url) else cv2.CAP_FFMPEG)
    if not opened:
        raise SourceError(f"{without_password(url)}: cannot be opened: check address, password and cable")
    return capture


def _read(capture: cv2.VideoCapture, url: str) -> Image:
    done, image = capture.read()
    if not done or image is None or not image.size:
        raise SourceError(f"{without_password(url)}: opens, but shows no picture")
    return np.asarray(image, np.uint8)


def _retrieved(capture: cv2.VideoCapture, before: Image) -> Image:
    done, image = capture.retrieve()
    return np.asarray(image, np.uint8) if done and image is not None and image.size else before


def fourcc(code: int) -> str:
    """Four letters of a codec, like h264; empty for none."""
    letters = code.to_bytes(4, "little", signed=code < 0).decode("latin-1")
    return "".join(c for c in letters if c.isalnum()).lower()


def _listen(settings: Gps, seconds: float, closing: threading.Event) -> Heard:
    reader: Any = live_reader(settings.url)
    lines, fix, end = 0, None, time.monotonic() + seconds
    timer = threading.Timer(seconds, closing.set)
    timer.daemon = True
    timer.start()
    for item in reader(settings, settings.unit or "probe", closing):
        lines, fix = lines + 1, item or fix
        if fix is not None or time.monotonic() > end:
            break
    timer.cancel()
    return Heard(lines, fix)
