"""What a sighting rule works with: the terms, what it knows of each camera, and one frame as it sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from pipeline.message import SECOND, HeldBack, ScoredFrame
from pipeline.rules.boxes import Box
from pipeline.rules.candidate import Candidate, Glimpse

KEPT_BACK, KEPT_TOLD = 20, 256
"""Held back: shown with the next alarm of the camera, and kept until somebody takes it to record it."""


class Confirmation(msgspec.Struct, frozen=True):
    """What makes an episode. Times in microseconds, scores 0..1.

    `still` and `lively`: changes (see `vision.motion`) below which a candidate does not move, and from which it
    does; one that does must last `lively_persist` of `persist`. `cooldown`: after an episode none there so long.
    """

    label: str
    open_score: float
    hold_score: float
    persist: int
    min_hits: int
    min_share: float
    close: int
    close_frames: int
    max_gap: int
    still: float = 0.1
    lively: float = 0.3
    lively_persist: float = 0.7
    cooldown: int = 0

    @property
    def least_frames(self) -> int:
        """Frames always in sight, however far apart they are."""
        return math.ceil(self.min_hits / self.min_share)

    def in_seconds(self) -> dict[str, Any]:
        """As it stands in evidence."""
        plain = msgspec.to_builtins(self)
        times = {f"{name}_s": plain.pop(name) / SECOND for name in ("persist", "close", "max_gap", "cooldown")}
        return {**plain, **times}


class Camera(msgspec.Struct):
    """`frames`: times of the frames in sight, ascending; `ended` when and where episodes ended, if cooling."""

    frames: list[int] = []
    candidates: list[Candidate] = []
    held_back: list[HeldBack] = []
    ended: list[tuple[int, Box]] = []


class State(msgspec.Struct):
    """By camera. `passed_over` counts frames out of order or with a stamp from the future.

    `told` is what was held back since `take_held_back` was last called, to be recorded.
    """

    cameras: dict[str, Camera]
    passed_over: int = 0
    told: list[HeldBack] = []


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame, the camera it is of, and the terms that hold for it."""

    state: State
    camera: Camera
    frame: ScoredFrame
    rule: Confirmation

    def glimpses(self) -> list[Glimpse]:
        """The detections of the rule's label that at least hold an episode, best first."""
        frame = self.frame
        changes = frame.changes or [None] * len(frame.detections)
        found = [
            Glimpse(frame.at, box, score, change)
            for (label, score, box), change in zip(frame.detections, changes, strict=True)
            if label == self.rule.label and score >= self.rule.hold_score
        ]
        return sorted(found, key=lambda g: (-g.score, g.box))


def held_back(state: State, camera: str) -> list[HeldBack]:
    """The newest candidates of a camera that came to nothing, oldest first."""
    return state.cameras[camera].held_back if camera in state.cameras else []


def take_held_back(state: object) -> list[HeldBack]:
    """What a sighting rule has held back since this was last called; nothing for the state of another rule."""
    if not isinstance(state, State):
        return []
    told, state.told = state.told, []
    return told
