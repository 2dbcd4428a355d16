"""pipeline.vision.evaluate.interval against values from tables and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.vision.evaluate.boxes import ranked
from pipeline.vision.evaluate.interval import estimates, rate_interval, share_interval
from pipeline.vision.evaluate.judged import Judged
from pipeline.vision.evaluate.pictures import best_f1, best_f1_of, f1_of, recall_at_false, recall_at_false_of
from tests.test_evaluate import HERE, THERE, picture


def test_exact_intervals_of_rates() -> None:
    """Garwood's limits, as in tables of the Poisson distribution."""
    assert rate_interval(0, 1.0) == pytest.approx((0.0, 3.689), abs=1e-3)
    assert rate_interval(1, 1.0) == pytest.approx((0.0253, 5.572), abs=1e-3)
    assert rate_interval(10, 2.0) == pytest.approx((4.795 / 2, 18.39 / 2), abs=1e-2)
    assert rate_interval(100, 1.0) == pytest.approx((81.36, 121.63), abs=1e-2)


def test_exact_intervals_of_shares() -> None:
    """Clopper and Pearson's; at the ends they are 1 - 0.025^(1/n) wide."""
    assert share_interval(5, 5) == pytest.approx((0.025 ** (1 / 5), 1.0))
    assert share_interval(0, 3) == pytest.approx((0.0, 1 - 0.025 ** (1 / 3)))
    assert share_interval(7, 10) == pytest.approx((0.3475, 0.9333), abs=1e-4)
    assert share_interval(3000, 3000) == pytest.approx((0.025 ** (1 / 3000), 1.0), abs=1e-6)


def test_the_bootstrap_of_a_mean_is_the_textbook_interval() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 400)
    found = estimates({"mean": lambda w: w @ values / w.sum(1)}, 400, resamples=2000)["mean"]
    wide = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean(), abs=1e-4)
    assert found.interval == pytest.approx((values.mean() - wide, values.mean() + wide), abs=0.03)


def test_what_is_undefined_is_left_out_and_costs_no_sample() -> None:
    def often_undefined(weights: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, 0.5, np.nan)

    found = estimates({"none": lambda w: np.full(len(w), np.nan), "some": often_undefined}, 3, resamples=50)
    assert set(found) == {"some"} and found["some"] == (0.5, (0.5, 0.5))


@pytest.fixture(scope="module")
def pictures() -> list[Judged]:
    rng = np.random.default_rng(7)
    made = []
    for _ in range(30):
        said = [("fire", round(float(rng.random()), 1), HERE if rng.random() < 0.5 else THERE) for _ in range(3)]
        made.append(picture([("fire", HERE)] if rng.random() < 0.6 else [], said))
    return made


def test_weights_are_what_repeating_pictures_is(pictures: list[Judged]) -> None:
    """Every statistic over counts equals the plain figure over a list in which pictures stand that often."""
    truth = np.array([bool(p.labels) for p in pictures])
    scores = np.array([p.seen.scores.max() for p in pictures], np.float64)
    rng = np.random.default_rng(2)
    for _ in range(20):
        drawn = np.sort(rng.integers(0, 30, 30))
        weights = np.bincount(drawn, minlength=30).astype(np.float32)[None]
        assert f1_of(truth, scores > 0.5)(weights)[0] == pytest.approx(_f1(truth[drawn], scores[drawn] > 0.5))
        assert best_f1_of(truth, scores)(weights)[0] == pytest.approx(best_f1(truth[drawn], scores[drawn])[0])
        recall = recall_at_false(truth[drawn], scores[drawn], 0.1)
        assert recall_at_false_of(truth, scores, 0.1)(weights)[0] == pytest.approx(recall)


def _f1(truth: np.ndarray, said: np.ndarray) -> float:
    return float(2 * (truth & said).sum() / (truth.sum() + said.sum()))


def test_average_precision_over_weights_is_that_over_repeated_detections(pictures: list[Judged]) -> None:
    ranks = ranked(pictures, "fire", iou=0.5)
    rng = np.random.default_rng(4)
    for _ in range(20):
        weights = np.bincount(rng.integers(0, 30, 30), minlength=30)
        times = weights[ranks.owner]
        right = np.repeat(ranks.right, times)
        hits = np.cumsum(right)
        precision = hits / np.arange(1, len(right) + 1)
        best = np.array([precision[n:].max() for n in range(len(right))])
        by_hand = (best * right).sum() / (weights @ ranks.wanted.sum(1))
        assert ranks.precision()(weights[None].astype(np.float32))[0] == pytest.approx(by_hand)
