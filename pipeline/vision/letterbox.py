"""Where a picture lies in a model's input, there and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.message import Float32s
from pipeline.vision.card import Input


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the model's input. Scales differ a hair, because whole pixels are drawn."""

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def fit(width: int, height: int, wanted: Input) -> Letterbox:
        """As large as fits, proportions kept, in the middle or at the top left; or stretched to the whole input."""
        if wanted.fit == "stretch":
            return Letterbox(wanted.width / width, wanted.height / height, 0, 0, wanted.width, wanted.height)
        scale = min(wanted.width / width, wanted.height / height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (wanted.width - wide) // 2, (wanted.height - high) // 2
        if wanted.fit == "top-left":
            left = top = 0
        return Letterbox(wide / width, high / height, left, top, wide, high)

    def to_picture(self, boxes: Float32s, width: int, height: int) -> Float32s:
        """Corners [n,4] in input pixels → pixels of the picture, cut at its edges."""
        shift = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        edge = np.array([width, height] * 2, np.float32)
        return np.asarray(np.clip((boxes - shift) / scale, 0, edge), np.float32)
