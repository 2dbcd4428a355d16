"""Does what a detection shows move? Rendered lamps, flames and smoke, through JPEG as a camera sends them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.message import SECOND
from pipeline.vision.motion import MOST, RENEW, Patch, look
from pipeline.vision.picture import Picture, decode

SIZE = (320, 240)
CENTRE = (160.0, 120.0)
STILL, LIVELY = 0.1, 0.3
Chance = np.random.Generator
Draw = Callable[[NDArray[np.float64], float, Chance], None]
"""Draws onto a picture what is to be seen so many seconds after the first."""


def land() -> NDArray[np.float64]:
    """Uneven ground by dusk."""
    coarse = np.random.default_rng(3).uniform(20, 90, (12, 16, 3))
    return np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC), np.float64)


def spot(image: NDArray[np.float64], x: float, y: float, radius: float, light: float) -> None:
    across, down = np.arange(SIZE[0]) - x, np.arange(SIZE[1]) - y
    glow = np.exp(-(down**2) / (2 * radius**2))[:, None, None] * np.exp(-(across**2) / (2 * radius**2))[:, None]
    image += glow * np.array([0.3, 0.7, 1.0]) * light


def lamp(image: NDArray[np.float64], _t: float, _chance: Chance) -> None:
    spot(image, *CENTRE, 6, 230)


def dimming(image: NDArray[np.float64], t: float, _chance: Chance) -> None:
    """A cloud or the camera's own exposure takes a fifth of the light from everything."""
    spot(image, *CENTRE, 6, 230)
    image *= 1 - 0.2 * min(1.0, t / 30)


def flame(image: NDArray[np.float64], _t: float, chance: Chance) -> None:
    for _ in range(6):
        dx, dy = chance.normal(0, 6, 2)
        spot(image, CENTRE[0] + dx, CENTRE[1] + dy - 4, chance.uniform(2, 6), chance.uniform(80, 200))


def smoke(image: NDArray[np.float64], t: float, _chance: Chance) -> None:
    """Puffs that rise some pixels a second and widen."""
    for k in range(6):
        age = (t * 7.5 + k * 7.3) % 42
        spot(image, CENTRE[0] + 6 * np.sin(k * 2.1 + t / 2), CENTRE[1] + 20 - age, 3 + age / 8, 60)


def swaying(image: NDArray[np.float64], t: float, chance: Chance) -> None:
    """The mast sways: all of the picture moves by up to two pixels."""
    lamp(image, t, chance)
    dx, dy = chance.integers(-2, 3, 2)
    image[:] = np.roll(image, (int(dy), int(dx)), (0, 1))


def changes(draw: Draw, *, noise: float = 3.0, every: float = 0.5, half: float = 20.0) -> list[float]:
    chance, patches, found = np.random.default_rng(1), list[Patch](), list[float]()
    for i in range(20):
        image = land()
        draw(image, i * every, chance)
        image += chance.normal(0, noise, image.shape)
        picture = decode(cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1].tobytes())
        jitter = chance.normal(0, half / 20, 4)
        box = tuple(float(c + s * half + j) for c, s, j in zip(CENTRE * 2, (-1, -1, 1, 1), jitter, strict=True))
        (change,), patches = look(picture, [("fire", 0.6, box)], patches, at=round(i * every * SECOND))  # type: ignore[list-item]
        assert (change is None) == (i == 0)
        found += [change] if change is not None else []
    return found


@pytest.mark.parametrize("draw", [lamp, dimming, swaying])
@pytest.mark.parametrize("every", [0.1, 1.0, 60.0])
def test_a_lamp_does_not_move_whatever_the_light_the_noise_and_the_mast(draw: Draw, every: float) -> None:
    assert median(changes(draw, every=every)) < STILL


@pytest.mark.parametrize("every", [0.1, 1.0, 60.0])
def test_a_flame_moves(every: float) -> None:
    assert median(changes(flame, every=every)) > LIVELY


@pytest.mark.parametrize("every", [0.2, 1.0, 60.0])
def test_smoke_moves(every: float) -> None:
    assert median(changes(smoke, every=every)) > STILL


def test_a_picture_shown_again_tells_nothing_of_what_moves() -> None:
    box = (60.0, 60.0, 100.0, 100.0)
    picture = np.clip(land(), 0, 255).astype(np.uint8)
    _none, patches = look(picture, [("fire", 0.6, box)], [], at=0)
    again, patches = look(picture, [("fire", 0.6, box)], patches, at=SECOND)
    other = picture.copy()
    other[0, 0] ^= 255
    live, _patches = look(other, [("fire", 0.6, box)], patches, at=2 * SECOND)
    assert again == [None]
    assert live == [pytest.approx(0.0, abs=0.03)], "another picture, in which the box is as it was"


def test_the_picture_may_be_drawn_smaller_than_it_is_stored() -> None:
    """Boxes are those of the stored picture: the flame is found in its corner of the small one."""
    small = np.clip(land(), 0, 255).astype(np.uint8)
    box = [("fire", 0.6, (400.0, 320.0, 480.0, 400.0))]
    _, patches = look(small, box, [], at=0, scale=0.5)
    elsewhere, there = small.copy(), small.copy()
    elsewhere[10:60, 10:60] = 255
    there[170:190, 210:230] = 255
    (none,), _ = look(elsewhere, box, patches, at=SECOND, scale=0.5)
    (much,), _ = look(there, box, patches, at=SECOND, scale=0.5)
    assert none is not None and none < 0.05
    assert much is not None and much > LIVELY


def test_boxes_at_and_beyond_the_edge_are_measured() -> None:
    picture: Picture = np.zeros((48, 64, 3), np.uint8)
    for box in [(-9.0, -9.0, 3.0, 3.0), (60.0, 40.0, 90.0, 90.0), (0.0, 0.0, 64.0, 48.0), (5.0, 5.0, 5.0, 5.0)]:
        _, patches = look(picture, [("fire", 0.5, box)], [], at=0)
        (change,), _ = look(picture, [("fire", 0.5, box)], patches, at=1)
        assert change in (0.0, None)


def test_patches_are_few_and_do_not_outlive_their_time() -> None:
    picture: Picture = np.zeros((48, 640, 3), np.uint8)
    many = [("fire", 0.5, (x * 20.0, 0.0, x * 20.0 + 10, 10.0)) for x in range(30)]
    found, patches = look(picture, many, [], at=0)
    assert (len(found), len(patches)) == (30, MOST)
    assert look(picture, [], patches, at=RENEW - 1)[1] == patches
    assert look(picture, [], patches, at=RENEW)[1] == []
    assert look(picture, [], patches, at=-RENEW)[1] == [], "a stamp from the future must not pin a patch"
