"""A model is tried on a picture that is not square, and what it says is looked at: what is wrong, in words.

A wrong layout seldom fails; it gives boxes that mean nothing. Each finding names the key that most likely mends it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Detections
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.families import Raw
from pipeline.vision.picture import Picture, cv2

WARM_UPS, RUNS = 2, 12
MANY, OUTSIDE, TINY = 1000, 0.9, 2.0
MIB = 1024
SIZE = (1280, 720)


@dataclass(frozen=True)
class Report:
    """Milliseconds of whole `detect` calls, the process's peak memory in MiB, what was found, what looks wrong."""

    median_ms: float
    p95_ms: float
    peak_mib: float
    found: Detections
    wrong: list[str]


def examine(detector: OnnxDetector, image: Picture) -> Report:
    raw, _ = detector.raw(image)
    times = []
    for turn in range(WARM_UPS + RUNS):
        begun = time.perf_counter()
        (found,) = detector.detect([image])
        if turn >= WARM_UPS:
            times.append((time.perf_counter() - begun) * 1000)
    other, _ = detector.raw(np.zeros_like(image))
    wrong = [words for check in CHECKS if (words := check(raw, detector))]
    if same(raw, other):
        wrong.append("a black picture gives exactly the same answer: the model does not see what it is given")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    return Report(float(np.median(times)), float(np.percentile(times, 95)), peak, found, wrong)


def same(one: Raw, other: Raw) -> bool:
    if one.scores.shape != other.scores.shape or not one.scores.size or not one.scores.any():
        return False
    return np.array_equal(one.scores, other.scores) and np.array_equal(one.boxes, other.boxes)


# ---------------------------------------------------------------- what may be wrong


def not_numbers(raw: Raw, _: OnnxDetector) -> str:
    bad = int((~np.isfinite(raw.scores)).sum() + (~np.isfinite(raw.boxes)).any(-1).sum())
    return (
        f"{bad} scores or boxes are not numbers: float16 that overflowed, or input.mean and input.std"
        if bad
        else ""
    )


def scores_outside(raw: Raw, _: OnnxDetector) -> str:
    if not raw.scores.size or (np.nanmin(raw.scores) >= 0 and np.nanmax(raw.scores) <= 1):
        return ""
    low, high = np.nanmin(raw.scores), np.nanmax(raw.scores)
    return f'scores run from {low:.3g} to {high:.3g}, not 0 to 1: output.activation="sigmoid" or another family'


def many(raw: Raw, detector: OnnxDetector) -> str:
    count = int((confident(raw, detector)).sum())
    if count <= MANY and not (len(raw.scores) >= MANY and count > len(raw.scores) / 2):
        return ""
    return (
        f"{count} of {len(raw.scores)} boxes pass their thresholds: scores already had a sigmoid, or another family"
    )


def outside(raw: Raw, detector: OnnxDetector) -> str:
    boxes = raw.boxes[confident(raw, detector)]
    if not len(boxes):
        return ""
    edge = np.array([detector.card.input.width, detector.card.input.height] * 2, np.float32)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    share = float(((middles < 0) | (middles > edge[:2])).any(1).mean())
    return (
        f"{share:.0%} of the boxes lie outside the picture: output.boxes or output.unit" if share >= OUTSIDE else ""
    )


def tiny(raw: Raw, detector: OnnxDetector) -> str:
    boxes = raw.boxes[confident(raw, detector)]
    if not len(boxes) or not (np.abs(boxes) < TINY).all():
        return ""
    return 'all boxes lie within 2 pixels of the corner: output.unit="unit", or family="yolox" for a raw grid'


def inverted(raw: Raw, detector: OnnxDetector) -> str:
    boxes = raw.boxes[confident(raw, detector)]
    share = float((boxes[:, 2:] <= boxes[:, :2]).any(1).mean()) if len(boxes) else 0.0
    return (
        f'{share:.0%} of the boxes end before they begin: output.boxes="cxcywh" or "yxyx"' if share >= 0.3 else ""
    )


def one_place(raw: Raw, detector: OnnxDetector) -> str:
    boxes = raw.boxes[confident(raw, detector)]
    whole = detector.card.family.startswith("classify")
    if whole or len(boxes) < 10 or np.ptp(boxes, axis=0).max() > TINY:
        return ""
    return f"all {len(boxes)} boxes lie in the same place: another family, or the model was not trained"


def flat(raw: Raw, _: OnnxDetector) -> str:
    if raw.scores.size < 100 or np.ptp(raw.scores) > 1e-6 or not raw.scores.any():
        return ""
    return f"every score is {raw.scores.flat[0]:.3g}: input.mean and input.std, or output.activation set twice"


CHECKS: tuple[Callable[[Raw, OnnxDetector], str], ...] = (
    not_numbers,
    scores_outside,
    many,
    outside,
    tiny,
    inverted,
    one_place,
    flat,
)


def confident(raw: Raw, detector: OnnxDetector) -> NDArray[np.bool_]:
    """Rows whose best class passes its threshold."""
    least = np.array([min(detector.thresholds[label], 1.0) for label in detector.card.classes], np.float32)
    return np.asarray((raw.scores >= least).any(1), np.bool_)


# ---------------------------------------------------------------- pictures


def scene() -> Picture:
    """A hill under a sky, a grey plume over it and a flame at its foot: 1280 x 720, drawn, always the same."""
    width, height = SIZE
    down, across = np.mgrid[:height, :width]
    sky = np.stack([235 - down / 6, 205 - down / 5, 170 - down / 5], -1)
    ridge = 430 + 60 * np.sin(across / 170) + 25 * np.sin(across / 47)
    image = np.where((down > ridge)[..., None], np.array([40, 78, 52]) + (across[..., None] % 7), sky)
    for x, y, radius, colour in _puffs():
        near = np.exp(-(((across - x) ** 2 + (down - y) ** 2) / (2 * radius**2)))[..., None]
        image = image * (1 - 0.8 * near) + np.array(colour) * 0.8 * near
    return np.ascontiguousarray(np.clip(image, 0, 255), np.uint8)


def _puffs() -> Iterator[tuple[float, float, float, tuple[int, int, int]]]:
    for step in range(9):
        yield 820 + 9 * step**1.5, 400 - 34 * step, 16 + 6 * step, (196, 192, 190)
    for step in range(4):
        yield 806 + 10 * step, 432 - 6 * (step % 2), 11, (20, 120, 255)


def drawn(image: Picture, found: Detections, thresholds: dict[str, float], target: Path) -> None:
    """A PNG of the picture: what passes its threshold in a strong line, the rest (at most 50) in a thin one."""
    copy, line = image.copy(), max(2, max(image.shape) // 500)
    for rank, (label, score, box) in enumerate(found):
        strong = score >= thresholds[label]
        if not strong and rank >= 50:
            break
        x1, y1, x2, y2 = (int(v) for v in box)
        colour = (0, 60, 255) if strong else (160, 160, 160)
        cv2.rectangle(copy, (x1, y1), (x2, y2), colour, line if strong else 1)
        cv2.putText(copy, f"{label} {score:.2f}", (x1, max(14, y1 - 5)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), copy)
