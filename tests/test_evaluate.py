"""pipeline.vision.evaluate: figures worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.message import Detections
from pipeline.vision import evaluate
from pipeline.vision.evaluate import Judged

Box = tuple[float, float, float, float]
HERE: Box = (0, 0, 10, 10)
HALF: Box = (0, 0, 10, 5)  # IoU 0.5 with HERE
THERE: Box = (50, 50, 60, 60)


def picture(truth: list[tuple[str, Box]], said: list[tuple[str, float, Box]], *unlabelled: str) -> Judged:
    seen = Detections(
        boxes=np.array([b for _, _, b in said], np.float32).reshape(-1, 4),
        scores=np.array([s for _, s, _ in said], np.float32),
        labels=tuple(n for n, _, _ in said),
    )
    boxes = np.array([b for _, b in truth], np.float32).reshape(-1, 4)
    return Judged("p", boxes, tuple(n for n, _ in truth), seen, frozenset(unlabelled))


def test_average_precision_on_paper() -> None:
    """Ranks: right, wrong, right, of three true boxes: (1 + 2/3) / 3."""
    pictures = [
        picture([("smoke", HERE), ("smoke", THERE)], [("smoke", 0.9, HERE), ("smoke", 0.3, THERE)]),
        picture([("smoke", HERE)], [("smoke", 0.5, THERE)]),
    ]
    assert evaluate.average_precision(pictures, "smoke", iou=0.5) == pytest.approx((1 + 2 / 3) / 3)


def test_a_box_is_found_once_and_loosely_only_at_a_low_overlap() -> None:
    twice = [picture([("fire", HERE)], [("fire", 0.9, HERE), ("fire", 0.8, HERE)])]
    assert evaluate.average_precision(twice, "fire", iou=0.5) == 1.0
    loose = [picture([("fire", HERE)], [("fire", 0.9, HALF)])]
    assert evaluate.average_precision(loose, "fire", iou=0.5) == 1.0
    assert evaluate.average_precision(loose, "fire", iou=0.51) == 0.0


def test_unlabelled_classes_neither_count_nor_cost() -> None:
    pictures = [
        picture([("smoke", HERE)], [("smoke", 0.5, HERE)]),
        picture([("fire", HERE)], [("smoke", 0.9, THERE)], "smoke"),
    ]
    assert evaluate.average_precision(pictures, "smoke", iou=0.5) == 1.0
    assert np.isnan(evaluate.average_precision(pictures[1:], "smoke", iou=0.5))


def test_recall_at_few_false_pictures() -> None:
    truth = np.array([True] * 4 + [False] * 20)
    scores = np.array([0.9, 0.7, 0.5, 0.1, 0.95, 0.6, *[0.0] * 18])
    assert evaluate.recall_at_false(truth, scores, 0.05) == 0.5  # one of twenty may be wrong: the limit is 0.6
    assert evaluate.recall_at_false(truth, scores, 0.0) == 0.0
    assert evaluate.recall_at_false(truth, scores, 0.10) == 1.0


def test_best_f1_names_its_threshold() -> None:
    truth = np.array([True, True, False, False])
    value, threshold = evaluate.best_f1(truth, np.array([0.8, 0.4, 0.5, 0.1]))
    assert value == pytest.approx(0.8) and threshold == 0.4
    assert evaluate.best_f1(truth, np.zeros(4)) == (0.0, 1.0)


def test_thresholds_are_chosen_class_by_class() -> None:
    """Lamps look like fire up to 0.5, nothing looks like smoke: smoke may be believed sooner."""
    pictures = [
        *[picture([("smoke", HERE)], [("smoke", 0.2, HERE)])] * 3,
        *[picture([("fire", HERE)], [("fire", 0.7, HERE)])] * 3,
        *[picture([], [("fire", 0.5, HERE)])] * 6,
    ]
    chosen = evaluate.choose_thresholds(pictures, ("smoke", "fire"), most_false=0.05)
    assert chosen["smoke"] <= 0.2 and 0.5 < chosen["fire"] <= 0.7
    assert evaluate.alarmed(pictures, chosen).tolist() == [True] * 6 + [False] * 6


def test_figures_leave_out_what_cannot_be_measured() -> None:
    calm = [picture([], [("fire", 0.9, HERE)]), picture([], [])]
    assert evaluate.figures(calm, ("smoke", "fire"), {"smoke": 0.5, "fire": 0.5}) == {"false_pictures": 0.5}
    only = evaluate.figures([picture([("fire", HERE)], [])], ("smoke", "fire"), {"smoke": 0.5, "fire": 0.5})
    assert only == {"recall": 0.0, "ap20_fire": 0.0, "ap50_fire": 0.0}
