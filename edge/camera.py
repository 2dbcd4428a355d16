"""A camera: an RTSP stream, MJPEG or single pictures by HTTP, a V4L2 device, or a video file.

capture, webcam, videofile ──► blank ──► pace ──► encode ──► outlet
what was taken, and when       nobody    which    how small
                               sees
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from edge.blank import Blank
from edge.capture import OPEN_TIMEOUT_MS, captured
from edge.clock import DeviceClock
from edge.outlet import Outlet
from edge.pace import Pace
from edge.picture import encode
from edge.settings import Camera, is_live
from edge.shot import Shot, without_password
from edge.videofile import VideoFile
from edge.watch import BackOff, Watched
from edge.webcam import is_http, web_pictures
from pipeline.message import Frame

RETRY_MOST_S = 5.0
"""A camera is near by, and asking it costs little: it should be back soon after it can be."""


class CameraSource:
    """Sends a picture every `interval_s`. SetupError for wrong `blank`, a file that is not there or is no video."""

    def __init__(self, settings: Camera) -> None:
        self._settings = settings
        self._blank = Blank(settings.blank)
        self._watched: Watched[Shot | None] | None = None
        self._note = ""
        self._file = None if is_live(settings.url) else VideoFile(settings, self._frame_of)
        if self._file:
            self._file.check()

    @property
    def trouble(self) -> str:
        return without_password(self._watched.trouble or self._note) if self._watched else ""

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until `stop`, or the end of a file."""
        if self._file:
            self._file.run(outlet, stop)
        else:
            self._watch(outlet, stop)

    def _watch(self, outlet: Outlet, stop: threading.Event) -> None:
        settings, pace = self._settings, Pace(self._settings)
        self._watched = Watched(
            lambda closing: shots(settings, closing, note=self._take_note),
            stall_s=settings.stall_s,
            open_s=2 * OPEN_TIMEOUT_MS / 1000,
            back_off=BackOff(1.0, RETRY_MOST_S),
        )
        for shot in self._watched.items(stop):
            if shot is not None and pace.wants(shot.at, self._blank(shot.image), outlet.full):
                outlet.send("frame", [self._frame_of(shot)])

    def _take_note(self, words: str) -> None:
        self._note = words

    def _frame_of(self, shot: Shot) -> Frame:
        """The message body: what nobody may see is black, smaller if need be, as JPEG."""
        settings = self._settings
        image = self._blank(shot.image)
        data = encode(image, settings.jpeg_quality, settings.max_side, max_bytes=settings.max_bytes)
        return Frame(shot.at, data, shot.clock)


def shots(
    settings: Camera,
    closing: threading.Event,
    clock: DeviceClock | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Shot | None]:
    """Pictures of one opening of a live camera when one is to be looked at, None as a sign of life between.

    SourceError when it cannot be opened or a read fails.
    """
    clock, look_s = clock or DeviceClock(), Pace(settings).look_s
    pictures = web_pictures(settings, closing, clock, look_s=look_s) if is_http(settings.url) else None
    if pictures is None:
        pictures = captured(settings, closing, clock, look_s=look_s, note=note)
    yield from pictures
