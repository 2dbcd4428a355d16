"""Harsh driving, from two fixes in a row: braking and acceleration from the speeds, cornering from the courses.

Only fixes close in time are compared: over longer ones the mean says nothing about the worst second. A change of
speed that the receiver's noise could make, a course at walking pace and a value that no vehicle reaches are passed
over. Speeds are the receiver's own (Doppler), good to some tenths of m/s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Floats, Signal
from pipeline.rules.fences import Fence
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.hold import Held, Hold, Looks, Turn, held_turns, none_held
from pipeline.rules.moves import Moves, grown
from pipeline.rules.spec import NotNegative, Positive, Trouble, Units

IMPLAUSIBLE = 15.0
"""m/s². Tyres give no more: a value beyond is the receiver's."""

BRAKING, ACCELERATION, CORNERING = "braking", "acceleration", "cornering"


class Spec(Units, frozen=True, kw_only=True):
    """m/s², m/s and seconds; a limit of 0 is not watched."""

    braking: NotNegative = 4.0
    acceleration: NotNegative = 3.5
    cornering: NotNegative = 4.0
    hysteresis: NotNegative = 1.0
    max_gap_s: Positive = 3.0
    min_change: NotNegative = 2.0
    min_speed: NotNegative = 5.0

    def trouble(self) -> Trouble | None:
        limits = {name: getattr(self, name) for name in (BRAKING, ACCELERATION, CORNERING)}
        if not any(limits.values()):
            return BRAKING, "no limit is watched", "set braking, acceleration or cornering (m/s²) above 0"
        for name, limit in limits.items():
            if limit and not self.hysteresis < limit < IMPLAUSIBLE:
                fix = f"use more than hysteresis ({self.hysteresis:g}) and less than {IMPLAUSIBLE:g} m/s²"
                return name, f"{limit:g} m/s² cannot be watched", fix
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """m/s² by kind, microseconds `max_gap`, m/s `min_change` between fixes and `min_speed` in corners."""

    limits: dict[str, float]
    hysteresis: float
    max_gap: int
    min_change: float
    min_speed: float


class State(msgspec.Struct):
    """By slot speed and course of the newest fix; by kind what goes on."""

    speed: np.ndarray
    course: np.ndarray
    held: dict[str, Held]


class Harsh:
    """Satisfies `pipeline.ports.Rule` for `Moves`."""

    def __init__(self, head: Head, limits: Limits) -> None:
        self.name = head.name
        self._head, self._limits = head, limits
        self._hold = Hold(0, limits.max_gap, limits.hysteresis)

    def initial(self) -> State:
        floats = np.empty(0, np.float64)
        return State(floats, floats, {kind: none_held() for kind in self._limits.limits})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        state.speed = grown(state.speed, batch.slots, np.nan)
        state.course = grown(state.course, batch.slots, np.nan)
        if not len(batch):
            return state, []
        signals: list[Signal] = []
        for kind, values in self._forces(state, batch).items():
            looks = Looks(batch.at, values, values - self._limits.limits[kind])
            held, covers = state.held.setdefault(kind, none_held()), self._head.scope.covers
            signals += [
                self._say(kind, turn, batch) for turn in held_turns(held, batch, looks, self._hold, covers=covers)
            ]
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says how fast a unit is."""
        return state, []

    # -------------------------------------------------------------- from fixes to m/s²

    def _forces(self, state: State, moves: Moves) -> dict[str, Floats]:
        """m/s² by kind for each row; 0 after a gap, NaN where it cannot be told."""
        limits = self._limits
        speed, course = moves.column("speed").astype(np.float64), moves.column("course").astype(np.float64)
        speed0, course0 = _before(state.speed, moves, speed), _before(state.course, moves, course)
        micros = moves.at - moves.prev_at
        near = (micros > 0) & (micros <= limits.max_gap)
        seconds = np.where(near, micros, 1) / SECOND
        change = speed - speed0
        along = np.where(np.abs(change) < limits.min_change, 0.0, change / seconds)
        turn = np.radians(np.abs((course - course0 + 180) % 360 - 180)) / seconds
        slow = np.minimum(speed, speed0) < limits.min_speed
        across = np.where(slow, 0.0, turn * (speed + speed0) / 2)
        forces = {BRAKING: -along, ACCELERATION: along, CORNERING: across}
        return {kind: _credible(np.where(near, forces[kind], 0.0)) for kind in limits.limits}

    def _say(self, kind: str, turn: Turn, moves: Moves) -> Signal:
        unit, fix, limit = moves.unit(turn.row), moves.where(turn.row), self._limits.limits[kind]
        title, peak = self._head.scope.title(unit), turn.run.peak
        if turn.change is Change.BEGAN:
            what = f"{kind} of {peak:.1f} m/s², {limit:g} are allowed,"
        else:
            what = f"{kind} ended after {spell_s(fix['at'] - turn.run.since)}, at most {peak:.1f} m/s²,"
        evidence: dict[str, Any] = {"limit": limit, "peak": round(peak, 2), "hysteresis": self._limits.hysteresis}
        evidence["over_s"] = int(moves.at[turn.row] - moves.prev_at[turn.row]) / SECOND
        return self._head.signal(
            turn.change,
            unit,
            at=fix["at"],
            start=turn.run.since,
            place=kind,
            reason=f"{title}: {what} at {spell(fix)}",
            fix=fix,
            **evidence,
        )


def _before(newest: np.ndarray, moves: Moves, values: Floats) -> Floats:
    """The value at the unit's fix before each row; from now on `newest` is that of the last row."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    slot = moves.slot[moves.starts]
    before[moves.starts] = newest[slot]
    newest[slot] = values[moves.ends - 1]
    return before


def _credible(force: Floats) -> Floats:
    return np.where(np.abs(force) > IMPLAUSIBLE, np.nan, force)


def build(spec: Spec, head: Head, _fences: Sequence[Fence]) -> tuple[Harsh, type[State]]:
    limits = {kind: getattr(spec, kind) for kind in (BRAKING, ACCELERATION, CORNERING) if getattr(spec, kind)}
    gap = round(spec.max_gap_s * SECOND)
    return Harsh(head, Limits(limits, spec.hysteresis, gap, spec.min_change, spec.min_speed)), State
