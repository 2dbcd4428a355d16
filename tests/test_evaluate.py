"""pipeline.vision.evaluate: figures worked out on paper."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.message import Detections
from pipeline.vision.evaluate import figures
from pipeline.vision.evaluate.boxes import average_precision
from pipeline.vision.evaluate.figures import measured, milliseconds
from pipeline.vision.evaluate.judged import SIZES, Judged, box_counts
from pipeline.vision.evaluate.pictures import alarmed, best_f1, choose_thresholds, recall_at_false

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
    assert average_precision(pictures, "smoke", iou=0.5) == pytest.approx((1 + 2 / 3) / 3)


def test_a_box_is_found_once_and_loosely_only_at_a_low_overlap() -> None:
    twice = [picture([("fire", HERE)], [("fire", 0.9, HERE), ("fire", 0.8, HERE)])]
    assert average_precision(twice, "fire", iou=0.5) == 1.0
    loose = [picture([("fire", HERE)], [("fire", 0.9, HALF)])]
    assert average_precision(loose, "fire", iou=0.5) == 1.0
    assert average_precision(loose, "fire", iou=0.51) == 0.0


def test_unlabelled_classes_neither_count_nor_cost() -> None:
    pictures = [
        picture([("smoke", HERE)], [("smoke", 0.5, HERE)]),
        picture([("fire", HERE)], [("smoke", 0.9, THERE)], "smoke"),
    ]
    assert average_precision(pictures, "smoke", iou=0.5) == 1.0
    assert np.isnan(average_precision(pictures[1:], "smoke", iou=0.5))


def test_recall_at_few_false_pictures() -> None:
    truth = np.array([True] * 4 + [False] * 20)
    scores = np.array([0.9, 0.7, 0.5, 0.1, 0.95, 0.6, *[0.0] * 18])
    assert recall_at_false(truth, scores, 0.05) == 0.5  # one of twenty may be wrong: the limit is 0.6
    assert recall_at_false(truth, scores, 0.0) == 0.0
    assert recall_at_false(truth, scores, 0.10) == 1.0


def test_best_f1_names_its_threshold() -> None:
    truth = np.array([True, True, False, False])
    value, threshold = best_f1(truth, np.array([0.8, 0.4, 0.5, 0.1]))
    assert value == pytest.approx(0.8) and threshold == 0.4
    assert best_f1(truth, np.zeros(4)) == (0.0, 1.0)


def test_thresholds_are_chosen_class_by_class() -> None:
    """Lamps look like fire up to 0.5, nothing looks like smoke: smoke may be believed sooner."""
    pictures = [
        *[picture([("smoke", HERE)], [("smoke", 0.2, HERE)])] * 3,
        *[picture([("fire", HERE)], [("fire", 0.7, HERE)])] * 3,
        *[picture([], [("fire", 0.5, HERE)])] * 6,
    ]
    chosen = choose_thresholds(pictures, ("smoke", "fire"), most_false=0.05)
    assert chosen["smoke"] <= 0.2 and 0.5 < chosen["fire"] <= 0.7
    assert alarmed(pictures, chosen).tolist() == [True] * 6 + [False] * 6


def values(pictures: list[Judged], thresholds: dict[str, float]) -> dict[str, float]:
    return {k: e.value for k, e in measured(pictures, ("smoke", "fire"), thresholds, resamples=0).items()}


def test_figures_leave_out_what_cannot_be_measured() -> None:
    calm = [picture([], [("fire", 0.9, HERE)]), picture([], [])]
    assert values(calm, {"smoke": 0.5, "fire": 0.5}) == {"false_pictures": 0.5}
    only = values([picture([("fire", HERE)], [])], {"smoke": 0.5, "fire": 0.5})
    assert only == {"recall": 0.0, "ap20_fire": 0.0, "ap50_fire": 0.0, "ap20_fire_tiny": 0.0, "ap50_fire_tiny": 0.0}


def test_none_of_a_few_is_not_sure_to_be_none() -> None:
    calm = [picture([], []) for _ in range(95)]
    found = measured(calm, ("smoke", "fire"), {"smoke": 0.5, "fire": 0.5}, resamples=20)["false_pictures"]
    assert found.value == 0.0 and found.interval == (0.0, pytest.approx(0.0381, abs=1e-3))


def test_a_picture_that_does_not_tell_is_in_no_picture_figure() -> None:
    """No fire in it, and smoke is not labelled: nobody knows whether it burns."""
    sure = [picture([("fire", HERE)], [("fire", 0.9, HERE)]), picture([], [])]
    unsure = picture([], [("smoke", 0.9, HERE)], "smoke")
    found = values([*sure, unsure], {"smoke": 0.5, "fire": 0.5})
    assert found["false_pictures"] == 0.0 and found["f1"] == 1.0
    counted = values([*sure, picture([], [("smoke", 0.9, HERE)])], {"smoke": 0.5, "fire": 0.5})
    assert counted["false_pictures"] == 0.5


def square(side: float, at: float = 0.0) -> Box:
    return (at, at, at + side, at + side)


def test_sizes_are_told_at_one_scale() -> None:
    """Edges belong to the larger size; twice the picture, half the side."""
    one = picture([("smoke", square(side)) for side in (15.9, 16, 47.9, 48, 127.9, 128)], [])
    assert box_counts([one], "smoke") == {"tiny": 1, "small": 2, "medium": 2, "large": 1}
    seen = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    twice = Judged("p", np.array([square(30)], np.float32), ("smoke",), seen, longest=832)
    assert box_counts([twice], "smoke") == {"tiny": 1, "small": 0, "medium": 0, "large": 0}
    assert box_counts([one, twice], "fire") == dict.fromkeys(SIZES, 0)


def test_average_precision_by_size_leaves_out_what_found_another_size() -> None:
    """Ranks of small: wrong (a small box nowhere), right; what found the large one does not count there."""
    small, large = square(20), square(200, 100)
    one = picture(
        [("smoke", small), ("smoke", large)],
        [("smoke", 0.9, large), ("smoke", 0.8, square(20, 350)), ("smoke", 0.7, small)],
    )
    assert average_precision([one], "smoke", iou=0.5, size="small") == pytest.approx(1 / 2)
    assert average_precision([one], "smoke", iou=0.5, size="large") == 1.0
    assert average_precision([one], "smoke", iou=0.5) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(average_precision([one], "smoke", iou=0.5, size="medium"))


def test_intervals_hold_the_figure_and_are_the_same_every_time() -> None:
    mixed = [picture([("fire", HERE)], [("fire", 0.3 + 0.01 * n, HERE if n % 3 else THERE)]) for n in range(40)]
    mixed += [picture([], [("fire", 0.016 * n, HERE)]) for n in range(40)]
    first, again = (
        measured(mixed, ("smoke", "fire"), {"smoke": 0.5, "fire": 0.5}, resamples=200) for _ in range(2)
    )
    assert first == again
    for name in ("recall", "false_pictures", "f1", "f1_best", "recall_at_5_percent_false", "ap50_fire"):
        value, interval = first[name]
        assert interval and 0 <= interval[0] < value < interval[1] <= 1, name
    assert first["f1_best_threshold"].interval is None
    assert measured(mixed, ("fire",), {"fire": 0.5}, resamples=0)["f1"].interval is None


def test_a_thousand_samples_of_thousands_of_pictures_take_seconds() -> None:
    rng = np.random.default_rng(1)
    many = []
    for n in range(2000):
        low = rng.uniform(0, 300, (20, 2))
        said = [("smoke", float(s), (*p, *(p + 60))) for s, p in zip(rng.random(20), low, strict=True)]
        many.append(picture([("smoke", (*low[0], *(low[0] + 60)))] if n % 2 else [], said))
    begun = time.process_time()
    found = measured(many, ("smoke",), {"smoke": 0.5})
    assert time.process_time() - begun < 30
    assert found["ap50_smoke"].interval is not None


def test_milliseconds_are_times_that_were_taken() -> None:
    assert milliseconds([float(n) for n in range(1, 101)]) == {"median_ms": 50.0, "p95_ms": 95.0}
    assert milliseconds([]) == {}


def test_every_figure_is_explained() -> None:
    text = figures.__doc__ or ""
    for name in ("recall", "false_pictures", "f1", "f1_best", "f1_best_threshold", "recall_at_5_percent_false"):
        assert name in text
