"""F1 and recall of "something burns" (any smoke or fire) against pictures with nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.vision.evaluate.interval import Floats, Statistic, Weights, ratio
from pipeline.vision.evaluate.judged import Judged, burning

Bools = NDArray[np.bool_]
GRID = np.round(np.arange(0.05, 0.80, 0.01), 2)
"""Thresholds that are tried, of each class."""


def best_scores(pictures: Sequence[Judged], label: str | None = None) -> Floats:
    """Per picture the highest score, of one class or of any; 0 where nothing was seen."""
    return np.array(
        [max((s for name, s, _ in p.seen if label is None or name == label), default=0.0) for p in pictures],
        np.float64,
    )


def alarmed(pictures: Sequence[Judged], thresholds: dict[str, float]) -> Bools:
    """Per picture: does any class reach its threshold?"""
    said = [best_scores(pictures, label) >= t for label, t in thresholds.items()]
    return np.asarray(np.any(said, axis=0), np.bool_)


# ---------------------------------------------------------------- for any weights of the pictures


def f1_of(truth: Bools, said: Bools) -> Statistic:
    both, either = (truth & said).astype(np.float32), truth.astype(np.float32) + said

    def statistic(weights: Weights) -> Floats:
        return np.asarray(2 * (weights @ both) / np.maximum(weights @ either, 1), np.float64)

    return statistic


def share_of(said: Bools, among: Bools) -> Statistic:
    """Part of the pictures `among` which are `said`."""
    both, all_ = (said & among).astype(np.float32), among.astype(np.float32)

    def statistic(weights: Weights) -> Floats:
        return ratio(weights @ both, weights @ all_)

    return statistic


def best_f1_of(truth: Bools, scores: Floats) -> Statistic:
    """F1 at the threshold that is best in each sample. Optimistic by a little, see `best_f1`."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    ends = _last_of_equals(scores[order])
    true = truth.astype(np.float32)

    def statistic(weights: Weights) -> Floats:
        drawn = weights[:, order]
        right = np.cumsum(drawn * true[order], axis=1)[:, ends]
        said = np.cumsum(drawn, axis=1)[:, ends]
        values = 2 * right / np.maximum(said + (weights @ true)[:, None], 1)
        return np.asarray(values.max(1, initial=0.0), np.float64)

    return statistic


def _last_of_equals(ordered: Floats) -> NDArray[np.intp]:
    """A threshold takes all pictures of one score or none."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), bool)))


def recall_at_false_of(truth: Bools, scores: Floats, share: float) -> Statistic:
    """Part of burning pictures found when at most `share` of the others cry wolf."""
    calm = np.flatnonzero(~truth)[np.argsort(-scores[~truth], kind="stable")]
    hot = np.flatnonzero(truth)[np.argsort(-scores[truth], kind="stable")]

    def statistic(weights: Weights) -> Floats:
        wrong, right = np.cumsum(weights[:, calm], axis=1), np.cumsum(weights[:, hot], axis=1)
        if not len(calm) or not len(hot):
            return np.full(len(weights), np.nan)
        allowed = np.floor(share * wrong[:, -1] + 1e-6)
        limit = scores[calm][np.argmax(wrong > allowed[:, None], axis=1)]
        above = np.searchsorted(-scores[hot], -limit, side="left")
        found = np.where(above > 0, np.take_along_axis(right, np.maximum(above - 1, 0)[:, None], 1)[:, 0], 0)
        return ratio(found, np.where(wrong[:, -1] > 0, right[:, -1], 0))

    return statistic


# ---------------------------------------------------------------- for the pictures as they are


def once(statistic: Statistic, pictures: int) -> float:
    return float(statistic(np.ones((1, pictures), np.float32))[0])


def f1(truth: Bools, said: Bools) -> float:
    return once(f1_of(truth, said), len(truth))


def best_f1(truth: Bools, scores: Floats) -> tuple[float, float]:
    """(F1, threshold) at the threshold that is best on these very pictures: an upper bound, say so."""
    options = np.unique(scores[scores > 0])
    values = [f1(truth, scores >= t) for t in options]
    best = int(np.argmax(values)) if values else 0
    return (values[best], float(options[best])) if values else (0.0, 1.0)


def recall_at_false(truth: Bools, scores: Floats, share: float) -> float:
    """NaN without either kind of pictures."""
    return once(recall_at_false_of(truth, scores, share), len(truth))


def choose_thresholds(pictures: Sequence[Judged], labels: Sequence[str], *, most_false: float) -> dict[str, float]:
    """Per class the threshold; together the best picture F1 with at most `most_false` of calm pictures alarmed."""
    truth = burning(pictures)
    scores = [best_scores(pictures, label) for label in labels]
    best, chosen = -1.0, [0.5] * len(labels)
    for point in np.stack(np.meshgrid(*[GRID] * len(labels), indexing="ij"), -1).reshape(-1, len(labels)):
        said = np.any([s >= t for s, t in zip(scores, point, strict=True)], axis=0)
        value = f1(truth, said) if said[~truth].mean() <= most_false else -1.0
        if value > best:
            best, chosen = value, point.tolist()
    return dict(zip(labels, chosen, strict=True))
