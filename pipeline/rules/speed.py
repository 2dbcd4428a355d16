"""Too fast for too long: above the limit for at least `hold`, until below the limit less the hysteresis.

A fix without a speed says nothing and changes nothing. With zones the limit is that of the place (see `zones`), and
a unit that comes under another fence's limit, or outside them, is judged anew. Out of hours there is no limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pipeline.message import Change, Signal
from pipeline.rules.calendars import Hours
from pipeline.rules.head import Head, pace, spell, spell_s
from pipeline.rules.moves import Moves, grown
from pipeline.rules.zones import NOWHERE, Zones


@dataclass(frozen=True, slots=True)
class SpeedLimit:
    """m/s and microseconds. Two fixes above the limit more than `max_gap` apart are not one run of speeding."""

    limit: float
    hold: int
    hysteresis: float
    max_gap: int
    zones: Zones | None = None
    hours: Hours | None = None

    @property
    def lowest(self) -> float:
        """No unit that is slower is too fast anywhere."""
        return self.zones.lowest if self.zones else self.limit


class Run(msgspec.Struct):
    """A unit above its limit since `since`, its newest such fix at `last`; `began` once the hold was reached."""

    since: int
    last: int
    peak: float
    began: bool = False
    limit: float = 0.0
    place: str = ""


class Here(NamedTuple):
    """The limit at a fix, infinite where there is none, and the fence it is of."""

    limit: float
    place: str = ""


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
        of_interest = (speed > self._limit.lowest) | state.running[batch.slot]
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
        rows = zip(times, speeds, self._limits(moves, start, end), strict=True)
        for row, (at, value, here) in enumerate(rows, start):
            if run is not None and here.place != run.place and value == value:
                signals += [self._say(Change.ENDED, moves, row, run, here)] if run.began else []
                run = None
            run, change = self._fold(run, at, value, here)
            if change is not None and run is not None:
                signals.append(self._say(change, moves, row, run, here))
            if change is Change.ENDED:
                run = None
        _keep(state, unit, int(moves.slot[start]), run)
        return signals

    def _limits(self, moves: Moves, start: int, end: int) -> list[Here]:
        """Of the rows of one unit."""
        rule, rows = self._limit, np.arange(start, end)
        if rule.zones is None and rule.hours is None:
            return [Here(rule.limit)] * (end - start)
        limit, of = np.full(len(rows), rule.limit), np.full(len(rows), NOWHERE, np.intp)
        if rule.zones is not None:
            limit, of = rule.zones.limits(moves, rows)
        if rule.hours is not None:
            off = ~rule.hours.active(moves.at[rows])
            limit[off], of[off] = np.inf, NOWHERE
        names = rule.zones.fences if rule.zones else ()
        return [
            Here(v, "" if i == NOWHERE else names[i].id) for v, i in zip(limit.tolist(), of.tolist(), strict=True)
        ]

    def _fold(self, run: Run | None, at: int, speed: float, here: Here) -> tuple[Run | None, Change | None]:
        """The run after one more fix, and what is to be said of it. NaN compares false everywhere."""
        rule = self._limit
        if speed > here.limit:
            if run is None or (not run.began and at - run.last > rule.max_gap):
                run = Run(at, at, speed, limit=here.limit, place=here.place)
            run.last, run.peak = at, max(run.peak, speed)
            if not run.began and at - run.since >= rule.hold:
                run.began = True
                return run, Change.BEGAN
            return run, None
        if run is None:
            return None, None
        if run.began:
            return run, Change.ENDED if speed < here.limit - rule.hysteresis else None
        return (None if speed <= here.limit else run), None

    def _say(self, change: Change, moves: Moves, row: int, run: Run, here: Here) -> Signal:
        unit, fix, rule = moves.unit(row), moves.where(row), self._limit
        lasted, title = spell_s(fix["at"] - run.since), self._head.scope.title(unit)
        limit = run.limit or rule.limit
        where = f" in {run.place}" if run.place else ""
        if change is Change.BEGAN:
            what = f"has been above {pace(limit)}{where} for {lasted}, fastest {pace(run.peak)},"
        elif here.place != run.place or here.limit == np.inf:
            what = f"is no longer held to {pace(limit)}{where}, after {lasted}, fastest {pace(run.peak)},"
        else:
            what = f"is below {pace(limit - rule.hysteresis)} again after {lasted}, fastest {pace(run.peak)},"
        return self._head.signal(
            change,
            unit,
            at=fix["at"],
            start=run.since,
            place=run.place,
            reason=f"{title} {what} at {spell(fix)}",
            fix=fix,
            limit=limit,
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
