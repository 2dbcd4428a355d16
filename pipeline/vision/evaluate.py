"""How good a detector is, on labelled pictures. Pure: truth and detections in, figures out.

    picture level   F1 and recall of "something burns" (any smoke or fire) against pictures with nothing
    box level       average precision by class: the area under precision over recall, precision made monotone

A class that a picture does not label (`unlabelled`) is left out of that class's score there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Detections, Float32s
from pipeline.vision.families import pairwise_iou

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One picture: true boxes [n,4] in its pixels with their labels, and what the detector said."""

    name: str
    boxes: Float32s
    labels: tuple[str, ...]
    seen: Detections
    unlabelled: frozenset[str] = frozenset()

    def truth(self, label: str) -> Float32s:
        return self.boxes[[name == label for name in self.labels]]

    def said(self, label: str) -> tuple[Float32s, Float32s]:
        """Boxes and scores of one class, best first."""
        rows = np.array([name == label for name in self.seen.labels], bool)
        order = np.argsort(-self.seen.scores[rows], kind="stable")
        return self.seen.boxes[rows][order], self.seen.scores[rows][order]


# ---------------------------------------------------------------- boxes


def average_precision(pictures: Sequence[Judged], label: str, *, iou: float) -> float:
    """AP of a class: each true box is found by at most one detection, the best-scored that overlaps it by `iou`.

    NaN when no picture has such a box.
    """
    counted = [p for p in pictures if label not in p.unlabelled]
    wanted = sum(len(p.truth(label)) for p in counted)
    if not wanted:
        return float("nan")
    marks = [_matched(p, label, iou) for p in counted]
    scores = np.concatenate([m[0] for m in marks])
    right = np.concatenate([m[1] for m in marks])[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(np.sum(precision * right) / wanted)


def _matched(picture: Judged, label: str, iou: float) -> tuple[Float32s, NDArray[np.bool_]]:
    """(scores, right) of a picture's detections, best first."""
    boxes, scores = picture.said(label)
    overlap = pairwise_iou(boxes, picture.truth(label))
    right = np.zeros(len(boxes), bool)
    free = np.ones(overlap.shape[1], bool)
    for i, row in enumerate(overlap):
        fit = np.where(free, row, -1.0)
        if len(fit) and fit.max() >= iou:
            right[i], free[fit.argmax()] = True, False
    return scores, right


# ---------------------------------------------------------------- pictures


def burning(pictures: Sequence[Judged]) -> NDArray[np.bool_]:
    """Per picture: is there any smoke or fire in it, by its labels?"""
    return np.array([len(p.labels) > 0 for p in pictures], bool)


def best_scores(pictures: Sequence[Judged], label: str | None = None) -> Scores:
    """Per picture the highest score, of one class or of any; 0 where nothing was seen."""
    return np.array(
        [max((s for name, s, _ in p.seen if label is None or name == label), default=0.0) for p in pictures],
        np.float64,
    )


def f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    right = int((truth & said).sum())
    return 2 * right / max(1, int(truth.sum()) + int(said.sum()))


def best_f1(truth: NDArray[np.bool_], scores: Scores) -> tuple[float, float]:
    """(F1, threshold) at the threshold that is best on these very pictures: an upper bound, say so."""
    options = np.unique(scores[scores > 0])
    values = [f1(truth, scores >= t) for t in options]
    best = int(np.argmax(values)) if values else 0
    return (values[best], float(options[best])) if values else (0.0, 1.0)


def recall_at_false(truth: NDArray[np.bool_], scores: Scores, share: float) -> float:
    """Share of burning pictures found when at most `share` of the others cry wolf. NaN without either kind."""
    calm = np.sort(scores[~truth])[::-1]
    if not len(calm) or not truth.any():
        return float("nan")
    allowed = int(share * len(calm))
    limit = calm[allowed] if allowed < len(calm) else 0.0
    return float((scores[truth] > limit).mean())


def alarmed(pictures: Sequence[Judged], thresholds: dict[str, float]) -> NDArray[np.bool_]:
    """Per picture: does any class reach its threshold?"""
    said = [best_scores(pictures, label) >= t for label, t in thresholds.items()]
    return np.asarray(np.any(said, axis=0), np.bool_)


def choose_thresholds(pictures: Sequence[Judged], labels: Sequence[str], *, most_false: float) -> dict[str, float]:
    """Per class the threshold; together the best picture F1 with at most `most_false` of calm pictures alarmed."""
    truth, grid = burning(pictures), np.round(np.arange(0.05, 0.80, 0.01), 2)
    scores = [best_scores(pictures, label) for label in labels]
    best, chosen = -1.0, [0.5] * len(labels)
    for point in np.stack(np.meshgrid(*[grid] * len(labels), indexing="ij"), -1).reshape(-1, len(labels)):
        said = np.any([s >= t for s, t in zip(scores, point, strict=True)], axis=0)
        value = f1(truth, said) if said[~truth].mean() <= most_false else -1.0
        if value > best:
            best, chosen = value, point.tolist()
    return dict(zip(labels, chosen, strict=True))


# ---------------------------------------------------------------- all of it


def figures(pictures: Sequence[Judged], labels: Sequence[str], thresholds: dict[str, float]) -> dict[str, float]:
    """The figures of a card by name; those that cannot be measured on these pictures are left out."""
    truth, scores = burning(pictures), best_scores(pictures)
    said = alarmed(pictures, thresholds)
    found = {"recall": float(said[truth].mean()) if truth.any() else float("nan")}
    if not truth.all():
        found |= {
            "f1": f1(truth, said) if truth.any() else float("nan"),
            "false_pictures": float(said[~truth].mean()),
            "f1_best": best_f1(truth, scores)[0] if truth.any() else float("nan"),
            "recall_at_5_percent_false": recall_at_false(truth, scores, 0.05),
        }
    for label in labels:
        for iou in (0.2, 0.5):
            found[f"ap{round(iou * 100)}_{label}"] = average_precision(pictures, label, iou=iou)
    return {name: round(value, 4) for name, value in found.items() if not np.isnan(value)}
