"""When a camera's pictures are taken, and which of them are sent. Pure: times are given."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.picture import Image
from edge.settings import Camera
from pipeline.message import SECOND

DRIFT = 200e-6
"""A camera's own clock may run this much faster than ours: cheap quartz is within 100 ppm."""
LEAP = 10 * SECOND
THUMB = (64, 36)
CHANGED = 12.0
"""Grey levels of 255 by which a cell of the small picture differs, beyond what all of it does; noise is below."""
BUSY_FOR = 10 * SECOND
FULLER = (0.25, 0.5, 0.75)
"""Shares of the spool; from each on pictures come half as often as before."""


@dataclass(slots=True)
class Lag:
    """How far behind its taking a picture is when it is read, by the camera's own running time.

    `arrival - running` is least when nothing is buffered; what it is above that was spent waiting. The least one
    may rise slowly, as the two clocks drift.
    """

    _least: int | None = None
    _before: int = 0

    def of(self, arrival: int, running: int) -> int:
        """Microseconds of waiting; both times in microseconds, `running` of any origin (0: not known)."""
        if running <= 0:
            return 0
        apart, passed = arrival - running, arrival - self._before
        self._before = arrival
        if self._least is None or abs(apart - self._least) > LEAP:
            self._least = apart  # a new stream, or one of the clocks was set
        else:
            self._least = min(self._least + round(max(passed, 0) * DRIFT), apart)
        return apart - self._least


class Pace:
    """Every `interval_s`; every `busy_interval_s` while the scene changes; less often as the spool fills up."""

    def __init__(self, settings: Camera) -> None:
        self._settings = settings
        self._sent: int | None = None
        self._busy_until = 0
        self._thumb: NDArray[np.float32] | None = None

    @property
    def look_s(self) -> float:
        """Seconds between two pictures to look at."""
        busy, interval = self._settings.busy_interval_s, self._settings.interval_s
        return min(busy, interval) if busy else interval

    def wants(self, at: int, image: Image, full: float = 0.0) -> bool:
        """Whether this picture is to be sent; `full` is the share of the spool that is taken."""
        if self._settings.busy_interval_s and self._changes(image):
            self._busy_until = at + BUSY_FOR
        if self._sent is not None and self._sent <= at < self._sent + self._interval(at, full):
            return False
        self._sent = at
        return True

    def _interval(self, at: int, full: float) -> int:
        """Microseconds. A spool that fills up has no room for more than usual."""
        slower = sum(full >= share for share in FULLER) if self._settings.thin_when_full else 0
        busy = at < self._busy_until and not slower
        interval_s = self._settings.busy_interval_s if busy else self._settings.interval_s * 2**slower
        # Pictures come in steps of the camera's own: one a little early is nearer than the next.
        return round(interval_s * SECOND * (0.9 if busy else 1.0))

    def _changes(self, image: Image) -> bool:
        """Whether enough cells of the picture differ from the last one looked at, light and shade set aside."""
        thumb = _thumb_of(image)
        before, self._thumb = self._thumb, thumb
        if before is None:
            return False
        change = thumb - before
        cells = np.abs(change - np.median(change)) > CHANGED
        return bool(cells.mean() >= self._settings.busy_share)


def _thumb_of(image: Image) -> NDArray[np.float32]:
    small = cv2.resize(image, THUMB, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)
