"""What leaves the camera's agent: nothing that nobody may see, no more bytes than allowed, no oftener than due."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.blank import Blank
from edge.camera import CameraSource
from edge.errors import SetupError
from edge.outlet import Outlet
from edge.pace import BUSY_FOR, Lag, Pace
from edge.picture import Image, decode, encode, is_whole
from edge.settings import Camera
from edge.spool import Spool
from pipeline import wire
from pipeline.message import SECOND, Frame

GARDEN = [(0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0)]
CHANCE = np.random.default_rng(1)


def noise(height: int = 240, width: int = 320) -> Image:
    return CHANCE.integers(0, 255, (height, width, 3), np.uint8)


# ---------------------------------------------------------------- what nobody may see


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1920, 1080)])
def test_the_picture_that_leaves_shows_nothing_of_the_polygon(tmp_path: Path, size: tuple[int, int]) -> None:
    """White all over, made smaller, as JPEG: inside the polygon everything is black but for JPEG's own ripples."""
    path, (width, height) = tmp_path / "clip.avi", size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    for _ in range(3):
        writer.write(np.full((height, width, 3), 255, np.uint8))
    writer.release()
    spool = Spool(tmp_path / "spool.db")
    settings = Camera(url=str(path), interval_s=0, speed=0, max_side=320, blank=[GARDEN])
    CameraSource(settings).run(Outlet(spool, lambda: None), threading.Event())
    sent = [wire.decode(m.body, Frame) for m in spool.pending(0, 10)]
    assert len(sent) == 3
    for frame in sent:
        image = decode(frame.image)
        high, wide = image.shape[:2]
        assert image[high // 2 :, wide // 4 : 3 * wide // 4].max() < 40
        assert image[: high // 2 - 12].min() > 215
        assert image[:, : wide // 4 - 12].min() > 215


def test_a_polygon_follows_the_pictures_size_and_takes_in_the_pixels_it_touches() -> None:
    blank = Blank([GARDEN])
    for height, width in ((48, 64), (480, 640), (48, 64)):
        image = blank(np.full((height, width, 3), 200, np.uint8))
        assert image[height // 2 :, width // 4 : 3 * width // 4].max() == 0
        assert image[0].min() == 200
    thin = Blank([[(0.5, 0.0), (0.5, 1.0), (0.5001, 0.5)]])(np.full((100, 100, 3), 200, np.uint8))
    assert thin[:, 49:51].max() == 0, "a fence post's width is not nothing"


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        ([(0.0, 0.0), (1.0, 1.0)], "2 corners: give three"),
        ([(0.0, 0.0), (640.0, 0.0), (640.0, 480.0)], "not pixels"),
    ],
)
def test_a_polygon_that_cannot_be_meant_is_refused(polygon: list[tuple[float, float]], words: str) -> None:
    with pytest.raises(SetupError, match=f"polygon 1: .*{words}"):
        CameraSource(Camera(url="rtsp://h/x", blank=[polygon]))


# ---------------------------------------------------------------- how large


@pytest.mark.parametrize("most", [200_000, 60_000, 15_000, 3_000])
def test_no_picture_is_larger_than_allowed(most: int) -> None:
    image = noise(480, 640)
    data = encode(image, 95, max_bytes=most)
    assert len(data) <= most and is_whole(data)
    if most == 200_000:
        assert decode(data).shape == image.shape, "less quality comes before fewer pixels"


def test_a_picture_within_the_limit_is_what_it_would_be_without() -> None:
    image = noise()
    assert encode(image, 85, max_bytes=1_500_000) == encode(image, 85)


def test_only_whole_pictures_are_decoded() -> None:
    data = encode(noise(), 90)
    assert decode(data + b"\0\0\r\n").shape == (240, 320, 3)
    png = cv2.imencode(".png", noise(20, 20))[1].tobytes()
    assert decode(png).shape == (20, 20, 3)
    for bad in (data[:-3], data[: len(data) // 2], b"", b"GIF89a", png[:-20], b"\xff\xd8\xff\xd9"):
        with pytest.raises(ValueError, match=r"cut short|cannot be decoded"):
            decode(bad)


# ---------------------------------------------------------------- how often

FLAT = np.full((90, 160, 3), 100, np.uint8)


def sent(pace: Pace, pictures: list[tuple[float, Image]], full: float = 0.0) -> list[float]:
    return [second for second, image in pictures if pace.wants(round(second * SECOND), image, full)]


def every(step: float, end: float, image: Image = FLAT) -> list[tuple[float, Image]]:
    return [(float(second), image) for second in np.arange(0, end, step)]


def test_pictures_go_out_at_the_interval() -> None:
    assert sent(Pace(Camera(url="x", interval_s=2)), every(0.5, 8)) == [0, 2, 4, 6]
    assert len(sent(Pace(Camera(url="x", interval_s=0)), every(0.5, 8))) == 16


def test_while_the_scene_changes_they_come_faster_and_then_slower_again() -> None:
    pace = Pace(Camera(url="x", interval_s=5, busy_interval_s=1))
    assert pace.look_s == 1
    quiet = every(1, 10)
    smoke = FLAT.copy()
    smoke[30:60, 40:90] = 160
    times = sent(pace, [*quiet, (10.0, smoke), *((10.0 + i, smoke) for i in range(1, 30))])
    busy = BUSY_FOR / SECOND
    assert times[:2] == [0, 5]
    assert [t for t in times if 10 <= t < 10 + busy] == [10 + i for i in range(int(busy))]
    assert np.diff([t for t in times if t > 10 + busy]).min() == 5


def test_a_cloud_and_noise_are_no_change_of_the_scene() -> None:
    pace = Pace(Camera(url="x", interval_s=5, busy_interval_s=1))
    pictures = [
        (float(i), np.clip(FLAT + CHANCE.normal(30 * (i % 2), 6, FLAT.shape), 0, 255).astype(np.uint8))
        for i in range(20)
    ]
    assert sent(pace, pictures) == [0, 5, 10, 15]


@pytest.mark.parametrize(("full", "step"), [(0.1, 1), (0.3, 2), (0.6, 4), (0.9, 8)])
def test_a_spool_that_fills_up_gets_fewer(full: float, step: int) -> None:
    times = sent(Pace(Camera(url="x", interval_s=1)), every(1, 20), full)
    assert set(np.diff(times)) == {step}
    assert len(sent(Pace(Camera(url="x", interval_s=1, thin_when_full=False)), every(1, 20), full)) == 20


# ---------------------------------------------------------------- when it was taken


def test_waiting_in_a_buffer_is_told_from_the_cameras_running_time() -> None:
    lag = Lag()
    assert [lag.of(100 * SECOND + i * 40_000, 1 + i * 40_000) for i in range(5)] == [0] * 5
    assert lag.of(102 * SECOND, 200_001) == pytest.approx(1.8 * SECOND, abs=1000)
    assert lag.of(102 * SECOND, 2_000_001) == pytest.approx(0, abs=1000)


def test_a_stream_that_begins_anew_and_one_without_times_say_nothing() -> None:
    lag = Lag()
    assert lag.of(100 * SECOND, 50 * SECOND) == 0
    assert lag.of(101 * SECOND, 1) == 0
    assert lag.of(102 * SECOND, 0) == 0
    assert lag.of(5000 * SECOND, 2 * SECOND) == 0, "our own clock was set"


def test_a_slow_drift_of_the_cameras_clock_is_no_waiting() -> None:
    lag = Lag()
    told = [lag.of(round(second * SECOND * (1 + 1e-4)) + SECOND, second * SECOND) for second in range(1, 20_000, 5)]
    assert max(told) < 0.01 * SECOND
