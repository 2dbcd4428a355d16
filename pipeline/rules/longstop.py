"""Standing too long where one may not: a stop of at least `limit`, unless it is in an allowed place.

A stop is what the trips call a stop (`motion.Stays`): jitter and one wild fix do not end it. It is judged once, at
the fix that shows it has lasted long enough; the alarm stands until the unit has left.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND, Change, Signal
from pipeline.rules import halts
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.motion import MINUTE, Stays
from pipeline.rules.moves import NEVER, Moves, grown
from pipeline.rules.spec import Fenced, Positive


class Spec(Fenced, frozen=True, kw_only=True):
    """`fences` are where units may stand as long as they like."""

    limit_s: Positive
    near_m: Positive = 75.0
    far_m: Positive = 200.0

    def trouble(self) -> tuple[str, str, str] | None:
        if self.far_m < self.near_m:
            return "far_m", "is below near_m: a stop would end where it begins", "make it at least near_m"
        return None


class State(msgspec.Struct):
    """By slot: the beginning of the stop that was judged last. `open`: stops that are alarms, by unit."""

    halts: halts.State
    judged: np.ndarray
    open: dict[str, int]


class LongStop:
    """Satisfies `pipeline.ports.Rule` for `Moves`. `limit` in microseconds."""

    def __init__(self, head: Head, limit: int, stays: Stays, allowed: Sequence[Fence] = ()) -> None:
        self.name = head.name
        self._head, self._limit = head, limit
        self._halts = halts.Halts(stays)
        self._allowed = FenceIndex(allowed) if allowed else None

    def initial(self) -> State:
        return State(halts.nobody(), np.empty(0, np.int64), {})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        course = self._halts.step(state.halts, batch, self._head.scope.covers)
        state.judged = grown(state.judged, batch.slots, NEVER)
        signals: list[Signal] = []
        for row in self._news(state, batch, course).tolist():
            signals += self._judge(state, batch, row, int(course.since[row]), int(course.stood[row]))
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says that a unit still stands there."""
        return state, []

    def _news(self, state: State, moves: Moves, course: halts.Course) -> NDArray[np.intp]:
        """Rows of units of which something changes: a stop grew too long, or one that did is over."""
        if not len(moves):
            return np.empty(0, np.intp)
        judged = state.judged[moves.slot]
        other = course.since != judged
        news = np.logical_or.reduceat(other & ((course.stood >= self._limit) | (judged != NEVER)), moves.starts)
        return np.flatnonzero(np.repeat(news, moves.ends - moves.starts))

    # -------------------------------------------------------------- one fix

    def _judge(self, state: State, moves: Moves, row: int, since: int, stood: int) -> list[Signal]:
        slot, unit = int(moves.slot[row]), moves.unit(row)
        signals: list[Signal] = []
        if state.judged[slot] not in (NEVER, since):
            state.judged[slot] = NEVER
            start = state.open.pop(unit, None)
            signals += [] if start is None else [self._say(Change.ENDED, moves, row, start)]
        if stood >= self._limit and state.judged[slot] != since:
            state.judged[slot] = since
            if not self._may_stand(moves, row):
                state.open[unit] = since
                signals.append(self._say(Change.BEGAN, moves, row, since))
        return signals

    def _may_stand(self, moves: Moves, row: int) -> bool:
        if self._allowed is None:
            return False
        at = moves.row[row : row + 1]
        return len(self._allowed.within(moves.batch.lat[at], moves.batch.lon[at])[0]) > 0

    def _say(self, change: Change, moves: Moves, row: int, start: int) -> Signal:
        unit, fix = moves.unit(row), moves.where(row)
        title, lasted = self._head.scope.title(unit), spell_s(fix["at"] - start)
        if change is Change.BEGAN:
            where = ", in no allowed place," if self._allowed else ","
            what = f"has stood for {lasted}{where} {spell_s(self._limit)} are allowed,"
        else:
            what = f"has left where it stood, seen elsewhere after {lasted},"
        return self._head.signal(
            change,
            unit,
            at=fix["at"],
            start=start,
            reason=f"{title} {what} at {spell(fix)}",
            fix=fix,
            limit_s=self._limit / SECOND,
            near_m=self._halts.stays.near,
            far_m=self._halts.stays.far,
            allowed=[fence.id for fence in self._allowed.fences] if self._allowed else [],
        )


def build(spec: Spec, head: Head, fences: Sequence[Fence]) -> tuple[LongStop, type[State]]:
    """A stop shorter than the usual 3 minutes must be seen as one within the limit."""
    limit = round(spec.limit_s * SECOND)
    stays = Stays(near=spec.near_m, far=spec.far_m, stay=min(3 * MINUTE, limit))
    return LongStop(head, limit, stays, fences), State
