"""Fire and smoke, confirmed before anyone is woken.

Detections of one label that lie near each other, frame after frame, form a candidate. A candidate becomes an
episode when, in event time,

    it has lasted `persist`, `min_hits` frames reached the open score, and `min_share` of the frames in sight had it

and ends when it is absent (no detection at the hold score) for `close` and for `close_frames` frames. A camera that
sends nothing neither confirms nor ends anything; after `max_gap` without a frame, confirming begins anew. In sight
are the frames of the last `persist`, and always enough frames to count `min_hits` at `min_share`, so the same rule
works at 30 frames a second and at a frame a minute. A candidate that ends without becoming an episode is kept as
held back, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.message import SECOND, Change, ScoredFrame, Signal
from pipeline.rules.boxes import Box, near, place
from pipeline.rules.head import Head, spell_s

FUTURE = 300 * SECOND
"""A frame stamped later than this after its arrival is passed over: one false stamp must not blind a camera."""

MAX_CANDIDATES = 16
KEPT_BACK = 20


class Confirmation(msgspec.Struct, frozen=True):
    """What makes an episode. Times in microseconds, scores 0..1."""

    label: str
    open_score: float
    hold_score: float
    persist: int
    min_hits: int
    min_share: float
    close: int
    close_frames: int
    max_gap: int

    @property
    def least_frames(self) -> int:
        """Frames always in sight, however far apart they are."""
        return math.ceil(self.min_hits / self.min_share)

    def in_seconds(self) -> dict[str, Any]:
        """As it stands in evidence."""
        plain = msgspec.to_builtins(self)
        times = {f"{name}_s": plain.pop(name) / SECOND for name in ("persist", "close", "max_gap")}
        return {**plain, **times}


class Candidate(msgspec.Struct):
    """Detections that belong together. `seen` are times and scores of the frames in sight that had it."""

    first: int
    last: int
    box: Box
    score: float
    best: float
    seen: list[tuple[int, float]]
    missed: int = 0
    start: int = 0
    """When it first reached the open score; 0: not yet."""
    open: bool = False
    place: str = ""
    lacks: tuple[str, str] = ("", "")
    """Until it is open: what it lacked when it was last seen, as a code and a sentence."""


class HeldBack(msgspec.Struct):
    """A candidate that came to nothing. `reason` is score, hits, share, persistence or gap."""

    first: int
    last: int
    box: Box
    best: float
    reason: str
    detail: str


class Camera(msgspec.Struct):
    """`frames` are times of the frames in sight, ascending."""

    frames: list[int] = []
    candidates: list[Candidate] = []
    held_back: list[HeldBack] = []


class State(msgspec.Struct):
    """By camera. `passed_over` counts frames out of order or with a stamp from the future."""

    cameras: dict[str, Camera]
    passed_over: int = 0


class Sighting:
    """One label under one rule. Satisfies `pipeline.ports.Rule` for `Sequence[ScoredFrame]`."""

    def __init__(self, head: Head, confirmation: Confirmation) -> None:
        self.name = head.name
        self._head, self._rule = head, confirmation

    def initial(self) -> State:
        return State({})

    def step(self, state: State, batch: Sequence[ScoredFrame]) -> tuple[State, list[Signal]]:
        signals: list[Signal] = []
        for frame in batch:
            if self._head.scope.covers(frame.camera):
                signals += self._frame(state, frame)
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: without frames nobody knows whether it still burns."""
        return state, []

    # -------------------------------------------------------------- one frame

    def _frame(self, state: State, frame: ScoredFrame) -> list[Signal]:
        camera = state.cameras.setdefault(frame.camera, Camera())
        if (camera.frames and frame.at <= camera.frames[-1]) or frame.at - frame.received > FUTURE:
            state.passed_over += 1
            return []
        self._after_gap(camera, frame.at)
        camera.frames.append(frame.at)
        del camera.frames[: self._out_of_sight(camera.frames)]
        hit = self._associate(camera, frame)
        signals: list[Signal] = []
        for candidate in list(camera.candidates):
            signals += self._judge(camera, candidate, frame, id(candidate) in hit)
        return signals

    def _after_gap(self, camera: Camera, at: int) -> None:
        """Nothing seen before a long gap helps to confirm what is seen after it."""
        if not camera.frames or at - camera.frames[-1] <= self._rule.max_gap:
            return
        detail = f"no frame for {spell_s(at - camera.frames[-1])}"
        for candidate in [c for c in camera.candidates if not c.open]:
            self._hold_back(camera, candidate, "gap", detail)
        camera.frames.clear()

    def _out_of_sight(self, frames: list[int]) -> int:
        """How many of the oldest frames no longer count."""
        enough = len(frames) - self._rule.least_frames
        horizon = frames[-1] - self._rule.persist
        return next((i for i, at in enumerate(frames) if at >= horizon or i >= enough), 0)

    def _associate(self, camera: Camera, frame: ScoredFrame) -> set[int]:
        """Give each detection to the candidate it lies near, open ones first, or make it a new one."""
        rule, hit = self._rule, set()
        found = [d for d in frame.detections if d[0] == rule.label and d[1] >= rule.hold_score]
        for _label, score, box in sorted(found, key=lambda d: (-d[1], d[2])):
            candidate = next((c for c in _by_rank(camera) if near(c.box, box, frame)), None)
            if candidate is None:
                if len(camera.candidates) >= MAX_CANDIDATES:
                    continue
                candidate = Candidate(frame.at, frame.at, box, score, score, [])
                camera.candidates.append(candidate)
            if id(candidate) not in hit:  # the best detection of this frame comes first and stands for it
                hit.add(id(candidate))
                self._see(candidate, frame.at, score, box)
        return hit

    def _see(self, candidate: Candidate, at: int, score: float, box: Box) -> None:
        candidate.seen.append((at, score))
        candidate.last, candidate.box, candidate.score = at, box, score
        candidate.best = max(candidate.best, score)
        candidate.missed = 0
        if not candidate.start and score >= self._rule.open_score:
            candidate.start = at

    def _judge(self, camera: Camera, candidate: Candidate, frame: ScoredFrame, hit: bool) -> list[Signal]:
        candidate.seen = [seen for seen in candidate.seen if seen[0] >= camera.frames[0]]
        if not hit:
            candidate.missed += 1
            absent = frame.at - candidate.last >= self._rule.close and candidate.missed >= self._rule.close_frames
            return self._leave(camera, candidate, frame) if absent else []
        if candidate.open:
            return []
        lacks = self._lacks(camera, candidate)
        if lacks:
            candidate.lacks = lacks
            return []
        candidate.open = True
        candidate.place = place(candidate.box, frame)
        return [self._began(camera, candidate, frame)]

    def _lacks(self, camera: Camera, candidate: Candidate) -> tuple[str, str] | None:
        """Why a candidate is not an episode: a code and a sentence; None if it is one."""
        rule = self._rule
        if not candidate.start:
            return "score", f"best score {candidate.best:.2f}, {rule.open_score:.2f} needed"
        strong = sum(score >= rule.open_score for _at, score in candidate.seen)
        if strong < rule.min_hits:
            return "hits", f"{strong} frames at {rule.open_score:.2f} or more, {rule.min_hits} needed"
        share = len(candidate.seen) / len(camera.frames)
        if share < rule.min_share:
            return "share", f"in {share:.0%} of the frames, {rule.min_share:.0%} needed"
        lasted = candidate.last - candidate.start
        if lasted < rule.persist:
            return "persistence", f"lasted {spell_s(lasted)}, {spell_s(rule.persist)} needed"
        return None

    def _leave(self, camera: Camera, candidate: Candidate, frame: ScoredFrame) -> list[Signal]:
        if candidate.open:
            camera.candidates.remove(candidate)
            return [self._ended(candidate, frame)]
        self._hold_back(camera, candidate, *candidate.lacks)
        return []

    def _hold_back(self, camera: Camera, candidate: Candidate, reason: str, detail: str) -> None:
        camera.candidates.remove(candidate)
        held = HeldBack(candidate.first, candidate.last, candidate.box, candidate.best, reason, detail)
        camera.held_back = [*camera.held_back, held][-KEPT_BACK:]

    # -------------------------------------------------------------- words

    def _began(self, camera: Camera, candidate: Candidate, frame: ScoredFrame) -> Signal:
        rule = self._rule
        strong = sum(score >= rule.open_score for _at, score in candidate.seen)
        return self._head.signal(
            Change.BEGAN,
            frame.camera,
            at=frame.at,
            start=candidate.start,
            place=candidate.place,
            reason=f"{frame.camera} has seen {rule.label} for {spell_s(frame.at - candidate.start)} "
            f"at {candidate.place} of the picture: in {len(candidate.seen)} of {len(camera.frames)} frames, "
            f"score {candidate.score:.2f}, best {candidate.best:.2f}, {rule.open_score:.2f} needed",
            **self._evidence(candidate, frame),
            in_sight=len(camera.frames),
            hits=len(candidate.seen),
            strong=strong,
            held_back=[msgspec.to_builtins(h) for h in camera.held_back],
        )

    def _ended(self, candidate: Candidate, frame: ScoredFrame) -> Signal:
        rule = self._rule
        return self._head.signal(
            Change.ENDED,
            frame.camera,
            at=frame.at,
            start=candidate.start,
            place=candidate.place,
            reason=f"{frame.camera} has seen no {rule.label} at {candidate.place} of the picture for "
            f"{spell_s(frame.at - candidate.last)} and {candidate.missed} frames",
            **self._evidence(candidate, frame),
        )

    def _evidence(self, candidate: Candidate, frame: ScoredFrame) -> dict[str, Any]:
        return {
            "camera": frame.camera,
            "label": self._rule.label,
            "model": frame.model,
            "clock": frame.clock.name.lower(),
            "size": [frame.width, frame.height],
            "box": [round(v, 1) for v in candidate.box],
            "score": round(candidate.score, 4),
            "best": round(candidate.best, 4),
            "first": candidate.start,
            "last": candidate.last,
            "confirmation": self._rule.in_seconds(),
        }


def held_back(state: State, camera: str) -> list[HeldBack]:
    """The newest candidates of a camera that came to nothing, oldest first."""
    return state.cameras[camera].held_back if camera in state.cameras else []


def _by_rank(camera: Camera) -> list[Candidate]:
    """Open episodes first, then the longest known, so that a growing fire stays one alarm."""
    return sorted(camera.candidates, key=lambda c: (not c.open, c.first))
