"""Detections that belong together, and whether what they show moves.

    lively     what is inside the box changes much, or it changes and the box grows: a flame, smoke that rolls
    constant   nothing inside changes, and neither the box nor the score does: a lamp, a red sign, glare
    unclear    anything between, or nobody has measured

All of it from medians over what was seen of late, because boxes jitter, and only where the pictures were compared
(`ScoredFrame.changes`): of boxes alone nothing is ever called constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from pipeline.rules.boxes import Box, area

GLIMPSES = 16
"""Kept over the time that a candidate must last: enough for medians, whatever the frame rate."""

MEASURED = 2
"""Comparisons below which nothing is said."""

GROWN = 1.5
"""Times the area that the box had: it grows."""

SETTLED = 1.3
"""A box whose area has changed less than so many times, and whose middle ..."""

DRIFT = 0.3
"""... has moved by less than so much of its size, stands still."""

SPREAD = 0.2
"""A score whose middle half lies closer together than this is steady."""


class Glimpse(msgspec.Struct, frozen=True, array_like=True):
    """What one frame showed of a candidate."""

    at: int
    box: Box
    score: float
    change: float | None


class Candidate(msgspec.Struct):
    """Detections that belong together. `seen` are times and scores of the frames in sight that had it."""

    first: int
    last: int
    box: Box
    score: float
    best: float
    seen: list[tuple[int, float]]
    missed: int = 0
    start: int = 0
    """When it first reached the open score; 0: not yet."""
    open: bool = False
    place: str = ""
    lacks: tuple[str, str] = ("", "")
    """Until it is open: what it lacked when it was last seen, as a code and a sentence."""
    origin: str = ""
    """Where it was first seen."""
    needed: float = 0.0
    """The open score when it was last seen."""
    mask: str = ""
    constant: bool = False
    told: int = 0
    """When it was last told to be held back; 0: never."""
    glimpses: list[Glimpse] = []

    def see(self, glimpse: Glimpse, every: int) -> None:
        """Take in what a frame shows. `every`: glimpses are kept so many microseconds apart at least."""
        self.seen.append((glimpse.at, glimpse.score))
        self.last, self.box, self.score = glimpse.at, glimpse.box, glimpse.score
        self.best = max(self.best, glimpse.score)
        self.missed = 0
        if not self.glimpses or glimpse.at - self.glimpses[-1].at >= every:
            self.glimpses = [*self.glimpses, glimpse]

    def forget(self, before: int) -> None:
        """What is out of sight no longer counts."""
        self.seen = [seen for seen in self.seen if seen[0] >= before]
        self.glimpses = [glimpse for glimpse in self.glimpses if glimpse.at >= before]


def changing(glimpses: Sequence[Glimpse]) -> float | None:
    """The median change; None where too little was measured."""
    measured = [g.change for g in glimpses if g.change is not None]
    return median(measured) if len(measured) >= MEASURED else None


def growth(glimpses: Sequence[Glimpse]) -> float:
    """Median area of the later half over that of the earlier one; 1 for fewer than four."""
    half = len(glimpses) // 2
    if half < MEASURED:
        return 1.0
    early, late = (median(area(g.box) for g in part) for part in (glimpses[:half], glimpses[-half:]))
    return late / early if early > 0 else 1.0


def settled(glimpses: Sequence[Glimpse]) -> bool:
    """Neither the box nor the score has changed, as far as jitter lets that be told."""
    half = max(1, len(glimpses) // 2)
    early, late = (_middle([g.box for g in part]) for part in (glimpses[:half], glimpses[-half:]))
    size = max(1.0, late[2] - late[0], late[3] - late[1])
    moved = max(abs(a + c - b - d) / 2 for a, b, c, d in zip(early[:2], late[:2], early[2:], late[2:], strict=True))
    scores = sorted(g.score for g in glimpses)
    quarter = len(scores) // 4
    steady = scores[-1 - quarter] - scores[quarter] < SPREAD
    return steady and moved < DRIFT * size and 1 / SETTLED < growth(glimpses) < SETTLED


def is_constant(glimpses: Sequence[Glimpse], still: float) -> bool:
    """`still`: the change below which nothing moves; 0 switches it off."""
    change = changing(glimpses)
    return change is not None and change < still and settled(glimpses)


def is_lively(glimpses: Sequence[Glimpse], still: float, lively: float) -> bool:
    """`lively`: the change from which it does for sure."""
    change = changing(glimpses)
    return change is not None and (change >= lively or (change >= still > 0 and growth(glimpses) >= GROWN))


def _middle(boxes: Sequence[Box]) -> Box:
    """The median of each edge."""
    x1, y1, x2, y2 = (median(edges) for edges in zip(*boxes, strict=True))
    return x1, y1, x2, y2
