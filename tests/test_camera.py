"""Cameras: files with their event times, streams that stall, break off and come back."""

import http.server
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import capture
from edge.camera import CameraSource, shots
from edge.errors import HungTooOften, SetupError, SourceError
from edge.outlet import Outlet
from edge.picture import encode
from edge.settings import Camera
from edge.shot import without_password
from edge.spool import Spool
from edge.watch import BackOff, Watched
from pipeline import wire
from pipeline.message import SECOND, Frame

FPS, FRAMES = 10, 30
START = "2026-01-31T12:00:00Z"


def picture(number: int) -> np.ndarray:
    """A grey level that tells the number of the picture."""
    return np.full((120, 160, 3), 8 * number, np.uint8)


def number_of(frame: Frame) -> int:
    image = cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return round(float(image.mean()) / 8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (160, 120))
    for number in range(FRAMES):
        writer.write(picture(number))
    writer.release()
    return path


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db")


def play(spool: Spool, settings: Camera, stop: threading.Event | None = None) -> list[Frame]:
    CameraSource(settings).run(Outlet(spool, lambda: None), stop or threading.Event())
    return frames(spool)


def frames(spool: Spool) -> list[Frame]:
    return [wire.decode(m.body, Frame) for m in spool.pending(0, 10_000) if m.kind == "frame"]


def test_a_file_gives_a_picture_every_interval_with_its_own_event_time(video: Path, spool: Spool) -> None:
    sent = play(spool, Camera(url=str(video), interval_s=0.5, start=START, speed=0))
    assert [number_of(f) for f in sent] == [0, 5, 10, 15, 20, 25]
    assert [f.at - wire.parse_rfc3339(START) for f in sent] == [i * SECOND // 2 for i in range(6)]


def test_an_interval_of_nothing_sends_every_picture(video: Path, spool: Spool) -> None:
    sent = play(spool, Camera(url=str(video), interval_s=0, start=START, speed=0))
    assert [number_of(f) for f in sent] == list(range(FRAMES))


def test_it_plays_as_fast_as_it_is_told_and_does_not_run_ahead_of_the_clock(video: Path, spool: Spool) -> None:
    started = time.time()
    sent = play(spool, Camera(url=str(video), interval_s=0.5, speed=5.0))
    assert time.time() - started == pytest.approx(2.5 / 5, abs=0.4)
    assert max(f.at for f in sent) / SECOND <= time.time() + 0.05
    assert sent[-1].at / SECOND == pytest.approx(time.time(), abs=1.0)
    assert sent[-1].at - sent[0].at == 2.5 * SECOND


def test_in_a_loop_event_time_goes_on_and_a_restart_goes_on_where_it_stood(video: Path, spool: Spool) -> None:
    settings = Camera(url=str(video), interval_s=0.5, start=START, speed=20.0, loop=True)
    for _ in range(2):
        stop = threading.Event()
        threading.Timer(0.4, stop.set).start()
        play(spool, settings, stop)
    ats = [f.at - wire.parse_rfc3339(START) for f in frames(spool)]
    assert len(ats) > 12
    assert ats == [i * SECOND // 2 for i in range(len(ats))]
    anew = Camera(url=str(video), interval_s=0.5, start=START, speed=0, run="2")
    assert [number_of(f) for f in play(spool, anew)][len(ats) :] == [0, 5, 10, 15, 20, 25]


def test_pictures_are_made_smaller(video: Path, spool: Spool) -> None:
    sent = play(spool, Camera(url=str(video), interval_s=1, start=START, speed=0, max_side=80))
    image = cv2.imdecode(np.frombuffer(sent[0].image, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (60, 80, 3)


def test_a_file_that_is_not_there_or_no_video_is_an_error_naming_it(tmp_path: Path, spool: Spool) -> None:
    with pytest.raises(SetupError, match=r"none\.mp4: there is no such video file"):
        play(spool, Camera(url=str(tmp_path / "none.mp4")))
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(SetupError, match=r"text\.mp4: is no video that OpenCV can read"):
        play(spool, Camera(url=str(tmp_path / "text.mp4")))
    with pytest.raises(SetupError, match="start: time '2026-01-31' has no offset"):
        (tmp_path / "some.mp4").write_bytes(b"x")
        play(spool, Camera(url=str(tmp_path / "some.mp4"), start="2026-01-31"))


def test_a_password_is_not_told() -> None:
    assert without_password("rtsp://user:secret@10.0.0.1:554/s?x=a:b@c") == "rtsp://user:***@10.0.0.1:554/s?x=a:b@c"
    assert without_password("rtsp://10.0.0.1:554/s") == "rtsp://10.0.0.1:554/s"


# ---------------------------------------------------------------- a live stream, by HTTP


class Mjpeg(socketserver.ThreadingTCPServer):
    """A camera that speaks multipart JPEG over HTTP, stalls after `stall_after` pictures, and ends after `most`."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.most, self.stall_after, self.openings = 1 << 30, 1 << 30, 0
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/stream.mjpg"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mjpeg

    def do_GET(self) -> None:
        self.server.openings += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in range(self.server.most):
                while number >= self.server.stall_after:
                    time.sleep(0.05)
                data = encode(picture(number % 30), 90)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.04)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stream() -> Iterator[Mjpeg]:
    server = Mjpeg()
    yield server
    server.stall_after = 1 << 30
    server.shutdown()
    server.server_close()


def in_background(settings: Camera, spool: Spool) -> tuple[CameraSource, Callable[[], None]]:
    stop, source = threading.Event(), CameraSource(settings)
    thread = threading.Thread(target=source.run, args=(Outlet(spool, lambda: None), stop), daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()

    return source, end


def until(holds: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_stream_gives_a_picture_every_interval_stamped_when_it_came(stream: Mjpeg, spool: Spool) -> None:
    before = time.time()
    source, end = in_background(Camera(url=stream.url, interval_s=0.3), spool)
    until(lambda: len(frames(spool)) >= 4)
    end()
    ats = [f.at / SECOND for f in frames(spool)]
    assert all(before < at < time.time() for at in ats)
    gaps = np.diff(ats)
    assert gaps.min() >= 0.3
    assert np.median(gaps) < 0.6
    assert source.trouble == ""


def test_a_stream_that_breaks_off_is_opened_again(stream: Mjpeg, spool: Spool) -> None:
    stream.most = 40
    source, end = in_background(Camera(url=stream.url, interval_s=0.1), spool)
    until(lambda: "broke off" in source.trouble)
    until(lambda: stream.openings >= 2)
    until(lambda: source.trouble == "")
    end()


def test_a_stream_that_stalls_is_noticed_from_outside_the_read(stream: Mjpeg, spool: Spool) -> None:
    stream.stall_after = 40
    source, end = in_background(Camera(url=stream.url, interval_s=0.1, stall_s=1.0), spool)
    until(lambda: len(frames(spool)) > 0)
    until(lambda: source.trouble != "")
    stream.stall_after = 1 << 30
    until(lambda: source.trouble == "")
    end()


def test_nobody_there_is_trouble_and_no_crash() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
    with pytest.raises(SourceError, match="cannot be opened"):
        next(shots(Camera(url=url), threading.Event()))
    with pytest.raises(SourceError, match="/dev/video987: cannot be opened"):
        next(shots(Camera(url="/dev/video987"), threading.Event()))


def test_rtsp_goes_over_tcp_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(capture.FFMPEG_OPTIONS, raising=False)
    with pytest.raises(SourceError):
        next(shots(Camera(url="rtsp://127.0.0.1:1/x"), threading.Event()))
    assert capture.os.environ[capture.FFMPEG_OPTIONS] == "rtsp_transport;tcp"


# ---------------------------------------------------------------- the watchdog


def test_a_read_that_hangs_for_good_is_abandoned_and_too_many_end_the_process() -> None:
    forever, opened = threading.Event(), 0

    def hang(_closing: threading.Event) -> Iterator[int]:
        nonlocal opened
        opened += 1
        if opened == 1:
            yield 7
        forever.wait()

    watched = Watched(hang, stall_s=0.05, back_off=BackOff(0.001, 0.001))
    items = watched.items(threading.Event())
    assert next(items) == 7
    with pytest.raises(HungTooOften, match="9 reads hang"):
        next(items)
    forever.set()


def cv2_error() -> None:
    cv2.imdecode(np.zeros(0, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("fail", "words"),
    [(cv2_error, r"error: OpenCV\S+ .*Assertion failed"), (lambda: dict[str, int]()["key"], "KeyError: 'key'")],
)
def test_whatever_a_reader_raises_is_the_trouble_and_it_is_opened_again(
    fail: Callable[[], object], words: str
) -> None:
    opened = 0

    def source(_closing: threading.Event) -> Iterator[int]:
        nonlocal opened
        opened += 1
        if opened == 1:
            fail()
        yield opened

    stop, told = threading.Event(), []
    watched = Watched(source, stall_s=60, back_off=BackOff(0.5, 0.5), turn=lambda: told.append(watched.trouble))
    assert next(watched.items(stop)) == 2
    assert re.match(words, told[-1]) and "\n" not in told[-1]


def test_a_password_in_what_a_library_says_does_not_reach_the_status() -> None:
    source = CameraSource(Camera(url="rtsp://user:secret@127.0.0.1:1/x", stall_s=0.2))
    source._watched = Watched(lambda _: iter(()), stall_s=1)
    source._watched.trouble = "error: cannot read rtsp://user:secret@127.0.0.1:1/x"
    assert source.trouble == "error: cannot read rtsp://user:***@127.0.0.1:1/x"


def test_a_slow_receiver_of_items_is_not_taken_for_a_stalled_source() -> None:
    def numbers(_closing: threading.Event) -> Iterator[int]:
        yield from range(4)

    seen = []
    for item in Watched(numbers, stall_s=0.2, once=True).items(threading.Event()):
        time.sleep(0.3)
        seen.append(item)
    assert seen == [0, 1, 2, 3]


def test_waits_double_up_to_the_most_with_jitter_and_begin_again_after_success() -> None:
    back_off = BackOff(1.0, 20.0)
    waits = [back_off.next() for _ in range(8)]
    for wait, whole in zip(waits, (1, 2, 4, 8, 16, 20, 20, 20), strict=True):
        assert whole / 2 <= wait <= whole
    back_off.reset()
    assert back_off.next() <= 1.0
    assert len({BackOff(1.0, 1.0).next() for _ in range(5)}) > 1
