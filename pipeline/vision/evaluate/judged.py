"""One labelled picture: what is in it, and what the detector says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Detections, Float32s, Ints

SCALE = 416.0
"""Sizes are told as if the longer side of the picture were this many pixels: what a detector at that input sees."""

SIZES = ("tiny", "small", "medium", "large")
EDGES = (16.0, 48.0, 128.0)
"""Side, the root of width times height, at SCALE: tiny below 16, small below 48, medium below 128, else large."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """True boxes [n,4] in pixels of the picture with their labels, and what the detector said.

    A class in `unlabelled` may be in the picture without a box. `longest` is the longer side of the picture.
    """

    name: str
    boxes: Float32s
    labels: tuple[str, ...]
    seen: Detections
    unlabelled: frozenset[str] = frozenset()
    longest: float = SCALE

    def truth(self, label: str) -> Float32s:
        return self.boxes[[name == label for name in self.labels]]

    def said(self, label: str) -> tuple[Float32s, Float32s]:
        """Boxes and scores of one class, best first."""
        rows = np.array([name == label for name in self.seen.labels], bool)
        order = np.argsort(-self.seen.scores[rows], kind="stable")
        return self.seen.boxes[rows][order], self.seen.scores[rows][order]

    def sizes(self, boxes: Float32s) -> Ints:
        """Index into SIZES of each of `boxes` [n,4]."""
        sides = np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)) * (SCALE / self.longest)
        return np.asarray(np.searchsorted(EDGES, sides, side="right"), np.int64)


def box_counts(pictures: Sequence[Judged], label: str) -> dict[str, int]:
    """How many true boxes of a class there are, by size."""
    kinds = [p.sizes(p.truth(label)) for p in pictures if label not in p.unlabelled]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *kinds]), minlength=len(SIZES))
    return dict(zip(SIZES, counts.tolist(), strict=True))


def burning(pictures: Sequence[Judged]) -> NDArray[np.bool_]:
    """Per picture: is there any smoke or fire in it, by its labels?"""
    return np.array([len(p.labels) > 0 for p in pictures], bool)


def known(pictures: Sequence[Judged]) -> NDArray[np.bool_]:
    """Per picture: do its labels tell whether anything burns? Not, if there is no box and a class is unlabelled."""
    return np.array([bool(p.labels) or not p.unlabelled for p in pictures], bool)
