"""Off the route: outside every corridor of it for long enough, until inside one again.

A unit that has never been on the route has not left it. The corridors are fences: lines with a width, or areas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.message import SECOND, Change, Floats, Signal
from pipeline.rules.fences import Fence
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.hold import Held, Hold, Looks, Turn, held_turns, none_held
from pipeline.rules.margin import Margins
from pipeline.rules.moves import Moves, grown
from pipeline.rules.spec import Fenced, NotNegative, Positive, Trouble

ON, OFF, BETWEEN = -1.0, 1.0, 0.0
REACH = 50_000.0
"""Metres up to which it is told how far off a unit is."""


class Spec(Fenced, frozen=True, kw_only=True):
    fences: str | list[str]
    min_duration_s: NotNegative = 60.0
    hysteresis_m: NotNegative = 0.0
    max_gap_s: Positive = 600.0

    def trouble(self) -> Trouble | None:
        return None if self.files else ("fences", "names no file", "name the file that has the route")


class State(msgspec.Struct):
    """`known[slot]`: the unit has been on the route."""

    known: np.ndarray
    held: Held


class Route:
    """Satisfies `pipeline.ports.Rule` for `Moves`. `hysteresis` in metres beyond the corridor."""

    def __init__(self, head: Head, route: Sequence[Fence], hold: Hold, hysteresis: float = 0.0) -> None:
        self.name = head.name
        self._head, self._hold, self._hysteresis = head, hold, hysteresis
        self._route = Margins(route)

    def initial(self) -> State:
        return State(np.empty(0, np.bool_), none_held())

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        state.known = grown(state.known, batch.slots, False)
        if not len(batch):
            return state, []
        excess = self._excess(state, batch)
        looks = Looks(batch.at, excess, excess)
        covers = self._head.scope.covers
        return state, [
            self._say(turn, batch) for turn in held_turns(state.held, batch, looks, self._hold, covers=covers)
        ]

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says where a unit is."""
        return state, []

    def _excess(self, state: State, moves: Moves) -> Floats:
        """OFF, ON or BETWEEN; NaN until the unit has been on the route."""
        lat, lon = moves.column("lat"), moves.column("lon")
        excess = np.full(len(moves), OFF)
        if self._hysteresis:
            near = self._route.near(lat, lon, np.full(len(moves), self._hysteresis), rough=np.ones(len(lat), bool))
            excess[near.rows[near.margin >= -self._hysteresis]] = BETWEEN
            excess[near.rows[near.margin >= 0]] = ON
        else:
            excess[self._route.within(lat, lon)[0]] = ON
        slot = moves.slot[moves.starts]
        on = np.cumsum(excess == ON)
        before = np.where(moves.starts > 0, on[moves.starts - 1], 0)
        seen = np.repeat(state.known[slot], moves.ends - moves.starts)
        seen |= on > np.repeat(before, moves.ends - moves.starts)
        state.known[slot] |= on[moves.ends - 1] > before
        excess[~seen] = np.nan
        return excess

    def _off(self, moves: Moves, row: int) -> float | None:
        """Metres from the nearest corridor; None if that is too far to be of interest."""
        at = moves.row[row : row + 1]
        near = self._route.near(moves.batch.lat[at], moves.batch.lon[at], np.array([REACH]))
        off = -float(near.margin.max(initial=-np.inf))
        return round(off, 1) if off <= REACH else None

    def _say(self, turn: Turn, moves: Moves) -> Signal:
        unit, fix = moves.unit(turn.row), moves.where(turn.row)
        title, lasted = self._head.scope.title(unit), spell_s(fix["at"] - turn.run.since)
        evidence: dict[str, Any] = {"min_duration_s": self._hold.lasting / SECOND, "hysteresis_m": self._hysteresis}
        if turn.change is Change.BEGAN:
            off = self._off(moves, turn.row)
            evidence["off_m"] = off
            far = "far" if off is None else f"{off:.0f} m"
            what = f"has been off its route for {lasted}, now {far} from it,"
        else:
            what = f"is back on its route after {lasted}"
        return self._head.signal(
            turn.change,
            unit,
            at=fix["at"],
            start=turn.run.since,
            reason=f"{title} {what} at {spell(fix)}",
            fix=fix,
            route=[fence.id for fence in self._route.fences],
            **evidence,
        )


def build(spec: Spec, head: Head, fences: Sequence[Fence]) -> tuple[Route, type[State]]:
    hold = Hold(round(spec.min_duration_s * SECOND), round(spec.max_gap_s * SECOND), -ON)
    return Route(head, fences, hold, spec.hysteresis_m), State
