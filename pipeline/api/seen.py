"""What a sighting rule saw, frame by frame: run again over the stored frames of its camera.

How much moves inside a box (`changes`) is not stored, so what depends on it, a lamp held back or a flame believed
sooner, is not in these steps; `doubt` says so when they come to another end than the alarm did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.api.steps import Step, StepsOut, doubt, shown
from pipeline.message import SECOND, Alarm, Change, ScoredFrame
from pipeline.rules.cameras import Cameras
from pipeline.rules.candidate import Candidate
from pipeline.rules.config import RuleSet
from pipeline.rules.sighting import Sighting

BEFORE, AFTER = 120 * SECOND, 60 * SECOND
UNSTORED = "how much moves is not stored, so the rule may have been sooner or later then"


def window(alarm: Alarm) -> tuple[int, int]:
    """Frames that explain a sighting: first moment, and the one before which to end."""
    return min(alarm.start, alarm.raised_at) - BEFORE, max(alarm.raised_at, alarm.ended_at or 0) + AFTER


@dataclass(frozen=True, slots=True)
class _Seen:
    """A candidate as it was after a frame."""

    key: int
    score: float
    frames: int
    lacks: str
    open: bool
    hit: bool


def frame_steps(
    alarm: Alarm,
    rules: RuleSet,
    frames: Sequence[ScoredFrame],
    *,
    thresholds: Mapping[str, float],
    cameras: Cameras | None = None,
) -> StepsOut | None:
    """The steps of an alarm about a camera; `frames` are its own, by time. None for what is no sighting."""
    specs = tuple(spec for spec in rules.specs if spec.name == alarm.rule)
    built = replace(rules, specs=specs).sightings(thresholds, cameras) if specs else []
    rule = built[0][0] if built else None
    if not isinstance(rule, Sighting):
        return None
    steps = list(_run(alarm, rule, frames))
    same = any(step.began for step in steps)
    why = doubt(alarm, rules, same) if same else f"{doubt(alarm, rules, same)}; {UNSTORED}"
    return StepsOut(looked_at=len(frames), same=same, doubt=why, steps=shown(steps))


def _run(alarm: Alarm, rule: Sighting, frames: Iterable[ScoredFrame]) -> Iterator[Step]:
    """One step a frame, about the candidate that became the alarm, else about the best one."""
    state, told = rule.initial(), []
    alive: dict[int, Candidate] = {}
    for frame in frames:
        state, signals = rule.step(state, [frame])
        candidates = state.cameras[frame.camera].candidates if frame.camera in state.cameras else []
        alive |= {id(candidate): candidate for candidate in candidates}  # kept, so that no id is given twice
        told.append((frame, [_as_it_is(c, frame) for c in candidates], signals))
    mine = next(
        (key for key, candidate in alive.items() if candidate.place == alarm.place and candidate.open), None
    )
    before = "nothing in sight"
    for frame, seen, signals in told:
        candidate = _of(seen, mine)
        after = _standing(candidate)
        here = [s for s in signals if s.place == alarm.place and s.change is not Change.STILL]
        turns = tuple(f"this alarm {'raised' if s.change is Change.BEGAN else 'ended'}" for s in here)
        began = any(s.change is Change.BEGAN and s.episode == alarm.id for s in here)
        saw = _words(rule, alarm, frame)
        yield Step(frame.at, saw, before, after, turns, began, frame.at == alarm.start)
        before = after


def _as_it_is(candidate: Candidate, frame: ScoredFrame) -> _Seen:
    return _Seen(
        id(candidate),
        candidate.best,
        len(candidate.seen),
        candidate.lacks[1],
        candidate.open,
        candidate.last == frame.at,
    )


def _of(seen: Sequence[_Seen], mine: int | None) -> _Seen | None:
    found = next((one for one in seen if one.key == mine), None)
    return found or max(seen, key=lambda one: one.score, default=None)


def _standing(candidate: _Seen | None) -> str:
    if candidate is None:
        return "nothing in sight"
    if candidate.open:
        return "stands" if candidate.hit else "stands, not in this frame"
    return f"candidate in {candidate.frames} frames in sight; lacks: {candidate.lacks or 'nothing told yet'}"


def _words(rule: Sighting, alarm: Alarm, frame: ScoredFrame) -> str:
    terms = rule.terms(alarm.subject, frame.at)
    found: list[Any] = sorted((d for d in frame.detections if d[0] == terms.label), key=lambda d: -d[1])
    if not found:
        return f"no {terms.label}"
    _label, score, box = found[0]
    size = "a hit" if score >= terms.open_score else "holds" if score >= terms.hold_score else "too faint"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    corners = ", ".join(f"{edge:.0f}" for edge in box)
    needed = f"{terms.open_score:.2f} to open, {terms.hold_score:.2f} to hold"
    return f"{terms.label} {score:.2f} ({size}: {needed}) in box {corners} of {frame.width} x {frame.height}{more}"
