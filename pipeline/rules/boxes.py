"""Boxes in a picture: which lie near each other, and where they are."""

from __future__ import annotations

from pipeline.message import ScoredFrame

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the picture."""

NEAR = 0.5
"""Boxes belong together when they meet after each is widened by this part of its size on every side."""

MARGIN = 0.02
"""... and by this part of the picture: small things far away move by more than their own size."""


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
