"""Too fast for too long: above the limit for at least `hold`, until below the limit less the hysteresis.

A fix without a speed says nothing and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from pipeline.message import Change, Signal
from pipeline.rules.head import Head, pace, spell, spell_s
from pipeline.rules.moves import Moves, grown


@dataclass(frozen=True, slots=True)
class SpeedLimit:
    """m/s and microseconds. Two fixes above the limit more than `max_gap` apart are not one run of speeding."""

    limit: float
    hold: int
    hysteresis: float
    max_gap: int


class Run(msgspec.Struct):
    """A unit above its limit since `since`, its newest such fix at `last`; `began` once the hold was reached."""

    since: int
    last: int
    peak: float
    began: bool = False


class State(msgspec.Struct):
    """`running[slot]` says that `runs` has an entry for that unit."""

    running: np.ndarray
    runs: dict[str, Run]


class Speed:
    """Satisfies `pipeline.ports.Rule` for `Moves`."""

    def __init__(self, head: Head, limit: SpeedLimit) -> None:
        self.name = head.name
        self._head, self._limit = head, limit

    def initial(self) -> State:
        return State(np.empty(0, np.bool_), {})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        state.running = grown(state.running, batch.slots, False)
        if not len(batch):
            return state, []
        speed = batch.column("speed")
        of_interest = (speed > self._limit.limit) | state.running[batch.slot]
        signals: list[Signal] = []
        for i in np.flatnonzero(np.logical_or.reduceat(of_interest, batch.starts)).tolist():
            signals += self._unit(state, batch, speed, int(batch.starts[i]), int(batch.ends[i]))
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says how fast a unit is."""
        return state, []

    # -------------------------------------------------------------- one unit

    def _unit(self, state: State, moves: Moves, speed: Any, start: int, end: int) -> list[Signal]:
        unit = moves.unit(start)
        if not self._head.scope.covers(unit):
            return []
        run, signals = state.runs.get(unit), []
        times, speeds = moves.at[start:end].tolist(), speed[start:end].tolist()
        for row, (at, value) in enumerate(zip(times, speeds, strict=True), start):
            run, change = self._fold(run, at, value)
            if change is not None and run is not None:
                signals.append(self._say(change, moves, row, run))
            if change is Change.ENDED:
                run = None
        _keep(state, unit, int(moves.slot[start]), run)
        return signals

    def _fold(self, run: Run | None, at: int, speed: float) -> tuple[Run | None, Change | None]:
        """The run after one more fix, and what is to be said of it. NaN compares false everywhere."""
        rule = self._limit
        if speed > rule.limit:
            if run is None or (not run.began and at - run.last > rule.max_gap):
                run = Run(at, at, speed)
            run.last, run.peak = at, max(run.peak, speed)
            if not run.began and at - run.since >= rule.hold:
                run.began = True
                return run, Change.BEGAN
            return run, None
        if run is None:
            return None, None
        if run.began:
            return run, Change.ENDED if speed < rule.limit - rule.hysteresis else None
        return (None if speed <= rule.limit else run), None

    def _say(self, change: Change, moves: Moves, row: int, run: Run) -> Signal:
        unit, fix, rule = moves.unit(row), moves.where(row), self._limit
        lasted, title = spell_s(fix["at"] - run.since), self._head.scope.title(unit)
        if change is Change.BEGAN:
            what = f"has been above {pace(rule.limit)} for {lasted}, fastest {pace(run.peak)},"
        else:
            what = f"is below {pace(rule.limit - rule.hysteresis)} again after {lasted}, fastest {pace(run.peak)},"
        return self._head.signal(
            change,
            unit,
            at=fix["at"],
            start=run.since,
            reason=f"{title} {what} at {spell(fix)}",
            fix=fix,
            limit=rule.limit,
            hysteresis=rule.hysteresis,
            min_duration_s=rule.hold / 1e6,
            peak=round(run.peak, 3),
        )


def _keep(state: State, unit: str, slot: int, run: Run | None) -> None:
    state.running[slot] = run is not None
    if run is not None:
        state.runs[unit] = run
    else:
        state.runs.pop(unit, None)
