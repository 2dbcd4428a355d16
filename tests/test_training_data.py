"""models/fire-smoke/train: the samples a model learns from must have their boxes where things are."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "models" / "fire-smoke" / "train"


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training scripts import each other by name, as `python train.py` lets them."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def data() -> ModuleType:
    return importlib.import_module("data")


@pytest.fixture
def augment() -> ModuleType:
    return importlib.import_module("augment")


@pytest.fixture
def render() -> ModuleType:
    return importlib.import_module("render")


def test_boxes_follow_a_mirrored_and_scaled_picture(augment: ModuleType) -> None:
    """Width 100, mirrored and doubled: x = 10..30 becomes 140..180; y = 5..15 becomes 10..30, moved down by 7."""
    matrix = np.array([[-2.0, 0, 200], [0, 2.0, 7]])
    boxes = augment.warp_boxes(np.array([[1, 10, 5, 30, 15]], np.float32), matrix)
    assert boxes.tolist() == [[1, 140, 17, 180, 37]]


def test_drawn_samples_have_boxes_on_what_they_name(data: ModuleType, augment: ModuleType) -> None:
    """Pictures with a pure red patch: the fire boxes must hold the red."""
    image = np.full((120, 200, 3), 60, np.uint8)
    image[30:70, 50:110] = (0, 0, 255)
    sample = data.Sample("x_0", image, np.array([[1, 50, 30, 110, 70]], np.float32), ())
    drawer = augment.Augment([sample], 160, np.random.default_rng(3))
    checked = redder = 0
    for _ in range(60):
        picture, boxes, _ = drawer.draw()
        assert picture.shape == (160, 160, 3) and picture.dtype == np.uint8
        assert (boxes[:, 1:3] >= 0).all() and (boxes[:, 3:] <= 160).all()
        for _, x1, y1, x2, y2 in boxes[boxes[:, 0] == 1]:
            inner = picture[int(y1) + 1 : int(y2), int(x1) + 1 : int(x2)].reshape(-1, 3).astype(int)
            checked += 1
            redder += np.median(inner[:, 2] - inner[:, 0]) > 15
    assert checked > 60 and redder > 0.85 * checked  # grey pictures and plumes over the patch are the rest


def test_unlabelled_smoke_is_ignored_where_the_picture_lies(data: ModuleType, augment: ModuleType) -> None:
    sample = data.Sample("cf_0", np.zeros((90, 160, 3), np.uint8), np.zeros((0, 5), np.float32), (data.SMOKE,))
    drawer = augment.Augment([sample], 96, np.random.default_rng(1))
    _, _, ignored = drawer.draw()
    assert len(ignored) and set(ignored[:, 0]) == {data.SMOKE}


def test_rendered_smoke_changes_its_box_and_nothing_else(render: ModuleType) -> None:
    rng = np.random.default_rng(5)
    drawn = 0
    for _ in range(40):
        area = np.full((200, 300, 3), 90, np.uint8)
        box = render.paste_plume(area, render.plume(rng), rng)
        if box is None:
            assert (area == 90).all()
            continue
        drawn += 1
        change = np.abs(area.astype(int) - 90).mean(2)
        x1, y1, x2, y2 = box
        assert change[y1:y2, x1:x2].max() == change.max() >= render.LEAST_CONTRAST
    assert drawn > 20


def test_no_source_serves_two_purposes_and_far_views_stay_out(data: ModuleType) -> None:
    def use(name: str) -> str:
        sample = data.Sample(name, np.zeros((8, 8, 3), np.uint8), np.zeros((0, 5), np.float32), ())
        result: str = data.use(sample)
        return result

    assert [use(n) for n in ("ab_1", "df_2", "bp_3", "hod_4", "fs_5", "jc_6")] == [
        "validation",
        "validation",
        "test",
        "test",
        "training",
        "training",
    ]
    lines = (FOLDER / "far_test.txt").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if not line.startswith("#")]
    assert len(names) > 100 and {use(n) for n in names} == {"far test"}
    assert not set(data.VALIDATION) & set(data.TEST)
