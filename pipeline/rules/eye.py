"""What a rule remembers of a camera's pictures, and how it compares the newest with them.

    exact repeats   the mark of the last picture, since when it is the same
    stillness       the picture since which (nearly) nothing has changed, and how much usually changes
    detail          how much structure each block of the picture has by daylight
    edges           where the edges are: the view, learned slowly, whatever the light
    sharpness       up to 64 samples over the last day, by day and by night
    light           when each hour of the day was last seen in daylight

Nothing is learned while the camera is suspected of being blind. Of each camera about 20 kB are kept, whatever its
frame rate: pictures that follow each other faster than `EVERY` are judged as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND, Look

EVERY = SECOND * 2 // 5
HOUR = 3600 * SECOND
THUMB, BLOCKS = (36, 64), 144
STRUCTURED, CLEAR = 12, 20
"""Eighths of a grey level, `Look.detail` of a block: something is in it, less may be what noise leaves; much is."""

FLAT = 3
"""Grey levels of contrast below which nothing stands out, however much detail noise and coding pretend."""

DAY_MEAN, DAY_DARK = 60, 0.3
"""A daylight picture is at least this light, and at most this part of it nearly black: lamps light no sky."""

LEARN_VIEW, LEARN_DETAIL, FADE_DETAIL = 1800 * SECOND, 60 * SECOND, 86_400 * SECOND
SAMPLES = 64
NEAR_CELLS = 2
"""Cells of the thumbnail (1/64 of the width) by which a view may shift without having moved: wind, rounding."""

Floats = NDArray[np.float32]
Grey = NDArray[np.uint8]


class Samples(msgspec.Struct):
    """Values over the last day: when full, every second one goes and the next come half as often."""

    rows: list[tuple[int, float]] = []
    every: int = SECOND // 2

    def add(self, at: int, value: float) -> None:
        if self.rows and at - self.rows[-1][0] < self.every:
            return
        self.rows = [row for row in self.rows if at - row[0] <= 24 * HOUR] + [(at, value)]
        if len(self.rows) >= SAMPLES:
            self.rows = self.rows[1::2]
            self.every *= 2


class Eye(msgspec.Struct):
    """One camera. Times are event times in microseconds, 0 for never; arrays are empty until there is something."""

    at: int = 0
    gap: int = 0
    size: tuple[int, int] = (0, 0)
    mark: str = ""
    same_since: int = 0
    same_frames: int = 0
    thumb: bytes = b""
    grain: bytes = b""
    anchor_thumb: bytes = b""
    anchor_grain: bytes = b""
    still_since: int = 0
    still_frames: int = 0
    stopped: bool = False
    step: float = 0.0
    steps: int = 0
    lively: float = 0.0
    jumped_at: int = 0
    dark_since: int = 0
    day_at: int = 0
    clear_at: int = 0
    clear_mean: float = 0.0
    hidden: int = 0
    detail: np.ndarray = msgspec.field(default_factory=lambda: np.empty(0, np.float32))
    edges: np.ndarray = msgspec.field(default_factory=lambda: np.empty(0, np.float32))
    learned: int = 0
    like_at: int = 0
    settled: int = 0
    usual: dict[str, Samples] = {}
    days: list[int] = msgspec.field(default_factory=lambda: [0] * 24)


@dataclass(frozen=True, slots=True)
class View:
    """The newest picture against the learned view: likeness -1 to 1 in place, the best elsewhere, and where.

    `shift` is (right, down) in parts of the picture's width and height by which its content has gone.
    """

    here: float
    elsewhere: float
    shift: tuple[float, float]


def daylight(look: Look) -> bool:
    return look.mean >= DAY_MEAN and look.dark <= DAY_DARK


def nothing_in_it(look: Look) -> bool:
    """Dark, and without any light or outline: averaged over the thumbnail's cells even strong noise is flat."""
    return look.mean < 24 and look.contrast < FLAT and int(np.percentile(grey(look.thumb), 99.5)) < 40


def grey(data: bytes) -> Grey:
    return np.frombuffer(data, np.uint8)


def structured(look: Look) -> int:
    """Blocks of 144 in which something can be seen."""
    return int((grey(look.detail) >= STRUCTURED).sum())


# ---------------------------------------------------------------- repetition and stillness


def repeat(eye: Eye, look: Look, at: int) -> None:
    """Count exact repeats."""
    if look.mark != eye.mark:
        eye.mark, eye.same_since, eye.same_frames = look.mark, at, 0
    eye.same_frames += 1


def stillness(eye: Eye, look: Look, at: int) -> None:
    """Count pictures in which nearly nothing differs from the first of them.

    `stopped` tells that a picture that used to change stopped from one frame to the next, with no change of the
    light about that time (a camera that turns to its night mode also smooths its noise from then on).
    """
    if eye.thumb:
        jump = float(np.abs(_difference(eye.thumb, look.thumb)).mean())
        eye.jumped_at = at if jump > 4 else eye.jumped_at
    step = float(np.abs(_difference(eye.grain, look.grain)).mean()) if eye.grain else 0.0
    if eye.anchor_thumb and _alike(eye, look):
        if eye.still_frames == 1:
            calm = at - eye.jumped_at > max(60 * SECOND, 10 * eye.gap)
            eye.stopped = eye.steps >= 5 and eye.step >= 1.0 and step <= 0.4 * eye.step and calm
            eye.lively = eye.step
        eye.still_frames += 1
    else:
        eye.anchor_thumb, eye.anchor_grain = look.thumb, look.grain
        eye.still_since, eye.still_frames, eye.stopped = at, 1, False
    if eye.grain:
        eye.step += (step - eye.step) * (0.2 if eye.steps else 1.0)
        eye.steps += 1
    eye.thumb, eye.grain = look.thumb, look.grain


def _alike(eye: Eye, look: Look) -> bool:
    """All but 3 % of the picture: the clock that many cameras write into it may go on."""
    grain = np.abs(_difference(eye.anchor_grain, look.grain))
    cells = np.abs(_difference(eye.anchor_thumb, look.thumb))
    most = np.sort(grain)[: int(len(grain) * 0.97)]
    return bool((grain > 2).mean() <= 0.03 and (cells > 1).mean() <= 0.03 and most.mean() <= 0.7)


def _difference(a: bytes, b: bytes) -> NDArray[np.int16]:
    return grey(a).astype(np.int16) - grey(b)


# ---------------------------------------------------------------- what is learned


def hidden_share(eye: Eye, look: Look) -> float | None:
    """Part of the blocks that had structure and have lost it; None where too few had any.

    In half the light structure has half the contrast: that alone is no loss. Noise does not dim with the light.
    """
    known = eye.detail >= CLEAR
    if not eye.detail.size or int(known.sum()) < 24:
        return None
    if look.contrast < FLAT:
        return 1.0
    light = min(1.0, look.mean / max(eye.clear_mean, 1.0)) if eye.clear_mean else 1.0
    lost = grey(look.detail)[known] < np.maximum(light * 0.35 * eye.detail[known], STRUCTURED)
    return float(lost.mean())


def outline(thumb: bytes) -> Floats:
    """Where the edges are, 36 x 64: each edge relative to those about it, so that light and contrast fall out."""
    picture = grey(thumb).reshape(THUMB).astype(np.float32)
    down, right = np.gradient(picture)
    strength = np.hypot(down, right)
    about = _mean5(_mean5(strength))
    return np.asarray(strength / (about + 1.0), np.float32)


def _mean5(values: Any) -> Floats:
    padded = np.pad(values, 2, mode="edge")
    rows = np.add.reduce([padded[i : i + values.shape[0]] for i in range(5)])
    return np.asarray(np.add.reduce([rows[:, i : i + values.shape[1]] for i in range(5)]) / 25, np.float32)


def view(eye: Eye, edges: Floats) -> View | None:
    """The newest edges against the learned ones, by cross-correlation; None before any are learned."""
    if not eye.edges.size:
        return None
    table = _correlation(eye.edges.astype(np.float32), edges)
    rows, columns = (np.minimum(np.arange(n), n - np.arange(n)) for n in THUMB)
    near = (rows[:, None] <= NEAR_CELLS) & (columns[None, :] <= NEAR_CELLS)
    far = np.where(near, -1.0, table)
    row, column = np.unravel_index(int(far.argmax()), THUMB)
    down, right = (int(v) - n if v > n // 2 else int(v) for v, n in zip((row, column), THUMB, strict=True))
    return View(float(table[near].max()), float(far.max()), (right / THUMB[1], down / THUMB[0]))


def _correlation(a: Floats, b: Floats) -> Floats:
    """Normalised circular cross-correlation: at [y, x] how alike they are if `b` is `a` gone down y, right x."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum())) or 1.0
    product = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), THUMB)
    return np.asarray(product / size, np.float32)


def learn(eye: Eye, look: Look, edges: Floats, at: int) -> None:
    """Take a picture that nothing is wrong with into what the camera usually looks like."""
    passed = min(max(at - eye.at, 0), 60 * SECOND) if eye.at else 0
    _learn_view(eye, edges, passed)
    if daylight(look):
        _learn_detail(eye, look, passed)
        eye.days[at // HOUR % 24] = at
    for name in ("sharpness", "contrast"):
        if look.sharpness is not None:
            eye.usual.setdefault(f"{name} {light(look)}", Samples()).add(at, getattr(look, name))


def light(look: Look) -> str:
    return "day" if daylight(look) else "night"


def usual(eye: Eye, look: Look, name: str) -> tuple[float, float] | None:
    """10th and 90th percentile of a number of the look in this light; None while little is known."""
    samples = eye.usual.get(f"{name} {light(look)}")
    if samples is None or len(samples.rows) < 8:
        return None
    low, high = np.percentile([value for _at, value in samples.rows], (10, 90))
    return float(low), float(high)


def _learn_view(eye: Eye, edges: Floats, passed: int) -> None:
    eye.learned += 1
    if not eye.edges.size:
        eye.edges = edges.astype(np.float16)
        return
    weight = max(passed / LEARN_VIEW, 1 / eye.learned if eye.learned <= 50 else 0.0)
    eye.edges = ((1 - weight) * eye.edges + weight * edges).astype(np.float16)


def _learn_detail(eye: Eye, look: Look, passed: int) -> None:
    """Up within a minute, as when fog lifts; down over a day, as when snow falls on the land."""
    now = grey(look.detail).astype(np.float32)
    if not eye.detail.size:
        eye.detail = now
        return
    weight = np.where(now > eye.detail, passed / LEARN_DETAIL, passed / FADE_DETAIL)
    eye.detail = np.asarray(eye.detail + np.minimum(weight, 1.0) * (now - eye.detail), np.float32)


def forget_view(eye: Eye) -> None:
    """The camera looks elsewhere from now on."""
    eye.edges = eye.detail = np.empty(0, np.float32)
    eye.learned = eye.settled = eye.hidden = 0
    eye.usual = {}
