"""The look of a picture: what fog, night, blur, noise, size and coding do to it, and what it costs."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from pipeline.message import Look
from pipeline.rules.eye import structured
from pipeline.vision.look import measure
from tests.scenery import Air, Land, frame

DAY = Air()


@pytest.fixture(scope="module")
def land() -> Land:
    return Land()


def look(land: Land, t: float = 0.0, **air: float) -> Look:
    found = frame(t, land.picture(t, replace(DAY, **air)), quality=int(air.get("quality", 85))).look  # type: ignore[arg-type]
    assert found is not None
    return found


def test_light_and_contrast_are_grey_levels() -> None:
    half = np.zeros((90, 160, 3), np.uint8)
    half[:, 80:] = 255
    found = measure(half)
    assert (found.mean, found.contrast) == (127.5, 127.5)
    assert (found.dark, found.bright) == (0.5, 0.5)
    assert (len(found.thumb), len(found.grain), len(found.detail)) == (64 * 36, 32 * 18, 16 * 9)


def test_the_mark_is_of_the_bytes_or_else_of_the_pixels(land: Land) -> None:
    one, other = land.picture(0), land.picture(1)
    assert measure(one).mark == measure(one).mark != measure(other).mark
    assert measure(one, b"a").mark == measure(other, b"a").mark != measure(one, b"b").mark


def test_blur_takes_the_sharpness_and_leaves_the_structure(land: Land) -> None:
    sharp, soft = look(land), look(land, blur=2.0)
    assert sharp.sharpness is not None and soft.sharpness is not None
    assert soft.sharpness < 0.25 * sharp.sharpness
    assert soft.contrast == pytest.approx(sharp.contrast, rel=0.02)
    assert structured(soft) > 0.9 * structured(sharp)


@pytest.mark.parametrize(
    "air", [{"fog": 0.3}, {"noise": 6.0}, {"light": 0.5}, {"exposure": 0.6}, {"quality": 40}, {"snow": 0.5}]
)
def test_weather_light_noise_and_coding_take_no_sharpness(land: Land, air: dict[str, float]) -> None:
    usual, found = look(land).sharpness, look(land, **air).sharpness
    assert usual is not None and found is not None
    assert found > 0.6 * usual


def test_where_nothing_has_structure_no_sharpness_is_told() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(60, 8, (360, 640, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    assert measure(noise).sharpness is None
    assert structured(measure(noise)) < 24


def test_grain_keeps_the_noise_that_the_thumbnail_averages_away(land: Land) -> None:
    one, two = look(land, 0.0, noise=4.0), look(land, 0.01, noise=4.0)
    grain, thumb = (
        np.abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8)).mean()
        for a, b in ((one.grain, two.grain), (one.thumb, two.thumb))
    )
    assert grain > 2 and thumb < 0.6


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (3000, 8), (1081, 1919), (720, 576)])
def test_any_size_has_a_look(shape: tuple[int, int]) -> None:
    found = measure(np.full((*shape, 3), 200, np.uint8))
    assert (found.mean, found.contrast, found.sharpness) == (200, 0, None)


def test_a_large_picture_is_measured_in_milliseconds() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    spent = []
    for _ in range(10):
        before = time.process_time()
        measure(picture, b"x")
        spent.append(time.process_time() - before)
    assert min(spent) < 0.02, "ten times what it takes on a small machine"
