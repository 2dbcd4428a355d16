"""Each family's decoder on tensors written by hand: the boxes are worked out on paper, not by the code.

The model's input is 64 x 64, its grids therefore 8 x 8, 4 x 4 and 2 x 2: 84 cells. In every tensor there is one
thing: class 1 at x 16..32, y 24..40 of the input (centre 24, 32; 16 wide, 16 high).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ports import UserError
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.families import FAMILIES, Plan, Raw, family
from pipeline.vision.families.base import Convention
from tests.tinyonnx import Entry, graph, write_card

THING = (16.0, 24.0, 32.0, 40.0)
CENTRE = (24.0, 32.0, 16.0, 16.0)
CELLS = 64 + 16 + 4
LOGIT = 2.0  # sigmoid(2) = 0.8808
HIGH = 0.880797


def rows(count: int, at: int, *numbers: float) -> NDArray[np.float32]:
    """[1,count,k] zeros but for one row."""
    table = np.zeros((1, count, len(numbers)), np.float32)
    table[0, at] = numbers
    return table


def unit(box: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(v / 64 for v in box)


def yolox_row() -> tuple[int, tuple[float, ...]]:
    """Stride 16: cell column 1, row 2 is number 64 + 2 * 4 + 1; centre (1 + 0.5, 2 + 0) * 16 = 24, 32; e^0 * 16."""
    return 64 + 2 * 4 + 1, (0.5, 0.0, 0.0, 0.0, 0.9, 0.1, 0.8)


def logits(count: int, columns: int, at: int) -> NDArray[np.float32]:
    table = np.full((1, count, columns), -9.0, np.float32)
    table[0, 0, at] = LOGIT
    return table


def lists(box: tuple[float, ...], kind: int) -> dict[str, NDArray[Any]]:
    """Two rows, the second of padding."""
    boxes = np.array([[box, (0, 0, 0, 0)]], np.float32)
    return {
        "boxes": boxes,
        "scores": np.array([[0.7, 0.0]], np.float32),
        "classes": np.array([[kind, -1]], np.int64),
    }


AT, NUMBERS = yolox_row()
Y1X1 = (24.0, 16.0, 40.0, 32.0)
GOLDEN: dict[str, tuple[dict[str, NDArray[Any]], float]] = {
    "points": ({"boxes": rows(5, 3, *THING), "scores": rows(5, 3, 0.1, 0.7)}, 0.7),
    "yolo-nas": ({"boxes": rows(CELLS, 3, *THING), "scores": rows(CELLS, 3, 0.1, 0.7)}, 0.7),
    "yolov5": ({"output": rows(3 * CELLS, 100, *CENTRE, 0.9, 0.1, 0.8)}, 0.72),
    "yolov8": ({"output": rows(CELLS, 7, *CENTRE, 0.1, 0.8).transpose(0, 2, 1)}, 0.8),
    "yolox": ({"output": rows(CELLS, AT, *NUMBERS)}, 0.72),
    "yolov10": ({"output": rows(300, 0, *THING, 0.7, 1.0)}, 0.7),
    "rt-detr": ({"output": rows(300, 0, *unit(CENTRE), 0.7, 1.0)}, 0.7),
    "rt-detr-scores": ({"output": rows(300, 0, *unit(CENTRE), 0.1, 0.7)}, 0.7),
    "yolo-nas-flat": ({"output": np.array([[0, *THING, 0.7, 1]], np.float32)}, 0.7),
    "yolov7-end2end": ({"output": np.array([[0, *THING, 1, 0.7]], np.float32)}, 0.7),
    "end2end": ({"count": np.array([[1]], np.int64), **lists(THING, 1)}, 0.7),
    "mmdet": ({"boxes": rows(100, 0, *THING, 0.7), "classes": np.ones((1, 100), np.int64)}, 0.7),
    "d-fine": (lists(THING, 1), 0.7),
    "torchvision": ({k: v[0, :1] for k, v in lists(THING, 2).items()}, 0.7),
    "ssd-tf": ({"count": np.array([1.0], np.float32), **lists(unit(Y1X1), 2)}, 0.7),
    "rf-detr": ({"boxes": rows(30, 0, *unit(CENTRE)), "scores": logits(30, 3, 1)}, HIGH),
    "detr": (
        # Softmax of (0, 0, ln 8) in the thing's row: 1/10, 1/10, 8/10; of "nothing" alone in the others.
        {"boxes": rows(30, 0, *unit(CENTRE)), "scores": np.tile(np.float32([-50, -50, 50]), (1, 30, 1))},
        0.8,
    ),
    "ssd": ({"boxes": rows(9, 2, *unit(THING)), "scores": rows(9, 2, 0.2, 0.1, 0.7)}, 0.7),
    "classify-softmax": ({"output": np.float32([[0.0, np.log(4)]])}, 0.8),
    "classify-sigmoid": ({"output": np.float32([[-9.0, LOGIT]])}, HIGH),
}
GOLDEN["detr"][0]["scores"][0, 0] = np.float32([0, np.log(8), 0])


def decoded(name: str, classes: int = 2, **convention: str) -> Raw:
    usual = FAMILIES[name].convention
    said = {key: convention.get(key, getattr(usual, key)) for key in ("boxes", "unit", "activation", "background")}
    (raw,) = family(name).decode(GOLDEN[name][0], Plan(64, 64, classes, Convention(**said)))
    return raw


def test_every_family_has_a_golden_tensor() -> None:
    assert set(GOLDEN) == set(FAMILIES)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_golden_tensor_gives_the_thing(name: str) -> None:
    raw = decoded(name)
    best = np.unravel_index(raw.scores.argmax(), raw.scores.shape)
    assert best[1] == 1, "class"
    assert raw.scores[best] == pytest.approx(GOLDEN[name][1], abs=1e-4)
    wanted = (0, 0, 64, 64) if name.startswith("classify") else THING
    assert raw.boxes[best[0]].tolist() == pytest.approx(wanted, abs=1e-3)
    assert (np.delete(raw.scores.ravel(), raw.scores.argmax()) < 0.35).all(), "nothing else is found"


# ---------------------------------------------------------------- end to end, where a letterbox shows

PICTURE = (200, 100)
"""In it the thing is at 50, 25, 100, 75. Where that lies in 64 x 64 depends on how the picture is laid in:
in the middle (32 high, from 16 on) at y 24..40; at the top left at y 8..24; stretched at y 16..48; x the same."""


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"classify-softmax", "classify-sigmoid"}))
def test_through_onnx_runtime_on_a_picture_that_is_not_square(name: str, tmp_path: Path) -> None:
    row = FAMILIES[name]
    tensors = {role: laid_in(role, value, name) for role, value in GOLDEN[name][0].items()}
    entry = Entry(sizes="orig_target_sizes" if row.sizes else "")
    if row.sizes:
        tensors["boxes"] = tensors["boxes"] / 64
    folder = tmp_path / name
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph(tensors, entry))
    extra = 'sizes = "orig_target_sizes"' if row.sizes else ""
    write_card(folder, family=name, fit=row.feed.fit, extra=extra, tensors=list(row.outputs))
    (found,) = OnnxDetector.load(folder, min_score=0.5).detect(
        [np.full((PICTURE[1], PICTURE[0], 3), 255, np.uint8)]
    )
    ((label, score, box),) = list(found)
    assert label == "fire" and score == pytest.approx(GOLDEN[name][1], abs=1e-4)
    assert box == pytest.approx((50, 25, 100, 75), abs=0.02)


def laid_in(role: str, value: NDArray[Any], name: str) -> NDArray[Any]:
    """The golden tensor, its box moved to where the family's own fit puts the thing."""
    fit, moved = FAMILIES[name].feed.fit, value.copy()
    if fit == "centre" or role not in ("boxes", "output"):
        return moved
    if name == "yolox":  # a row higher: 16 pixels of stride 16
        moved[0, [AT, AT - 4]] = moved[0, [AT - 4, AT]]
        return moved
    assert fit == "stretch"
    near, far = (16 / 64, 48 / 64) if FAMILIES[name].convention.unit == "unit" else (16.0, 48.0)
    if FAMILIES[name].convention.boxes == "cxcywh":
        moved[0, 0, 3] = far - near
    elif FAMILIES[name].convention.boxes == "yxyx":
        moved[0, 0, [0, 2]] = near, far
    else:
        moved.reshape(-1, moved.shape[-1])[np.flatnonzero(moved.reshape(-1, moved.shape[-1])[:, 0])[0], [1, 3]] = (
            near,
            far,
        )
    return moved


# ---------------------------------------------------------------- what exports differ by


def test_detr_columns_of_nothing() -> None:
    """Two classes and "nothing": last by default; first moves every class down; none makes three classes."""
    assert decoded("rf-detr").scores.shape == (30, 2)
    assert decoded("rf-detr", background="first").scores[0].argmax() == 0
    assert decoded("rf-detr", 3, background="none").scores.shape == (30, 3)
    with pytest.raises(UserError, match=r"scores 2 classes .*card names 3.*output\.background"):
        decoded("rf-detr", 3)


def test_yolov8_from_tensorflow_is_turned() -> None:
    turned = {"output": GOLDEN["yolov8"][0]["output"].transpose(0, 2, 1)}
    (raw,) = family("yolov8").decode(turned, Plan(64, 64, 2, FAMILIES["yolov8"].convention))
    assert raw.boxes[7].tolist() == pytest.approx(THING)


def test_classes_the_card_does_not_name_are_left_out() -> None:
    assert len(decoded("yolov10", classes=1).scores) == 0
    assert len(decoded("d-fine", classes=2).scores) == 1


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_other_shapes_are_refused_with_a_sentence(name: str) -> None:
    tensors = {role: np.zeros((1, 3, 5, 9), np.float32) for role in FAMILIES[name].outputs}
    with pytest.raises(UserError, match="wants"):
        family(name).decode(tensors, Plan(64, 64, 2, FAMILIES[name].convention))


def test_yolox_sizes_that_overflow_are_no_box() -> None:
    wild = GOLDEN["yolox"][0]["output"].copy()
    wild[0, AT, 2] = 200.0
    (raw,) = family("yolox").decode({"output": wild}, Plan(64, 64, 2, FAMILIES["yolox"].convention))
    assert not np.isfinite(raw.boxes[AT]).all()
