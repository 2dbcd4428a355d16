"""Two units that should stay together, or apart: further (nearer) than a distance for long enough.

At each fix of either the other is where its newest fix says, unless that is older than `max_age`: then nothing is
concluded. The two may come by different ways and in any order, so a moment is judged only when both have been heard
up to it, or when one is `wait` ahead of the other; what comes later still is passed over. So the order of arrival
changes nothing as long as nobody is more than `wait` behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND, Change, Floats, Ints, Signal
from pipeline.ports import UserError
from pipeline.rules.ellipsoid import metres
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import Head, spell_s
from pipeline.rules.hold import Hold, Looks, Run, Turn, sweep
from pipeline.rules.moves import NEVER, Moves
from pipeline.rules.spec import NotNegative, Positive, Trouble, Units

MAX_PAIRS = 2000
"""Pairs under one rule: each costs a look with every batch that has one of its units."""


class Spec(Units, frozen=True, kw_only=True):
    """`pairs` by name, or every pair among `units` and `groups`."""

    pairs: tuple[tuple[str, str], ...] = ()
    together_m: Positive | None = None
    apart_m: Positive | None = None
    hysteresis_m: NotNegative = 0.0
    min_duration_s: NotNegative = 60.0
    max_age_s: Positive = 60.0
    wait_s: NotNegative = 60.0

    def trouble(self) -> Trouble | None:
        if (self.together_m is None) == (self.apart_m is None):
            return "together_m", "the distance is given twice, or not at all", "set either together_m or apart_m"
        if not (self.pairs or self.units or self.groups):
            return "pairs", "names nobody", 'set pairs = [["truck-1", "escort-1"]], or units, or groups'
        if any(a == b for a, b in self.pairs):
            return "pairs", "a unit is paired with itself", "name two units"
        if self.together_m is not None and self.hysteresis_m >= self.together_m:
            return "hysteresis_m", "is as large as together_m: the alarm would never end", "make it smaller"
        return None


class Heard(msgspec.Struct):
    """Fixes of one of a pair, ascending: those to be judged, and as far back as that needs."""

    at: np.ndarray
    lat: np.ndarray
    lon: np.ndarray


class Couple(msgspec.Struct):
    """Of a pair: what is known of each, its newest event time, up to when it is judged, and what goes on."""

    heard: tuple[Heard, Heard]
    newest: tuple[int, int] = (NEVER, NEVER)
    judged: int = NEVER
    run: Run | None = None


class State(msgspec.Struct):
    """By pair, `a/b`. `late`: fixes that came too late for one."""

    couples: dict[str, Couple]
    late: int = 0


@dataclass(frozen=True, slots=True)
class Bond:
    """Metres and microseconds. `together`: `limit` is the furthest they may be, else the nearest."""

    limit: float
    together: bool
    max_age: int
    wait: int


class Meeting(NamedTuple):
    """The looks at a pair, ascending: when, how far apart, and the row of each one's newest fix in its `Heard`."""

    at: Ints
    metres: Floats
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]


Rows = NDArray[np.intp] | None
"""Rows of the moves, None for a unit that has none."""


class Company:
    """Satisfies `pipeline.ports.Rule` for `Moves`, in which the units of all its pairs must come."""

    def __init__(self, head: Head, pairs: Iterable[tuple[str, str]], bond: Bond, hold: Hold) -> None:
        self.name = head.name
        self._head, self._bond, self._hold = head, bond, hold
        self._pairs: dict[str, list[tuple[str, str]]] = {}
        for a, b in sorted({(min(pair), max(pair)) for pair in pairs}):
            for unit in (a, b):
                self._pairs.setdefault(unit, []).append((a, b))

    @property
    def units(self) -> frozenset[str]:
        """Whose fixes it needs."""
        return frozenset(self._pairs)

    def initial(self) -> State:
        return State({})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        touched: dict[tuple[str, str], None] = {}
        arrived: dict[str, NDArray[np.intp]] = {}
        for start, end in zip(batch.starts.tolist(), batch.ends.tolist(), strict=True):
            unit = batch.unit(start)
            if unit in self._pairs:
                arrived[unit] = np.arange(start, end)
                touched |= dict.fromkeys(self._pairs[unit])
        signals: list[Signal] = []
        for a, b in sorted(touched):
            couple = state.couples.setdefault(f"{a}/{b}", Couple((_silence(), _silence())))
            state.late += self._listen(couple, batch, (arrived.get(a), arrived.get(b)))
            signals += self._judge(couple, (a, b))
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only fixes say how far apart two units are."""
        return state, []

    # -------------------------------------------------------------- one pair

    def _listen(self, couple: Couple, moves: Moves, arrived: tuple[Rows, Rows]) -> int:
        """Take the fixes that are not late, told apart in their order of arrival; how many were late."""
        sides = [np.full(0 if rows is None else len(rows), side) for side, rows in enumerate(arrived)]
        rows = np.concatenate([rows for rows in arrived if rows is not None])
        order = np.argsort(moves.row[rows])
        rows, side = rows[order], np.concatenate(sides)[order]
        at = moves.at[rows]
        before = np.maximum.accumulate(np.concatenate(([max(couple.newest)], at)))[:-1]
        good = at > before - self._bond.wait
        for i, heard in enumerate(couple.heard):
            _append(heard, moves, rows[good & (side == i)])
        couple.newest = _newest(couple, 0), _newest(couple, 1)
        return int((~good).sum())

    def _judge(self, couple: Couple, pair: tuple[str, str]) -> list[Signal]:
        settled = max(min(couple.newest), max(couple.newest) - self._bond.wait)
        meeting = self._meeting(couple.heard, couple.judged, settled)
        beyond = meeting.metres - self._bond.limit
        looks = Looks(meeting.at, meeting.metres, beyond if self._bond.together else -beyond)
        couple.run, turns = sweep(couple.run, looks, self._hold)
        signals = [self._say(turn, pair, couple.heard, meeting) for turn in turns]
        couple.judged = settled
        for heard in couple.heard:
            _forget(heard, settled - self._bond.max_age)
        return signals

    def _meeting(self, heard: tuple[Heard, Heard], judged: int, settled: int) -> Meeting:
        """The moments after `judged` up to `settled` at which one of them had a fix and both are known."""
        a, b = heard
        at = np.union1d(a.at, b.at)
        at = at[(at > judged) & (at <= settled)]
        i, j = (np.searchsorted(one.at, at, side="right") - 1 for one in heard)
        at, i, j = (column[(i >= 0) & (j >= 0)] for column in (at, i, j))
        known = (at - a.at[i] <= self._bond.max_age) & (at - b.at[j] <= self._bond.max_age)
        at, i, j = at[known], i[known], j[known]
        return Meeting(at, metres(a.lat[i], a.lon[i], b.lat[j], b.lon[j]), (i, j))

    def _say(self, turn: Turn, pair: tuple[str, str], heard: tuple[Heard, Heard], meeting: Meeting) -> Signal:
        at, apart = int(meeting.at[turn.row]), float(meeting.metres[turn.row])
        fixes = [_fix(one, int(rows[turn.row]), at) for one, rows in zip(heard, meeting.rows, strict=True)]
        lasted, bond, run = spell_s(at - turn.run.since), self._bond, turn.run
        far, worst = ("further", "furthest") if bond.together else ("nearer", "nearest")
        if turn.change is Change.BEGAN:
            what = f"have been {far} than {bond.limit:g} m from each other for {lasted}, now {apart:.0f} m"
        else:
            back = "together" if bond.together else "apart"
            what = f"are {back} again after {lasted}, now {apart:.0f} m, {worst} {run.peak:.0f} m"
        return self._head.signal(
            turn.change,
            pair[0],
            at=at,
            start=run.since,
            place=pair[1],
            reason=f"{self._head.scope.title(pair[0])} and {self._head.scope.title(pair[1])} {what}",
            distance_m=round(apart, 1),
            peak_m=round(run.peak, 1),
            limit_m=bond.limit,
            hysteresis_m=self._hold.band,
            min_duration_s=self._hold.lasting / SECOND,
            max_age_s=bond.max_age / SECOND,
            fix=fixes[0],
            other=fixes[1],
        )


def _silence() -> Heard:
    return Heard(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.float64))


def _append(heard: Heard, moves: Moves, rows: NDArray[np.intp]) -> None:
    if len(rows):
        lat, lon = moves.batch.lat[moves.row[rows]], moves.batch.lon[moves.row[rows]]
        heard.at = np.concatenate((heard.at, moves.at[rows]))
        heard.lat, heard.lon = np.concatenate((heard.lat, lat)), np.concatenate((heard.lon, lon))


def _newest(couple: Couple, side: int) -> int:
    at = couple.heard[side].at
    return int(at[-1]) if len(at) else couple.newest[side]


def _forget(heard: Heard, oldest: int) -> None:
    first = int(np.searchsorted(heard.at, oldest))
    if first:
        heard.at, heard.lat, heard.lon = heard.at[first:], heard.lat[first:], heard.lon[first:]


def _fix(heard: Heard, row: int, at: int) -> dict[str, Any]:
    """A fix as evidence, with its age at the moment of the look."""
    then = int(heard.at[row])
    where = {"lat": float(heard.lat[row]), "lon": float(heard.lon[row])}
    return {"at": then, **where, "age_s": (at - then) / SECOND}


# ---------------------------------------------------------------- from the table


def pairs_of(spec: Spec, head: Head, fleet: Fleet | None) -> set[tuple[str, str]]:
    """Those named, or every pair of the fleet's units that the rule is about. UserError for too many."""
    pairs = {(min(pair), max(pair)) for pair in spec.pairs}
    if spec.units or spec.groups:
        known = fleet.units if fleet else spec.units
        pairs |= set(combinations(sorted(filter(head.scope.covers, known)), 2))
    if fleet is not None:
        pairs = {pair for pair in pairs if fleet.units.issuperset(pair)}
    if len(pairs) > MAX_PAIRS:
        raise UserError(
            f"rule {spec.name}: {len(pairs)} pairs, at most {MAX_PAIRS} are watched: name pairs, or fewer units"
        )
    return pairs


def build(spec: Spec, head: Head, fleet: Fleet | None) -> tuple[Company, type[State]]:
    limit = spec.together_m if spec.together_m is not None else spec.apart_m
    assert limit is not None
    age, wait = round(spec.max_age_s * SECOND), round(spec.wait_s * SECOND)
    bond = Bond(limit, spec.together_m is not None, age, wait)
    hold = Hold(round(spec.min_duration_s * SECOND), age, spec.hysteresis_m)
    return Company(head, pairs_of(spec, head, fleet), bond, hold), State
