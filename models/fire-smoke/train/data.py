"""The labelled pictures: read once into memory, split by source, drawn as augmented training samples.

A folder of YOLO labels: `images/*.jpg`, `labels/*.txt` (class, centre x, centre y, width, height; 0 smoke, 1 fire),
`sources.csv` (file, tier, smoke_labelled, fire_labelled ...). A file's source is its prefix up to the first `_`.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SMOKE, FIRE = 0, 1
GREY = 114
MEAN = STD = 127.5
# Held out by source: thresholds are chosen on the first group, the second is only reported.
VALIDATION = ("ab", "df", "atl")
TEST = ("bp", "hod")
FAR = "afm"  # look-out cameras: five of the fifteen views are for testing, see far_test.txt
FAR_TEST_FILE = Path(__file__).with_name("far_test.txt")

Picture = NDArray[np.uint8]  # HxWx3 BGR
Boxes = NDArray[np.float32]  # [n,5] class, x1, y1, x2, y2 in pixels


@dataclass(frozen=True)
class Sample:
    name: str
    image: Picture
    boxes: Boxes
    unlabelled: tuple[int, ...]  # classes that may be seen but have no boxes

    @property
    def source(self) -> str:
        return self.name.split("_")[0]


def load(folder: Path, *, tiers: Sequence[str], long_side: int) -> list[Sample]:
    """All pictures of the given tiers, shrunk so that the longer side is at most `long_side`."""
    with (folder / "sources.csv").open(encoding="utf-8", newline="") as rows:
        return [_read(folder, row, long_side) for row in csv.DictReader(rows) if row["tier"] in tiers]


def _read(folder: Path, row: dict[str, str], long_side: int) -> Sample:
    image = cv2.imread(str(folder / "images" / row["file"]))
    scale = min(1.0, long_side / max(image.shape[:2]))
    if scale < 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    label = (folder / "labels" / row["file"]).with_suffix(".txt")
    numbers = np.array(label.read_text().split(), np.float32).reshape(-1, 5)
    missing = [c for c, key in ((SMOKE, "smoke_labelled"), (FIRE, "fire_labelled")) if row[key] != "1"]
    return Sample(Path(row["file"]).stem, image, _corners(numbers, image), tuple(missing))


def _corners(numbers: Boxes, image: Picture) -> Boxes:
    height, width = image.shape[:2]
    size = np.array([width, height], np.float32)
    low, high = (numbers[:, 1:3] - numbers[:, 3:5] / 2) * size, (numbers[:, 1:3] + numbers[:, 3:5] / 2) * size
    return np.concatenate([numbers[:, :1], low, high], 1).astype(np.float32)


def use(sample: Sample) -> str:
    return use_of(sample.name)


def use_of(name: str) -> str:
    """training, validation, test or far test, by a picture's name without its ending. No source serves two of them,
    but for the far views."""
    source = name.split("_")[0]
    if source in VALIDATION:
        return "validation"
    if source in TEST:
        return "test"
    return "far test" if name in _far_test() else "training"


@functools.cache
def _far_test() -> frozenset[str]:
    lines = FAR_TEST_FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def letterbox(image: Picture, size: int) -> tuple[Picture, float, tuple[int, int]]:
    """The picture centred on a grey square: (square, scale, (left, top))."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - wide) // 2, (size - high) // 2
    square = np.full((size, size, 3), GREY, np.uint8)
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=mode)
    return square, scale, (left, top)
