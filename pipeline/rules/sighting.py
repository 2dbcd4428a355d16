"""Fire and smoke, confirmed before anyone is woken.

Detections of one label that lie near each other, frame after frame, form a candidate. A candidate becomes an
episode when, in event time,

    it has lasted `persist`, `min_hits` frames reached the open score, and `min_share` of the frames in sight had it

and ends when it is absent (no detection at the hold score) for `close` and for `close_frames` frames. A camera that
sends nothing neither confirms nor ends anything; after `max_gap` without a frame, confirming begins anew. In sight
are the frames of the last `persist`, and always enough frames to count `min_hits` at `min_share`, so the same rule
works at 30 frames a second and at a frame a minute. What moves (`candidate.is_lively`) has to last a little less;
what does not, a lamp, never becomes an episode as long as it does not. A camera's masks and its own scores count
before all that. A candidate that ends without becoming an episode, or goes on without, is told as held back, with
the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.message import SECOND, Change, HeldBack, ScoredFrame, Signal
from pipeline.rules.boxes import SAME, Box, near, overlap, place
from pipeline.rules.candidate import GLIMPSES, Candidate, Glimpse, changing, growth, is_constant, is_lively
from pipeline.rules.head import Head, spell_s
from pipeline.rules.sighted import KEPT_BACK, KEPT_TOLD, Camera, Confirmation, Moment, State, held_back
from pipeline.rules.views import Views

FUTURE = 300 * SECOND
"""A frame stamped later than this after its arrival is passed over: one false stamp must not blind a camera."""

MAX_CANDIDATES = 16
"""Of one camera, and so many masked ones beside them."""

TELL_EVERY = 60 * SECOND
"""A candidate that goes on and comes to nothing is told again so often."""


class Sighting:
    """One label under one rule. Satisfies `pipeline.ports.Rule` for `Sequence[ScoredFrame]`."""

    def __init__(self, head: Head, confirmation: Confirmation, views: Views | None = None) -> None:
        self.name = head.name
        self._head, self._rule, self._views = head, confirmation, views or Views()

    def initial(self) -> State:
        return State({})

    def step(self, state: State, batch: Sequence[ScoredFrame]) -> tuple[State, list[Signal]]:
        signals: list[Signal] = []
        for frame in batch:
            if self.covers(frame.camera):
                signals += self._frame(state, frame)
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: without frames nobody knows whether it still burns."""
        return state, []

    def covers(self, camera: str) -> bool:
        """Is the rule about this camera?"""
        return self._head.scope.covers(camera)

    def terms(self, camera: str, at: int) -> Confirmation:
        """What makes an episode at this camera and time; its own score and fire weather move the hold score too."""
        rule, own = self._rule, self._views.threshold(camera, self._rule.label, at)
        day = self._views.lowered(camera, at)
        own = rule.open_score if own is None else own
        own = round(own * day.factor, 4) if day else own
        if own == rule.open_score:
            return rule
        hold = round(rule.hold_score * own / rule.open_score, 4)
        return msgspec.structs.replace(rule, open_score=own, hold_score=hold)

    # -------------------------------------------------------------- one frame

    def _frame(self, state: State, frame: ScoredFrame) -> list[Signal]:
        camera = state.cameras.setdefault(frame.camera, Camera())
        if (camera.frames and frame.at <= camera.frames[-1]) or frame.at - frame.received > FUTURE:
            state.passed_over += 1
            return []
        moment = Moment(state, camera, frame, self.terms(frame.camera, frame.at))
        self._after_gap(moment)
        camera.frames.append(frame.at)
        del camera.frames[: self._out_of_sight(camera.frames)]
        camera.ended = [end for end in camera.ended if frame.at - end[0] < self._rule.cooldown]
        hit = self._associate(moment)
        signals: list[Signal] = []
        for candidate in list(camera.candidates):
            signals += self._judge(moment, candidate, id(candidate) in hit)
        return signals

    def _after_gap(self, moment: Moment) -> None:
        """Nothing seen before a long gap helps to confirm what is seen after it."""
        camera, at = moment.camera, moment.frame.at
        if not camera.frames or at - camera.frames[-1] <= self._rule.max_gap:
            return
        detail = f"no frame for {spell_s(at - camera.frames[-1])}"
        for candidate in [c for c in camera.candidates if not c.open]:
            self._hold_back(moment, candidate, "gap", detail)
        camera.frames.clear()

    def _out_of_sight(self, frames: list[int]) -> int:
        """How many of the oldest frames no longer count."""
        enough = len(frames) - self._rule.least_frames
        horizon = frames[-1] - self._rule.persist
        return next((i for i, at in enumerate(frames) if at >= horizon or i >= enough), 0)

    def _associate(self, moment: Moment) -> set[int]:
        """Give each detection to the candidate it belongs to, or make it a new one."""
        hit: set[int] = set()
        for glimpse in moment.glimpses():
            frame = moment.frame
            mask = self._views.mask(frame.camera, moment.rule.label, glimpse.box, (frame.width, frame.height))
            candidate = self._known(moment, glimpse, mask) or self._new(moment, glimpse, mask)
            if candidate is not None and id(candidate) not in hit:
                # The best detection of this frame comes first and stands for the candidate.
                hit.add(id(candidate))
                candidate.see(glimpse, self._rule.persist // GLIMPSES)
                if not candidate.start and glimpse.score >= moment.rule.open_score:
                    candidate.start = glimpse.at
        return hit

    def _known(self, moment: Moment, glimpse: Glimpse, mask: str) -> Candidate | None:
        """What is constant takes only what looks the same in the same place, so that it never hides what begins
        beside it; other candidates take what lies near."""
        alike = [c for c in _by_rank(moment.camera) if bool(c.mask) == bool(mask)]
        doubled = glimpse.change is not None and glimpse.change >= 2 * self._rule.still
        for candidate in alike:
            if candidate.constant and not doubled and overlap(candidate.box, glimpse.box) >= SAME:
                return candidate
        return next((c for c in alike if not c.constant and near(c.box, glimpse.box, moment.frame)), None)

    def _new(self, moment: Moment, glimpse: Glimpse, mask: str) -> Candidate | None:
        """A new candidate; where there are too many, in the place of the faintest, or None if it is itself that."""
        camera, at = moment.camera, glimpse.at
        crowd = [c for c in camera.candidates if bool(c.mask) == bool(mask)]
        if len(crowd) >= MAX_CANDIDATES:
            faintest = min((c for c in crowd if not c.open), key=lambda c: c.best, default=None)
            if faintest is None or faintest.best >= glimpse.score:
                return None
            self._hold_back(moment, faintest, "crowd", f"{MAX_CANDIDATES} others were seen at the same time")
        candidate = Candidate(at, at, glimpse.box, glimpse.score, glimpse.score, [], mask=mask)
        candidate.origin = place(glimpse.box, moment.frame)
        camera.candidates.append(candidate)
        return candidate

    def _judge(self, moment: Moment, candidate: Candidate, hit: bool) -> list[Signal]:
        frame, rule = moment.frame, moment.rule
        candidate.forget(moment.camera.frames[0])
        if not hit:
            candidate.missed += 1
            absent = frame.at - candidate.last >= rule.close and candidate.missed >= rule.close_frames
            return self._leave(moment, candidate) if absent else []
        if candidate.open:
            return []
        candidate.needed = rule.open_score
        lacks = self._lacks(moment, candidate)
        if lacks:
            candidate.lacks = lacks
            if frame.at - max(candidate.told, candidate.first) >= TELL_EVERY:
                self._tell(moment, candidate, *lacks)
            return []
        candidate.open = True
        candidate.place = place(candidate.box, frame)
        return [self._began(moment, candidate)]

    def _lacks(self, moment: Moment, candidate: Candidate) -> tuple[str, str] | None:
        """Why a candidate is not an episode: a code and a sentence; None if it is one."""
        rule, frames = moment.rule, len(moment.camera.frames)
        if candidate.mask:
            return "mask", f"inside the mask {candidate.mask!r} of the camera"
        if not candidate.start:
            return "score", f"best score {candidate.best:.2f}, {rule.open_score:.2f} needed"
        if self._is_constant(moment, candidate):
            change = changing(candidate.glimpses) or 0.0
            return "constant", f"it does not move: change {change:.2f}, {rule.still:.2f} needed"
        strong = _strong(candidate, rule)
        if strong < rule.min_hits:
            return "hits", f"{strong} frames at {rule.open_score:.2f} or more, {rule.min_hits} needed"
        share = len(candidate.seen) / frames
        if share < rule.min_share:
            return "share", f"in {share:.0%} of the frames, {rule.min_share:.0%} needed"
        lasted, needed = candidate.last - candidate.start, _persist(candidate, rule)
        if lasted < needed:
            return "persistence", f"lasted {spell_s(lasted)}, {spell_s(needed)} needed"
        return self._cooling(moment, candidate)

    def _is_constant(self, moment: Moment, candidate: Candidate) -> bool:
        """Once it has lasted. What was constant and begins to move must last anew, as what it is now."""
        rule, lasted = moment.rule, candidate.last - candidate.start
        if not candidate.constant and lasted < rule.persist:
            return False
        before, candidate.constant = candidate.constant, is_constant(candidate.glimpses, rule.still)
        if before and not candidate.constant:
            candidate.start = moment.frame.at
        return candidate.constant

    def _cooling(self, moment: Moment, candidate: Candidate) -> tuple[str, str] | None:
        """An episode at this place has only just ended."""
        cooldown, at = self._rule.cooldown, moment.frame.at
        for end, box in moment.camera.ended:
            if near(box, candidate.box, moment.frame):
                since = f"an alarm at this place ended {spell_s(at - end)} ago"
                return "cool_down", f"{since}, the next one not before {spell_s(cooldown)}"
        return None

    def _leave(self, moment: Moment, candidate: Candidate) -> list[Signal]:
        camera = moment.camera
        if candidate.open:
            camera.candidates.remove(candidate)
            if self._rule.cooldown:
                camera.ended = [*camera.ended, (moment.frame.at, candidate.box)]
            return [self._ended(moment, candidate)]
        self._hold_back(moment, candidate, *candidate.lacks)
        return []

    def _hold_back(self, moment: Moment, candidate: Candidate, reason: str, detail: str) -> None:
        """It goes, and came to nothing."""
        moment.camera.candidates.remove(candidate)
        held = self._tell(moment, candidate, reason, detail)
        moment.camera.held_back = [*moment.camera.held_back, held][-KEPT_BACK:]

    def _tell(self, moment: Moment, candidate: Candidate, reason: str, detail: str) -> HeldBack:
        held = HeldBack(
            first=candidate.first,
            last=candidate.last,
            box=candidate.box,
            best=candidate.best,
            reason=reason,
            detail=detail,
            rule=self.name,
            label=moment.rule.label,
            camera=moment.frame.camera,
            place=candidate.origin,
            needed=candidate.needed or moment.rule.open_score,
        )
        candidate.told = moment.frame.at
        moment.state.told = [*moment.state.told, held][-KEPT_TOLD:]
        return held

    # -------------------------------------------------------------- words
    def _began(self, moment: Moment, candidate: Candidate) -> Signal:
        camera, frame, rule = moment.camera, moment.frame, moment.rule
        return self._head.signal(
            Change.BEGAN,
            frame.camera,
            at=frame.at,
            start=candidate.start,
            place=candidate.place,
            reason=f"{frame.camera} has seen {rule.label} for {spell_s(frame.at - candidate.start)} "
            f"at {candidate.place} of the picture: in {len(candidate.seen)} of {len(camera.frames)} frames, "
            f"score {candidate.score:.2f}, best {candidate.best:.2f}, {rule.open_score:.2f} needed",
            **self._evidence(moment, candidate),
            in_sight=len(camera.frames),
            hits=len(candidate.seen),
            strong=_strong(candidate, rule),
            moving=changing(candidate.glimpses),
            growth=round(growth(candidate.glimpses), 2),
            held_back=[msgspec.to_builtins(h) for h in camera.held_back],
        )

    def _ended(self, moment: Moment, candidate: Candidate) -> Signal:
        frame, rule = moment.frame, moment.rule
        return self._head.signal(
            Change.ENDED,
            frame.camera,
            at=frame.at,
            start=candidate.start,
            place=candidate.place,
            reason=f"{frame.camera} has seen no {rule.label} at {candidate.place} of the picture for "
            f"{spell_s(frame.at - candidate.last)} and {candidate.missed} frames",
            **self._evidence(moment, candidate),
        )

    def _evidence(self, moment: Moment, candidate: Candidate) -> dict[str, Any]:
        frame = moment.frame
        return {
            "camera": frame.camera,
            "label": self._rule.label,
            "model": frame.model,
            "clock": frame.clock.name.lower(),
            "size": [frame.width, frame.height],
            "box": [round(v, 1) for v in candidate.box],
            "score": round(candidate.score, 4),
            "best": round(candidate.best, 4),
            "night": self._views.dark(frame.camera, frame.at),
            "first": candidate.start,
            "last": candidate.last,
            "confirmation": moment.rule.in_seconds(),
            **({"fire_weather": day.evidence} if (day := self._views.lowered(frame.camera, frame.at)) else {}),
        }


def _strong(candidate: Candidate, rule: Confirmation) -> int:
    return sum(score >= rule.open_score for _at, score in candidate.seen)


def _persist(candidate: Candidate, rule: Confirmation) -> int:
    """What flickers, rolls or grows need not last so long."""
    moving = is_lively(candidate.glimpses, rule.still, rule.lively)
    return round(rule.persist * rule.lively_persist) if moving else rule.persist


def _by_rank(camera: Camera) -> list[Candidate]:
    """Open episodes first, then the longest known, so that a growing fire stays one alarm."""
    return sorted(camera.candidates, key=lambda c: (not c.open, c.first))


__all__ = ["FUTURE", "Box", "Confirmation", "Sighting", "State", "held_back"]
