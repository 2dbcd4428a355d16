"""Boxes in a picture: which lie near each other, and where they are."""

from __future__ import annotations

from pipeline.message import ScoredFrame

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the picture."""

NEAR = 0.5
"""Boxes belong together when they meet after each is widened by this part of its size on every side."""

MARGIN = 0.02
"""... and by this part of the picture: small things far away move by more than their own size."""

SAME = 0.5
"""Overlap (intersection over union) from which two boxes show the same thing in the same place."""


def near(a: Box, b: Box, frame: ScoredFrame) -> bool:
    a, b = _widened(a, frame), _widened(b, frame)
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _widened(box: Box, frame: ScoredFrame) -> Box:
    dx = NEAR * (box[2] - box[0]) + MARGIN * frame.width
    dy = NEAR * (box[3] - box[1]) + MARGIN * frame.height
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy


def place(box: Box, frame: ScoredFrame) -> str:
    """The middle of the box, as a part of the picture: `62% across, 40% down`."""
    across = (box[0] + box[2]) / 2 / frame.width
    down = (box[1] + box[3]) / 2 / frame.height
    return f"{across:.0%} across, {down:.0%} down"


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1; empty boxes overlap nothing."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    whole = area(a) + area(b) - shared
    return shared / whole if whole > 0 else 0.0


def area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
