"""The camera agent on a real RTSP server that stalls, is killed, and comes back with another resolution."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera import CameraSource
from edge.outlet import Outlet
from edge.settings import Camera
from edge.spool import Spool
from pipeline import wire
from pipeline.message import Frame
from tests.live import install
from tests.live.process import Server, accepts, free_port, wait_until


class RtspCamera(Server):
    """GStreamer's RTSP server with one camera; `size` may change between starts."""

    def __init__(self) -> None:
        super().__init__()
        self.port, self.size = free_port(), (320, 240)

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/cam"

    def prepare(self) -> None:
        self.python = install.rtsp_python()

    def command(self) -> Sequence[str | Path]:
        script = Path(__file__).with_name("rtsp_server.py")
        return [self.python, script, str(self.port), *map(str, self.size)]

    def ready(self) -> bool:
        return accepts(self.port)


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    try:
        with RtspCamera() as camera:
            yield camera
    except install.Missing as missing:
        if install.wanted():
            raise
        pytest.skip(str(missing))


@pytest.fixture
def agent(rtsp: RtspCamera, tmp_path: Path) -> Iterator[tuple[CameraSource, Callable[[], list[Frame]]]]:
    spool, stop = Spool(tmp_path / "spool.db"), threading.Event()
    source = CameraSource(Camera(url=rtsp.url, interval_s=0.3, stall_s=2.0))
    thread = threading.Thread(target=source.run, args=(Outlet(spool, lambda: None), stop), daemon=True)
    thread.start()
    yield source, lambda: [wire.decode(m.body, Frame) for m in spool.pending(0, 10_000)]
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def size_of(frame: Frame) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.shape[1], image.shape[0]


def test_pictures_come_and_come_again_after_a_stall_and_a_kill(
    rtsp: RtspCamera, agent: tuple[CameraSource, Callable[[], list[Frame]]]
) -> None:
    source, frames = agent
    wait_until(lambda: len(frames()) >= 5, 30, "pictures over RTSP")
    assert size_of(frames()[-1]) == (320, 240)
    ats = [frame.at for frame in frames()]
    assert min(np.diff(ats)) >= 300_000

    rtsp.signal(signal.SIGSTOP)
    wait_until(lambda: bool(source.trouble), 10, "the stall being noticed, by the watchdog or by FFmpeg")
    rtsp.signal(signal.SIGCONT)
    before = len(frames())
    wait_until(lambda: len(frames()) >= before + 3 and not source.trouble, 60, "pictures after the stall")

    rtsp.kill()
    wait_until(lambda: bool(source.trouble), 10, "the end of the stream being noticed")
    assert "secret" not in source.trouble
    rtsp.size = (640, 480)
    rtsp.start()
    before = len(frames())
    wait_until(lambda: len(frames()) >= before + 3 and not source.trouble, 60, "pictures after the restart")
    assert size_of(frames()[-1]) == (640, 480)
