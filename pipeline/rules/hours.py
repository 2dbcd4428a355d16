"""Driving when one may not: a trip (as `motion.Stays` tells it) outside the allowed hours, for long enough.

What counts is when the unit was last seen coming from elsewhere: one that comes home in time and waits there is no
trip. The alarm stands until it stops, until the allowed hours begin, or until it is where it always may drive.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Signal
from pipeline.rules import halts
from pipeline.rules.calendars import Hours
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.hold import Held, Hold, Looks, Turn, held_turns, none_held
from pipeline.rules.motion import Stays
from pipeline.rules.moves import NEVER, Moves
from pipeline.rules.spec import NotNegative, Positive, Timed, Trouble


class Spec(Timed, frozen=True, kw_only=True):
    """`hours` or `calendar`: when units may drive; inside `fences` they always may."""

    min_duration_s: NotNegative = 60.0
    max_gap_s: Positive = 600.0

    def trouble(self) -> Trouble | None:
        if not (self.hours or self.calendar):
            return "hours", "nothing says when units may drive", 'set hours = "Mon-Fri 06:00-20:00", or a calendar'
        return super().trouble()


class State(msgspec.Struct):
    halts: halts.State
    held: Held


class HoursRule:
    """Satisfies `pipeline.ports.Rule` for `Moves`. `words` say when one may drive."""

    def __init__(
        self, head: Head, allowed: Hours, hold: Hold, *, words: str = "", places: Sequence[Fence] = ()
    ) -> None:
        self.name = head.name
        self._head, self._allowed, self._hold, self._words = head, allowed, hold, words
        self._halts = halts.Halts(Stays())
        self._places = FenceIndex(places) if places else None

    def initial(self) -> State:
        return State(halts.nobody(), none_held())

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        course = self._halts.step(state.halts, batch, self._head.scope.covers)
        drives = course.moved != NEVER
        excess = np.full(len(batch), -1.0)
        excess[drives] = np.where(self._allowed.active(course.moved[drives]), -1.0, 1.0)
        if self._places is not None:
            odd = np.flatnonzero(excess > 0)
            rows, _fences = self._places.within(batch.batch.lat[batch.row[odd]], batch.batch.lon[batch.row[odd]])
            excess[odd[rows]] = -1.0
        looks = Looks(np.where(drives, course.moved, batch.at), excess, excess)
        turns = held_turns(state.held, batch, looks, self._hold, covers=self._head.scope.covers)
        return state, [self._say(turn, batch) for turn in turns]

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says that a unit drives."""
        return state, []

    def _say(self, turn: Turn, moves: Moves) -> Signal:
        unit, fix = moves.unit(turn.row), moves.where(turn.row)
        title, lasted = self._head.scope.title(unit), spell_s(turn.run.last - turn.run.since)
        if turn.change is Change.BEGAN:
            hours = f" ({self._words})" if self._words else ""
            what = f"drives outside the allowed hours{hours}, for {lasted} now,"
        else:
            what = f"drives outside the allowed hours no more, after {lasted},"
        return self._head.signal(
            turn.change,
            unit,
            at=fix["at"],
            start=turn.run.since,
            reason=f"{title} {what} at {spell(fix)}",
            fix=fix,
            hours=self._words,
            min_duration_s=self._hold.lasting / SECOND,
        )


def build(spec: Spec, head: Head, fences: Sequence[Fence], allowed: Hours) -> tuple[HoursRule, type[State]]:
    hold = Hold(round(spec.min_duration_s * SECOND), round(spec.max_gap_s * SECOND))
    words = f"{spec.hours or spec.calendar} {spec.time_zone}".strip()
    return HoursRule(head, allowed, hold, words=words, places=fences), State
