"""How far this device's own clock can be believed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

from pipeline.message import SECOND, Clock

EARLIEST = 1_735_689_600 * SECOND
"""2025-01-01: a live clock before it is a board without one, or a receiver whose week number rolled over."""
STEP = 2 * SECOND
STEP_TOLD_S = 60.0
STA_UNSYNC = 0x0040  # linux/timex.h


class _Timex(ctypes.Structure):
    """The head of struct timex; the rest is only room for the kernel to write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def kernel_state() -> Clock:
    """What the kernel says of its own clock: SYNCED, UNSYNCED, or UNKNOWN where it cannot be asked."""
    libc = ctypes.CDLL(None)
    timex = _Timex()
    if not hasattr(libc, "adjtimex") or libc.adjtimex(ctypes.byref(timex)) < 0:
        return Clock.UNKNOWN
    return Clock.UNSYNCED if timex.status & STA_UNSYNC else Clock.SYNCED


class DeviceClock:
    """Now, in microseconds, and the state of that stamp."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        kernel: Callable[[], Clock] = kernel_state,
    ) -> None:
        self._wall, self._monotonic, self._kernel = wall, monotonic, kernel
        self._offset = wall() - monotonic()
        self._stepped = -STEP_TOLD_S

    def now(self) -> tuple[int, Clock]:
        """(stamp, state). For a minute after a jump of more than two seconds the state is STEPPED."""
        wall, monotonic = self._wall(), self._monotonic()
        offset = wall - monotonic
        if abs(offset - self._offset) * SECOND > STEP:
            self._stepped = monotonic
        self._offset = offset
        at = round(wall * SECOND)
        if at < EARLIEST:
            return at, Clock.IMPLAUSIBLE
        if monotonic - self._stepped < STEP_TOLD_S:
            return at, Clock.STEPPED
        return at, self._kernel()
