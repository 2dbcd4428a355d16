"""Small video files, made where a test needs one."""

from pathlib import Path

import cv2
import numpy as np


def video(path: Path, *, frames: int = 30, size: tuple[int, int] = (640, 480), grey: int | None = None) -> Path:
    """A file of 10 frames/s: noise, or one single shade of grey."""
    chance = np.random.default_rng(1)
    width, height = size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size)
    for _ in range(frames):
        if grey is None:
            writer.write(chance.integers(0, 255, (height, width, 3), np.uint8))
        else:
            writer.write(np.full((height, width, 3), grey, np.uint8))
    writer.release()
    return path
