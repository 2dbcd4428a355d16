"""Which boxes stay: scores high enough, and of those that overlap the best."""

from __future__ import annotations

import numpy as np

from pipeline.message import Float32s, Ints
from pipeline.vision.families.base import Raw

CANDIDATES = 300  # a class, before suppression: bounds the work on a picture that is all fire


def select(raw: Raw, *, min_score: float, iou: float) -> tuple[Ints, Ints]:
    """(rows, classes) of what is left of `raw`: scores from `min_score`, and per class no two boxes that
    overlap by more than `iou`, the higher score staying. Highest score first."""
    picked = [_select_class(raw, kind, min_score, iou) for kind in range(raw.scores.shape[1])]
    rows = np.concatenate([np.zeros(0, np.int64), *picked])
    kinds = np.repeat(np.arange(len(picked)), [len(p) for p in picked])
    order = np.argsort(-raw.scores[rows, kinds], kind="stable")
    return rows[order], kinds[order]


def _select_class(raw: Raw, kind: int, min_score: float, iou: float) -> Ints:
    scores = raw.scores[:, kind]
    good = np.isfinite(raw.boxes).all(1) & (scores >= min_score)
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(-scores[rows], kind="stable")][:CANDIDATES]
    return rows[suppress(raw.boxes[rows], iou)]


def suppress(boxes: Float32s, limit: float) -> Ints:
    """Indices of `boxes` (best first) that overlap no better one by more than `limit` IoU."""
    overlap = pairwise_iou(boxes, boxes) > limit
    kept = np.zeros(len(boxes), bool)
    for i in range(len(boxes)):
        kept[i] = not (overlap[i] & kept).any()
    return np.flatnonzero(kept)


def pairwise_iou(first: Float32s, second: Float32s) -> Float32s:
    """IoU of each of `first` [a,4] with each of `second` [b,4] → [a,b]; empty boxes overlap nothing."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (first, second)]
    whole = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0), np.float32)
