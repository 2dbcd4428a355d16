"""Does what a detection shows move? A flame flickers, smoke rolls; a lamp, a red sign, glare on a window do not.

For each detection the camera's `Patch` of the same thing is looked up, a small grey picture of the box as it was up
to `RENEW` ago, and compared with what stands there now. The change is

    least over small shifts of   rms(now - gain x then) / (FLOOR + contrast)     grey levels, each less its own mean

so that a mast that sways, a cloud that dims the whole picture and the noise of a sensor count for little. 0 is the
same, a flame is around 0.5. A thing seen for the first time has no change yet: None. Nor has one in a picture that
is the one before again, bit by bit: a still that is shown once more tells nothing of what moves.

Pure: patches are part of the stage's state, so that a frame handled twice gives the same numbers twice.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND
from pipeline.rules.boxes import SAME, Box, overlap
from pipeline.vision.picture import Picture, cv2

SIDE = 16
"""Pixels a side of a patch."""

SWAY = 2
"""Pixels of a patch by which it may be shifted: an eighth of the box."""

FINE = 3
"""... in so many steps to a pixel of a patch, or pixel by pixel of the picture."""

FLOOR = 8.0
"""Grey levels; below this contrast there is nothing to tell a change by."""

DIM = 1.25
"""The contrast may change up to so many times and count for nothing: dusk, a cloud, the camera's own exposure."""

RENEW = 30 * SECOND
"""A patch is replaced when it is so old: far smoke needs many seconds to differ, and shadows must not."""

MOST = 8
"""Patches kept of one camera, so many of the best detections."""

Detection = tuple[str, float, Box]


class Patch(msgspec.Struct, frozen=True, array_like=True):
    """`grey` is SIDE x SIDE bytes of what stood in `box` at `at`; `newest` marks the newest picture, as a whole."""

    label: str
    at: int
    box: Box
    grey: bytes
    newest: int = -1


def look(
    picture: Picture, found: Sequence[Detection], before: Sequence[Patch], *, at: int, scale: float = 1.0
) -> tuple[list[float | None], list[Patch]]:
    """The change of each detection, None where it is not known; and the patches for the next frame.

    Boxes are in pixels of the stored picture, `picture` is `scale` times as large. Patches whose thing was not
    found this time stay until RENEW, so that a gap in detections does not lose them.
    """
    if not found and not before:
        return [], []
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    mark = zlib.crc32(np.ascontiguousarray(grey).data)
    again = any(patch.newest == mark for patch in before)
    changes: list[float | None] = []
    after: list[Patch] = []
    for label, _score, box in found[:MOST]:
        patch = _of_the_same(label, box, before)
        changes.append(None if patch is None or again else change(grey, patch, scale))
        fresh = patch is not None and abs(at - patch.at) < RENEW
        after.append(patch if patch is not None and fresh else _patch(grey, label, at, box, scale))
    changes += [None] * (len(found) - len(changes))
    after += [p for p in before if abs(at - p.at) < RENEW and p not in after]
    return changes, [msgspec.structs.replace(patch, newest=mark) for patch in _distinct(after)[:MOST]]


def change(grey: NDArray[np.uint8], patch: Patch, scale: float = 1.0) -> float:
    """How much differs now from `patch`, in the place where it was taken."""
    then = np.frombuffer(patch.grey, np.uint8).astype(np.float32)
    shifted = _shifted(grey, patch.box, scale)
    flat = then - then.mean()
    shifted -= shifted.mean(1, keepdims=True)
    gain = np.clip(shifted @ flat / max(float(flat @ flat), 1.0), 1 / DIM, DIM)
    rest = shifted - gain[:, None] * flat
    least = float(np.sqrt(np.square(rest).mean(1).min()))
    return round(least / (FLOOR + float(flat.std())), 4)


def _patch(grey: NDArray[np.uint8], label: str, at: int, box: Box, scale: float) -> Patch:
    return Patch(label, at, box, np.rint(_cut(grey, box, scale)).astype(np.uint8).tobytes())


def _cut(grey: NDArray[np.uint8], box: Box, scale: float) -> NDArray[np.float32]:
    """The box drawn SIDE x SIDE, each pixel the mean of `step` x `step` whole pixels of the picture.

    So the patch shows the box and, for want of a fitting number, at most as much again around it. What lies beyond
    the picture's edge is what the edge shows.
    """
    across, step_x = _pixels(box[0] * scale, box[2] * scale, grey.shape[1])
    down, step_y = _pixels(box[1] * scale, box[3] * scale, grey.shape[0])
    return np.asarray(grey[np.ix_(down, across)].reshape(SIDE, step_y, SIDE, step_x).mean((1, 3)), np.float32)


def _shifted(grey: NDArray[np.uint8], box: Box, scale: float) -> NDArray[np.float32]:
    """[n, SIDE * SIDE]: what `_cut` gives when the picture is moved by up to SWAY pixels of the patch each way."""
    across, step_x = _pixels(box[0] * scale, box[2] * scale, grey.shape[1], SWAY)
    down, step_y = _pixels(box[1] * scale, box[3] * scale, grey.shape[0], SWAY)
    wide = cv2.blur(grey[np.ix_(down, across)].astype(np.float32), (step_x, step_y), anchor=(0, 0))
    return np.stack(
        [
            wide[y : y + SIDE * step_y : step_y, x : x + SIDE * step_x : step_x].ravel()
            for y in range(0, 2 * SWAY * step_y + 1, max(1, step_y // FINE))
            for x in range(0, 2 * SWAY * step_x + 1, max(1, step_x // FINE))
        ]
    )


def _pixels(low: float, high: float, size: int, margin: int = 0) -> tuple[NDArray[np.int64], int]:
    """Rows or columns of the picture that a patch shows, and how many of them make one of its own."""
    step = max(1, math.ceil((high - low) / SIDE))
    first = round((low + high - SIDE * step) / 2) - margin * step
    return np.clip(np.arange(first, first + (SIDE + 2 * margin) * step), 0, size - 1), step


def _of_the_same(label: str, box: Box, patches: Iterable[Patch]) -> Patch | None:
    """The patch of this label that the box overlaps most, if it does by SAME."""
    alike = [(overlap(box, patch.box), patch) for patch in patches if patch.label == label]
    most, patch = max(alike, key=lambda pair: pair[0], default=(0.0, None))
    return patch if most >= SAME else None


def _distinct(patches: Sequence[Patch]) -> list[Patch]:
    """Each once: two detections may be compared with the same patch."""
    return list(dict.fromkeys(patches))
