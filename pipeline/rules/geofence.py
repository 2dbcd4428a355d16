"""Fences with a meaning: forbidden (enter), obligatory (exit), no lingering (dwell).

on = "enter"   the alarm stands from entering to leaving; a unit first seen inside has entered
on = "exit"    from leaving to coming back; a unit first seen outside has not left
on = "dwell"   from the first fix inside at or after entering + dwell to leaving; starts at entering

With an `Edge` (see `firm`), entering and leaving are those that are sure: the episode of a forbidden or obligatory
fence begins at the fix that settles it, a dwell counts from the first fix that said so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from pipeline.message import Change, Signal
from pipeline.rules.crossing import Crossing, Places, no_places
from pipeline.rules.fences import Fence
from pipeline.rules.firm import Edge
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.moves import NEVER, Moves, grown
from pipeline.rules.transitions import Crosser

On = Literal["enter", "exit", "dwell"]
NOT_DUE = 1 << 62


@dataclass(frozen=True, slots=True)
class FenceRule:
    """One `[[rule]]` of kind geofence. `dwell` in microseconds."""

    head: Head
    on: On
    fences: Sequence[Fence]
    dwell: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """One fence under one rule. `key` names it in the state."""

    key: str
    rule: FenceRule
    fence: Fence


class State(msgspec.Struct):
    """By unit and watch: `open` since when, `waiting` until when. By slot: `due`, the first of what is waiting."""

    places: Places
    open: dict[str, dict[str, int]]
    waiting: dict[str, dict[str, int]]
    due: np.ndarray


class Geofence:
    """All fence rules of a set with one `edge`, over one index. Satisfies `pipeline.ports.Rule` for `Moves`."""

    def __init__(self, rules: Sequence[FenceRule], edge: Edge | None = None) -> None:
        self.name = f"geofence {edge}" if edge and not edge.plain else "geofence"
        fences = {fence.key: fence for rule in rules for fence in rule.fences}
        self._crosser = Crosser(list(fences.values()), edge or Edge())
        self._watches: dict[str, list[Watch]] = defaultdict(list)
        for rule in rules:
            for fence in rule.fences:
                self._watches[fence.key].append(Watch(f"{rule.head.name}/{fence.key}", rule, fence))
        self._by_key = {watch.key: watch for watches in self._watches.values() for watch in watches}
        self._dwells = any(rule.on == "dwell" for rule in rules)

    def initial(self) -> State:
        return State(no_places(), {}, {}, np.empty(0, np.int64))

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        signals: list[Signal] = []
        for crossing in self._crosser.step(state.places, batch):
            for watch in self._watches.get(crossing.fence, ()):
                if watch.rule.head.scope.covers(crossing.unit):
                    signals += self._cross(state, batch, crossing, watch)
        if self._dwells:
            signals += self._linger(state, batch)
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says where a unit is."""
        return state, []

    # -------------------------------------------------------------- one crossing

    def _cross(self, state: State, moves: Moves, crossing: Crossing, watch: Watch) -> list[Signal]:
        if watch.rule.on == "dwell":
            return self._cross_dwell(state, moves, crossing, watch)
        row, unit = crossing.row, crossing.unit
        if crossing.entered == (watch.rule.on == "enter"):
            state.open.setdefault(unit, {})[watch.key] = int(moves.at[row])
            return [self._say(Change.BEGAN, moves, row, watch, int(moves.at[row]))]
        return self._end(state, moves, crossing, watch)

    def _cross_dwell(self, state: State, moves: Moves, crossing: Crossing, watch: Watch) -> list[Signal]:
        if crossing.entered:
            state.waiting.setdefault(crossing.unit, {})[watch.key] = crossing.since + watch.rule.dwell
            self._set_due(state, moves, crossing.row)
            return []
        began: list[Signal] = []
        due = _take(state.waiting, crossing.unit, watch.key)
        if due is not None:
            began = self._fall_due(state, moves, (_start(moves, crossing.row), crossing.row), watch, due)
            self._set_due(state, moves, crossing.row)
        return began + self._end(state, moves, crossing, watch)

    def _end(self, state: State, moves: Moves, crossing: Crossing, watch: Watch) -> list[Signal]:
        start = _take(state.open, crossing.unit, watch.key)
        return [] if start is None else [self._say(Change.ENDED, moves, crossing.row, watch, start)]

    # -------------------------------------------------------------- dwell

    def _linger(self, state: State, moves: Moves) -> list[Signal]:
        """Dwells that fell due by a fix of this batch and were not left before."""
        state.due = grown(state.due, moves.slots, NOT_DUE)
        last = moves.ends - 1
        signals: list[Signal] = []
        for i in np.flatnonzero(moves.at[last] >= state.due[moves.slot[last]]).tolist():
            span = int(moves.starts[i]), int(moves.ends[i])
            unit = moves.unit(span[0])
            for key, due in sorted(state.waiting.get(unit, {}).items()):
                if due <= moves.at[span[1] - 1]:
                    _take(state.waiting, unit, key)
                    signals += self._fall_due(state, moves, span, self._by_key.get(key), due)
            self._set_due(state, moves, span[0])
        return signals

    def _fall_due(
        self, state: State, moves: Moves, span: tuple[int, int], watch: Watch | None, due: int
    ) -> list[Signal]:
        """The dwell began at the first fix at or after `due` among the unit's rows `span`, if there is one.

        `watch` is None for a fence that was taken out of the rules since.
        """
        row = span[0] + int(np.searchsorted(moves.at[span[0] : span[1]], due))
        if row >= span[1] or watch is None:
            return []
        entered = due - watch.rule.dwell
        state.open.setdefault(moves.unit(row), {})[watch.key] = entered
        return [self._say(Change.BEGAN, moves, row, watch, entered)]

    def _set_due(self, state: State, moves: Moves, row: int) -> None:
        state.due = grown(state.due, moves.slots, NOT_DUE)
        waiting = state.waiting.get(moves.unit(row))
        state.due[moves.slot[row]] = min(waiting.values()) if waiting else NOT_DUE

    # -------------------------------------------------------------- words

    def _say(self, change: Change, moves: Moves, row: int, watch: Watch, start: int) -> Signal:
        unit, fix, rule = moves.unit(row), moves.where(row), watch.rule
        first = bool(moves.prev_at[row] == NEVER)
        verb = _verb(rule, change, first, fix["at"] - start)
        return rule.head.signal(
            change,
            unit,
            at=fix["at"],
            start=start,
            place=watch.fence.id,
            reason=f"{rule.head.scope.title(unit)} {verb.format(watch.fence.id)} at {spell(fix)}",
            on=rule.on,
            fence=watch.fence.key,
            fix=fix,
            **({"dwell_s": rule.dwell / 1e6} if rule.on == "dwell" else {}),
        )


def _start(moves: Moves, row: int) -> int:
    """The first row of the unit of `row`."""
    return int(moves.starts[int(np.searchsorted(moves.starts, row, side="right")) - 1])


def _verb(rule: FenceRule, change: Change, first: bool, lasted: int) -> str:
    if rule.on == "exit":
        return "left {}" if change is Change.BEGAN else f"came back to {{}} after {spell_s(lasted)}"
    if change is Change.ENDED:
        return f"left {{}} after {spell_s(lasted)}"
    if rule.on == "dwell":
        return f"has been in {{}} for {spell_s(lasted)}, {spell_s(rule.dwell)} are allowed,"
    return "was first seen inside {}" if first else "entered {}"


def _take(book: dict[str, dict[str, int]], unit: str, key: str) -> int | None:
    """Remove and return an entry; a unit without entries is forgotten, so that state stays small."""
    entries = book.get(unit)
    if entries is None or key not in entries:
        return None
    value = entries.pop(key)
    if not entries:
        del book[unit]
    return value
