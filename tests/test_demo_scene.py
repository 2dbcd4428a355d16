"""The rendered watch-tower's view: the same from the same seed, smoke when it is due, and seen by the model."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.demo.scene import FOOT, Scene
from edge.picture import encode, fit
from pipeline.vision.detector import OnnxDetector

SIZE = (640, 360)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(SIZE, seed=1)


def test_a_picture_is_a_function_of_time_and_seed(scene: Scene) -> None:
    picture = scene.render(31.5)
    assert picture.shape == (360, 640, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, Scene(SIZE, seed=1).render(31.5))
    assert not np.array_equal(picture, Scene(SIZE, seed=2).render(31.5))


def test_no_two_pictures_are_alike_so_the_camera_is_not_taken_for_frozen(scene: Scene) -> None:
    one, two = scene.render(3.0).astype(int), scene.render(4.0).astype(int)
    assert 1 < np.abs(one - two).mean() < 8


def changed(scene: Scene, t: float) -> np.ndarray:
    """Where the picture at `t` differs from one without smoke, beyond noise, clouds and shake."""
    calm = Scene(SIZE, seed=1, smoke_after_s=1e9).render(t)
    difference = cv2.GaussianBlur(scene.render(t).astype(np.float32) - calm.astype(np.float32), (0, 0), 3)
    return np.asarray(np.abs(difference).max(axis=2) > 6)


def test_smoke_begins_when_it_is_due_rises_and_grows(scene: Scene) -> None:
    assert not changed(scene, 9.5).any()
    areas = [int(changed(scene, t).sum()) for t in (14, 20, 30, 50)]
    assert areas[0] > 50
    assert areas == sorted(areas) and areas[-1] > 10 * areas[0]
    tops = [int(np.nonzero(changed(scene, t).any(axis=1))[0][0]) for t in (14, 20, 30, 50)]
    assert tops == sorted(tops, reverse=True)


def test_the_fire_glows_at_the_foot_later_on(scene: Scene) -> None:
    x, y = int(FOOT[0] * SIZE[0]), int(FOOT[1] * SIZE[1])
    around = (slice(y - 14, y + 4), slice(x - 25, x + 25))

    def orange(t: float) -> int:
        blue, green, red = (scene.render(t)[around][..., c].astype(int) for c in range(3))
        return int(((red > 180) & (red - green > 40) & (green > blue)).sum())

    assert orange(12) == 0
    assert orange(45) > 20


def test_the_shipped_model_sees_the_fire_and_nothing_before_it(root: Path) -> None:
    folder = root / "models/fire-smoke"
    if not (folder / "model.onnx").exists():
        pytest.skip("models/fire-smoke/model.onnx is not here")
    detector, scene = OnnxDetector.load(folder, threads=1), Scene(seed=1)

    def seen(t: float) -> bool:
        picture = cv2.imdecode(np.frombuffer(encode(scene.render(t), 88), np.uint8), cv2.IMREAD_COLOR)
        (found,) = detector.detect([np.asarray(picture, np.uint8)])
        return any(score >= detector.thresholds[label] for label, score, _ in found)

    assert not any(seen(t) for t in (1.0, 4.0, 7.0, 9.9))
    assert sum(seen(t) for t in range(31, 41)) >= 8


def test_pictures_are_made_smaller_never_larger(scene: Scene) -> None:
    picture = scene.render(1.0)
    assert fit(picture, 320).shape == (180, 320, 3)
    assert fit(picture, 2000).shape == fit(picture, 0).shape == (360, 640, 3)
    assert len(encode(picture, 50)) < len(encode(picture, 90))
