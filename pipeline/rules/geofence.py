"""Fences with a meaning: forbidden (enter), obligatory (exit), no lingering (dwell).

on = "enter"   the alarm stands from entering to leaving; a unit first seen inside has entered; "inside" is the same
on = "exit"    from leaving to coming back; a unit first seen outside has not left
on = "outside" as exit, and a unit first seen outside counts too
on = "dwell"   from the first fix inside at or after entering + dwell to leaving; starts at entering

With an `Edge` (see `firm`), entering and leaving are those that are sure: the episode of a forbidden or obligatory
fence begins at the fix that settles it, a dwell counts from the first fix that said so.

With hours (see `calendars`), of the rule or of the fence, an alarm stands only within them: a unit that is inside
when they begin has entered with its next fix, a dwell counts from there; with the first fix after them it is over.
Leaving (exit) counts only within them: to want a unit inside at a given hour is "outside".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import wire
from pipeline.message import Change, Signal
from pipeline.rules.calendars import Hours, both
from pipeline.rules.crossing import Crossing, no_places
from pipeline.rules.fences import Fence
from pipeline.rules.fencestate import NOT_DUE, Watch, adopt
from pipeline.rules.fencestate import FenceRule as FenceRule
from pipeline.rules.fencestate import State as State
from pipeline.rules.fencewords import Words
from pipeline.rules.firm import Edge
from pipeline.rules.moves import Moves, grown
from pipeline.rules.standing import On as On
from pipeline.rules.standing import Stand, inside_since, turns, wanted
from pipeline.rules.transitions import Crosser

Crossed = dict[str, dict[str, list[Crossing]]]
"""The crossings of a batch by unit and fence, in order."""


class Geofence:
    """All fence rules of a set with one `edge`, over one index. Satisfies `pipeline.ports.Rule` for `Moves`."""

    def __init__(self, rules: Sequence[FenceRule], edge: Edge | None = None) -> None:
        self.name = f"geofence {edge}" if edge and not edge.plain else "geofence"
        fences = {fence.key: fence for rule in rules for fence in rule.fences}
        self._words = Words()
        self._crosser = Crosser(list(fences.values()), edge or Edge())
        self._hours: list[Hours] = []
        groups: dict[tuple[int, int], int] = {}
        self._watches: dict[str, list[Watch]] = defaultdict(list)
        for rule in rules:
            for fence in rule.fences:
                key, group = f"{rule.head.name}/{fence.key}", self._group(rule, fence, groups)
                self._watches[fence.key].append(Watch(key, rule, fence, group))
        self._by_key = {watch.key: watch for watches in self._watches.values() for watch in watches}
        self._keys = sorted(self._by_key)
        self._dwells = any(rule.on == "dwell" for rule in rules)
        self._outside = [watch for watch in self._by_key.values() if watch.rule.on == "outside"]
        self.names = tuple(rule.head.name for rule in rules)
        self._gated = not all(watch.simple for watch in self._by_key.values())

    def _group(self, rule: FenceRule, fence: Fence, groups: dict[tuple[int, int], int]) -> int:
        """The number of the hours of a rule and a fence together, -1 for always."""
        hours = both(rule.hours, fence.traits.hours)
        if hours is None:
            return -1
        known = (id(rule.hours), id(fence.traits.hours))
        if known not in groups:
            groups[known] = len(self._hours)
            self._hours.append(hours)
        return groups[known]

    def initial(self) -> State:
        return State(no_places(), {}, {}, np.empty(0, np.int64), self._keys)

    def adopt(self, state: State, saved: Mapping[str, bytes]) -> None:
        """Take over what `saved` has of watches that stood under another edge. Changes `state`."""
        known = set(state.watched) if self.name in saved else set()
        for name, data in saved.items():
            if name == self.name or name.partition(" ")[0] != "geofence":
                continue
            try:
                other = wire.unpack_state(data, State)
            except msgspec.ValidationError:
                continue  # of a rule that a person has called so
            adopt(state, other, self._by_key.keys() - known)

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        told = self._crosser.step(state.places, batch)
        signals: list[Signal] = []
        if self._gated or self._changed(state):
            signals += self._judge_all(state, batch, told)
        else:
            for crossing in told:
                stand = Stand(crossing.since if crossing.entered else None, crossed=True)
                for watch in self._watches.get(crossing.fence, ()):
                    signals += self._settle(state, batch, crossing.row, watch, stand)
        if self._dwells:
            signals += self._linger(state, batch)
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says where a unit is."""
        return state, []

    # -------------------------------------------------------------- more than crossings

    def _changed(self, state: State) -> bool:
        """Whether some units have not had a fix since the watches changed."""
        if state.watched != self._keys:
            state.watched = self._keys
            state.stale = np.ones(len(state.places.signature), np.bool_)
        if len(state.stale) and not state.stale.any():
            state.stale = np.empty(0, np.bool_)
        return bool(len(state.stale))

    def _judge_all(self, state: State, moves: Moves, told: list[Crossing]) -> list[Signal]:
        """Each watch at each fix that may change it, in order: crossings, begins and ends of hours, first fixes."""
        if not len(moves):
            return []
        renewed = self._renewed(state, moves)
        crossed: Crossed = defaultdict(lambda: defaultdict(list))
        for crossing in told:
            crossed[crossing.unit][crossing.fence].append(crossing)
        active = [hours.active(moves.at) for hours in self._hours]
        asked = {(c.row, watch.key) for c in told for watch in self._watches.get(c.fence, ())}
        for row, group in turns(moves, renewed, active, self._hours):
            asked |= {(row, key) for key in self._concerned(state, moves.unit(row), crossed, group)}
        signals: list[Signal] = []
        for row, key in sorted(asked):
            unit, watch = moves.unit(row), self._by_key.get(key)
            if watch is None:
                _take(state.open, unit, key)  # of a watch that is no more: `alarms.sweep` ends its alarm, or
                _take(state.waiting, unit, key)  # another rule goes on with it (`fencestate.adopt`)
                continue
            here = crossed.get(unit, {}).get(watch.fence.key, [])
            since = inside_since(here, row, state.places.inside.get(unit, {}).get(watch.fence.key))
            on = watch.group < 0 or bool(active[watch.group][row])
            stand = Stand(since, on, any(c.row == row for c in here))
            signals += self._settle(state, moves, row, watch, stand)
        return signals

    def _renewed(self, state: State, moves: Moves) -> NDArray[np.bool_]:
        """The first row of each unit that was stale; from now on it is not."""
        renewed = np.zeros(len(moves), np.bool_)
        if self._changed(state):
            state.stale = grown(state.stale, moves.slots, False)
            slot = moves.slot[moves.starts]
            renewed[moves.starts] = state.stale[slot]
            state.stale[slot] = False
        return renewed

    def _concerned(self, state: State, unit: str, crossed: Crossed, group: int | None) -> Iterator[str]:
        """Watches that may change for a unit without a crossing: of `group` of hours, or all of them (None)."""
        yield from (watch.key for watch in self._outside if group is None or watch.group in (group, -1))
        fences = {*state.places.inside.get(unit, ()), *crossed.get(unit, ())}
        for watch in (watch for fence in fences for watch in self._watches.get(fence, ())):
            if group in (None, watch.group):
                yield watch.key
        yield from state.open.get(unit, ())
        yield from state.waiting.get(unit, ())

    # -------------------------------------------------------------- one watch at one fix

    def _settle(self, state: State, moves: Moves, row: int, watch: Watch, stand: Stand) -> list[Signal]:
        """Begin or end what has to. The same stand twice says nothing more."""
        unit, at = moves.unit(row), int(moves.at[row])
        if not watch.rule.head.scope.covers(unit):
            return []
        if watch.rule.on == "dwell":
            return self._settle_dwell(state, moves, row, watch, stand)
        stands = watch.key in state.open.get(unit, ())
        if wanted(watch.rule.on, stand, stands) == stands:
            return []
        if stands:
            return self._end(state, moves, row, watch, stand)
        state.open.setdefault(unit, {})[watch.key] = at
        return [self._words.say(Change.BEGAN, moves, row, watch, at, stand)]

    def _settle_dwell(self, state: State, moves: Moves, row: int, watch: Watch, stand: Stand) -> list[Signal]:
        unit = moves.unit(row)
        if stand.active and stand.since is not None:
            if watch.key not in state.open.get(unit, ()) and watch.key not in state.waiting.get(unit, ()):
                since = stand.since if watch.group < 0 else max(stand.since, int(moves.at[row]))
                state.waiting.setdefault(unit, {})[watch.key] = since + watch.rule.dwell
                self._set_due(state, moves, row)
            return []
        began: list[Signal] = []
        due = _take(state.waiting, unit, watch.key)
        if due is not None:
            began = self._fall_due(state, moves, (_start(moves, row), row), watch, due)
            self._set_due(state, moves, row)
        return began + self._end(state, moves, row, watch, stand)

    def _end(self, state: State, moves: Moves, row: int, watch: Watch, stand: Stand) -> list[Signal]:
        start = _take(state.open, moves.unit(row), watch.key)
        return [] if start is None else [self._words.say(Change.ENDED, moves, row, watch, start, stand)]

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
        return [self._words.say(Change.BEGAN, moves, row, watch, entered, Stand(entered))]

    def _set_due(self, state: State, moves: Moves, row: int) -> None:
        state.due = grown(state.due, moves.slots, NOT_DUE)
        waiting = state.waiting.get(moves.unit(row))
        state.due[moves.slot[row]] = min(waiting.values()) if waiting else NOT_DUE


def _start(moves: Moves, row: int) -> int:
    """The first row of the unit of `row`."""
    return int(moves.starts[int(np.searchsorted(moves.starts, row, side="right")) - 1])


def _take(book: dict[str, dict[str, int]], unit: str, key: str) -> int | None:
    """Remove and return an entry; a unit without entries is forgotten, so that state stays small."""
    entries = book.get(unit)
    if entries is None or key not in entries:
        return None
    value = entries.pop(key)
    if not entries:
        del book[unit]
    return value
