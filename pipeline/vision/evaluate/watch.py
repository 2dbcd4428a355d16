"""A clip on disk through what the workers do: decode, detect, the sighting rules, in event time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import replay
from pipeline.message import SECOND, Change, Detections, ScoredFrame
from pipeline.ports import UserError
from pipeline.rules.config import RuleSet
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate.clips import Raised, Watched
from pipeline.vision.evaluate.figures import Done, idle

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts"})
EVERY_S = 0.2
"""Event time between two frames that are scored, at the least."""
START = 946_684_800 * SECOND
"""2000-01-01: clips carry no time of their own."""


class Timed:
    """A detector that notes how long it takes, in milliseconds. Satisfies `pipeline.ports.Detector`."""

    def __init__(self, detector: OnnxDetector) -> None:
        self._detector = detector
        self.took: list[float] = []

    @property
    def model(self) -> str:
        return self._detector.model

    @property
    def thresholds(self) -> dict[str, float]:
        return self._detector.thresholds

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        begun = time.perf_counter()
        found = self._detector.detect(images)
        self.took.append((time.perf_counter() - begun) * 1000)
        return found


def clip_files(folder: Path) -> list[Path]:
    """In order of name. UserError when there is no such folder or no clip in it."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: name the one that holds the clips")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise UserError(f"no clips ({', '.join(sorted(SUFFIXES))}) in {folder}")
    return found


def watch(
    clip: Path,
    detector: OnnxDetector,
    rules: RuleSet,
    *,
    every_s: float = EVERY_S,
    frame_s: float | None = None,
    done: Done = idle,
) -> Watched:
    """`frame_s`: seconds of event time from one frame to the next, for time lapse. UserError: no video."""
    rate = replay.frame_rate(clip)
    pace = 1.0 if frame_s is None else frame_s * rate
    timed, last = Timed(detector), deque[int](maxlen=1)
    frames = replay.scored_frames(clip, timed, start=START, every_s=every_s, pace=pace, done=done)
    alarms = _alarms(_noted(frames, last), rules, detector.thresholds)
    if not last:
        raise UserError(f"{clip} has no frame that can be decoded: is it cut?")
    length = (last[0] - START) / SECOND + pace / rate
    return Watched(clip.name, tuple(detector.card.classes), alarms, round(length, 3), pace, tuple(timed.took))


def _noted(frames: Iterable[ScoredFrame], last: deque[int]) -> Iterator[ScoredFrame]:
    """The frames as they come, none kept: a clip may be a day long."""
    for frame in frames:
        last.append(frame.at)
        yield frame


def _alarms(frames: Iterable[ScoredFrame], rules: RuleSet, thresholds: dict[str, float]) -> tuple[Raised, ...]:
    said = replay.replay_frames(frames, rules, thresholds)
    return tuple(
        Raised((s.at - START) / SECOND, str(s.evidence["label"]), s.rule, s.reason)
        for s in said
        if s.change is Change.BEGAN and "label" in s.evidence
    )
