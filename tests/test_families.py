"""pipeline.vision.families: golden tensors written down by hand, boxes known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ports import UserError
from pipeline.vision.families import CANDIDATES, Plan, Raw, family, pairwise_iou, select, suppress


def raw(rows: list[tuple[float, float, float, float, float, float]]) -> Raw:
    """Rows of x1, y1, x2, y2, score of class 0, score of class 1."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Raw(table[:, :4], table[:, 4:])


def test_iou_of_boxes_worked_out_on_paper() -> None:
    first = np.array([[0, 0, 10, 10]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 4, 4], [3, 3, 3, 3]], np.float32)
    assert np.allclose(pairwise_iou(first, second), [[1.0, 50 / 150, 0.0, 4 / 100, 0.0]])


def test_points_family_keeps_each_picture_apart() -> None:
    boxes = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    scores = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 3, 2)
    first, second = family("points").decode({"boxes": boxes, "scores": scores}, Plan(64, 64, 2))
    assert np.array_equal(first.boxes, boxes[0]) and np.array_equal(second.boxes, boxes[1])
    assert np.array_equal(second.scores, scores[1])


def test_points_family_refuses_other_shapes() -> None:
    with pytest.raises(UserError, match=r"boxes \[b,n,4\]"):
        family("points").decode({"boxes": np.zeros((1, 5, 6)), "scores": np.zeros((1, 5, 2))}, Plan(64, 64, 2))


def test_unknown_family_is_named_with_those_known() -> None:
    with pytest.raises(UserError, match=r"'yolov99'.*points"):
        family("yolov99")


def test_golden_selection() -> None:
    found = raw(
        [
            (10, 10, 50, 50, 0.60, 0.01),
            (12, 11, 52, 50, 0.80, 0.02),  # the same smoke, seen better
            (13, 10, 51, 49, 0.05, 0.90),  # fire in the same place: another class, so it stays
            (100, 100, 140, 130, 0.30, 0.03),
            (100, 100, 141, 131, 0.04, 0.04),  # under the least score
        ]
    )
    rows, kinds = select(found, min_score=0.1, iou=0.5)
    assert rows.tolist() == [2, 1, 3]
    assert kinds.tolist() == [1, 0, 0]


def test_one_box_may_be_of_two_classes() -> None:
    rows, kinds = select(raw([(0, 0, 9, 9, 0.7, 0.6)]), min_score=0.1, iou=0.5)
    assert rows.tolist() == [0, 0] and kinds.tolist() == [0, 1]


def test_suppression_is_not_passed_on() -> None:
    """The middle box falls to the first; the last overlaps only the middle one, and stays."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress(boxes, 0.3).tolist() == [0, 2]


def test_nothing_and_nonsense() -> None:
    rows, kinds = select(raw([]), min_score=0.1, iou=0.5)
    assert len(rows) == len(kinds) == 0
    broken = raw([(np.nan, 0, 9, 9, 0.9, 0.9), (0, 0, np.inf, 9, 0.9, 0.9), (0, 0, 9, 9, np.nan, 0.2)])
    rows, kinds = select(broken, min_score=0.1, iou=0.5)
    assert rows.tolist() == [2] and kinds.tolist() == [1]


def test_work_is_bounded_when_everything_burns() -> None:
    corner = np.arange(5000, dtype=np.float32)[:, None] * 100
    boxes = np.concatenate([corner, corner, corner + 10, corner + 10], 1)
    rows, _ = select(Raw(boxes, np.ones((5000, 1), np.float32)), min_score=0.1, iou=0.5)
    assert len(rows) == CANDIDATES
