"""Average precision of boxes: the area under precision over recall, precision made monotone.

A true box is found by at most one detection, the best-scored that overlaps it enough. By size: only true boxes of
that size are wanted; a detection that found a box of another size is left out, one that found nothing counts by its
own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Float32s, Ints
from pipeline.vision.evaluate.interval import Floats, Statistic, Weights, ratio
from pipeline.vision.evaluate.judged import SIZES, Judged
from pipeline.vision.families import pairwise_iou


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Detections of one class over all pictures, best first: whose picture, right or not, and of which size.

    `wanted` [pictures, sizes] counts true boxes.
    """

    owner: Ints
    right: NDArray[np.bool_]
    size: Ints
    wanted: Ints

    def precision(self, size: str | None = None) -> Statistic:
        """Average precision, of one size or of all, for any weights of the pictures."""
        kind = slice(None) if size is None else SIZES.index(size)
        rows = np.flatnonzero((self.size == kind) if size else np.ones(len(self.size), bool))
        hits = np.flatnonzero(self.right[rows])
        rows = rows[: hits[-1] + 1] if len(hits) else rows[:0]  # wrong ones behind the last right one cost nothing
        wanted = self.wanted[:, kind].reshape(len(self.wanted), -1).sum(1).astype(np.float32)
        owner, begins = self.owner[rows], np.concatenate([[0], hits[:-1] + 1]) if len(hits) else hits
        return lambda weights: _precision(weights, owner, begins, hits, wanted)


def _precision(weights: Weights, owner: Ints, begins: Ints, hits: Ints, wanted: Float32s) -> Floats:
    """[r] from [r, n]. `begins` and `hits` are the ends of stretches with one right row each, the last."""
    gained = np.zeros(len(weights))
    if len(hits):
        said = np.cumsum(np.add.reduceat(weights[:, owner], begins, axis=1), axis=1, dtype=np.float64)
        right = weights[:, owner[hits]].astype(np.float64)
        precision = np.cumsum(right, axis=1) / np.maximum(said, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        gained = (best * right).sum(1)
    return ratio(gained, weights @ wanted)


def ranked(pictures: Sequence[Judged], label: str, *, iou: float) -> Ranked:
    """Pictures that do not label the class have no detections and no true boxes here."""
    rows = [_matched(p, label, iou) if label not in p.unlabelled else _NONE for p in pictures]
    scores = np.concatenate([np.zeros(0, np.float32), *(r[0] for r in rows)])
    order = np.argsort(-scores, kind="stable")
    owner = np.repeat(np.arange(len(rows)), [len(r[0]) for r in rows])[order]
    right = np.concatenate([np.zeros(0, bool), *(r[1] for r in rows)])[order]
    size = np.concatenate([np.zeros(0, np.int64), *(r[2] for r in rows)])[order]
    wanted = np.array([r[3] for r in rows], np.int64).reshape(-1, len(SIZES))
    return Ranked(owner, right, size, wanted)


Matched = tuple[Float32s, NDArray[np.bool_], Ints, Ints]
_NONE: Matched = (np.zeros(0, np.float32), np.zeros(0, bool), np.zeros(0, np.int64), np.zeros(len(SIZES), np.int64))


def _matched(picture: Judged, label: str, iou: float) -> Matched:
    """(scores, right, sizes) of a picture's detections, best first, and true boxes by size."""
    (boxes, scores), truth = picture.said(label), picture.truth(label)
    overlap, true_sizes, sizes = pairwise_iou(boxes, truth), picture.sizes(truth), picture.sizes(boxes)
    right, free = np.zeros(len(boxes), bool), np.ones(len(truth), bool)
    for i, row in enumerate(overlap):
        fit = np.where(free, row, -1.0)
        if len(fit) and fit.max() >= iou:
            best = int(fit.argmax())
            right[i], free[best], sizes[i] = True, False, true_sizes[best]
    return scores, right, sizes, np.bincount(true_sizes, minlength=len(SIZES))


def average_precision(pictures: Sequence[Judged], label: str, *, iou: float, size: str | None = None) -> float:
    """Of a class, of one size or of all. NaN when no picture has such a box."""
    once = np.ones((1, len(pictures)), np.float32)
    return float(ranked(pictures, label, iou=iou).precision(size)(once)[0])
