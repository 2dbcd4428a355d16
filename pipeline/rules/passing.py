"""Passing through a fence, or over a line: in at one fix and out at a later one, or both between two fixes.

on = "cross"    one alarm a pass, which is over as soon as it is told, at the fix that has left

The way between two fixes is taken as straight, unless they are more than `max_gap` apart. A corridor is crossed
when a unit comes out on the other side of its line; the direction is that seen along the line as it was drawn. A
unit first seen inside has not passed. Over 180 degrees, and at an altitude that is unknown to a fence with a floor
or a ceiling, nothing is passed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import Change, Floats, Signal
from pipeline.rules.calendars import Hours, both
from pipeline.rules.ellipsoid import degree
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.head import Head, spell, spell_s
from pipeline.rules.moves import NEVER, Moves, grown
from pipeline.rules.spec import Direction

Pairs = dict[int, set[int]]
"""Fences, by number, of rows."""

WANTED = {"any": 0, "left-to-right": 1, "right-to-left": -1}
CORNERS = 128
"""Of the polygon that stands for a circle where ways are tested against it; fixes are tested by distance."""


@dataclass(frozen=True, slots=True)
class PassRule:
    """`within`: microseconds a pass may take, 0 for any time; `max_gap`: between two fixes joined by a way."""

    head: Head
    fences: Sequence[Fence]
    direction: Direction = "any"
    within: int = 0
    max_gap: int = 300_000_000
    hours: Hours | None = None


class Visit(msgspec.Struct):
    """Inside since, and whether it is known that the unit came in.

    `net`: how often its line was crossed, left to right less right to left.
    """

    since: int
    whole: bool
    net: int = 0


class State(msgspec.Struct):
    """By slot the newest place; by unit and fence what it is in the middle of."""

    lat: np.ndarray
    lon: np.ndarray
    visits: dict[str, dict[str, Visit]]


class Passing:
    """Satisfies `pipeline.ports.Rule` for `Moves`."""

    def __init__(self, rule: PassRule) -> None:
        self.name = rule.head.name
        self._rule, self._index = rule, FenceIndex(rule.fences)
        self._ways = shapely.STRtree([_outline(fence) for fence in rule.fences])
        self._hours = [both(rule.hours, fence.traits.hours) for fence in rule.fences]
        self._number = {fence.key: i for i, fence in enumerate(rule.fences)}

    def initial(self) -> State:
        return State(np.empty(0, np.float64), np.empty(0, np.float64), {})

    def step(self, state: State, batch: Moves) -> tuple[State, list[Signal]]:
        if not len(batch):
            return state, []
        way = _ways(state, batch, self._rule.max_gap)
        inside = self._inside(batch, way[:, 1])
        touched = self._touched(batch, way)
        signals: list[Signal] = []
        for row in self._rows(state, batch, (inside, touched)):
            signals += self._unit_at(state, batch, row, way[row], (inside, touched))
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: only a fix says where a unit is."""
        return state, []

    # -------------------------------------------------------------- what a batch touches

    def _inside(self, moves: Moves, here: Floats) -> Pairs:
        """In which fences each row lies."""
        rows, fences = self._index.within(here[:, 1], here[:, 0])
        within, _possible = self._index.levels(moves.column("alt")[rows], fences)
        return _by_row(rows[within], fences[within])

    def _touched(self, moves: Moves, way: Floats) -> Pairs:
        """Which fences the way to each row touches."""
        known = np.flatnonzero(~np.isnan(way[:, 0, 0]))
        rows, fences = self._ways.query(shapely.linestrings(way[known]), predicate="intersects")
        rows = known[rows]
        within, _possible = self._index.levels(moves.column("alt")[rows], fences)
        return _by_row(rows[within], fences[within])

    def _rows(self, state: State, moves: Moves, pairs: Sequence[Pairs]) -> list[int]:
        """Rows to look at: those that touch a fence, and all of units that are in the middle of a pass."""
        rows = {row for touched in pairs for row in touched}
        touching = {moves.unit(row) for row in rows} | state.visits.keys()
        for start, end in zip(moves.starts.tolist(), moves.ends.tolist(), strict=True):
            if moves.unit(start) in touching:
                rows.update(range(start, end))
        return sorted(rows)

    # -------------------------------------------------------------- one fix

    def _unit_at(
        self, state: State, moves: Moves, row: int, way: Floats, pairs: Sequence[Pairs]
    ) -> Iterator[Signal]:
        unit, (inside, touched) = moves.unit(row), pairs
        visits = state.visits.get(unit, {})
        near = {self._number[key] for key in visits if key in self._number}
        near |= inside.get(row, set()) | touched.get(row, set())
        for number in sorted(near):
            visit = self._visit(visits, moves, row, number, way, number in inside.get(row, ()))
            if visit is not None and self._counts(visit, moves, row, number):
                yield from self._say(visit, moves, row, self._rule.fences[number])
        if visits:
            state.visits[unit] = visits
        else:
            state.visits.pop(unit, None)

    def _visit(
        self, visits: dict[str, Visit], moves: Moves, row: int, number: int, way: Floats, inside: bool
    ) -> Visit | None:
        """The visit that is over with this row, if one is."""
        fence, known = self._rule.fences[number], not np.isnan(way[0, 0])
        line = fence.traits.line
        visit = visits.get(fence.key)
        if visit is None:
            since = int(moves.at[row]) if inside or not known else int(moves.prev_at[row])
            visit = visits[fence.key] = Visit(since, whole=bool(moves.prev_at[row] != NEVER))
        if line is not None:
            visit.whole &= bool(known)
            visit.net += _crossed(line, way) if known else 0
        return None if inside else visits.pop(fence.key)

    def _counts(self, visit: Visit, moves: Moves, row: int, number: int) -> bool:
        rule, hours, at = self._rule, self._hours[number], int(moves.at[row])
        direction = WANTED[rule.direction]
        over = rule.fences[number].traits.line is None or (visit.net != 0 and direction * visit.net >= 0)
        if not (visit.whole and over and (not rule.within or at - visit.since <= rule.within)):
            return False
        on = hours is None or bool(hours.active(np.array([at], np.int64))[0])
        return on and rule.head.scope.covers(moves.unit(row))

    def _say(self, visit: Visit, moves: Moves, row: int, fence: Fence) -> Iterator[Signal]:
        unit, fix, head = moves.unit(row), moves.where(row), self._rule.head
        how = "" if fence.traits.line is None else f" from {'left to right' if visit.net > 0 else 'right to left'}"
        verb = "crossed" if how else "passed through"
        lasted = spell_s(fix["at"] - visit.since)
        for change in (Change.BEGAN, Change.ENDED):
            yield head.signal(
                change,
                unit,
                at=fix["at"],
                start=visit.since,
                place=fence.id,
                reason=f"{head.scope.title(unit)} {verb} {fence.id}{how} within {lasted}, now at {spell(fix)}",
                on="cross",
                fence=fence.key,
                fix=fix,
            )


def _by_row(rows: NDArray[np.intp], fences: NDArray[np.intp]) -> Pairs:
    pairs: Pairs = defaultdict(set)
    for row, fence in zip(rows.tolist(), fences.tolist(), strict=True):
        pairs[row].add(fence)
    return dict(pairs)


def _ways(state: State, moves: Moves, max_gap: int) -> Floats:
    """(n, 2, 2): for each row the place before and the place itself, longitude first; NaN before where no straight
    way is known. Remembers the newest of each unit."""
    state.lat, state.lon = grown(state.lat, moves.slots, np.nan), grown(state.lon, moves.slots, np.nan)
    here = np.stack((moves.column("lon"), moves.column("lat")), axis=1)
    before = np.empty_like(here)
    before[1:] = here[:-1]
    slot = moves.slot[moves.starts]
    before[moves.starts] = np.stack((state.lon[slot], state.lat[slot]), axis=1)
    state.lon[slot], state.lat[slot] = here[moves.ends - 1].T
    unknown = (moves.prev_at == NEVER) | (moves.at - np.maximum(moves.prev_at, 0) > max_gap)
    unknown |= np.abs(here[:, 0] - before[:, 0]) > 180
    before[unknown] = np.nan
    return np.stack((before, here), axis=1)


def _outline(fence: Fence) -> shapely.Geometry:
    if not fence.radius:
        return fence.shape
    north, east = (float(v) for v in degree(np.float64(fence.lat)))  # type: ignore[arg-type]
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    corners = np.stack((np.cos(turn) * fence.radius / east, np.sin(turn) * fence.radius / north), axis=1)
    return shapely.Polygon(corners + np.array((fence.lon, fence.lat)))


def _crossed(line: shapely.Geometry, way: Floats) -> int:
    """How often the way crosses the line from left to right, less how often back."""
    net = 0
    for part in shapely.get_parts(line):
        points = shapely.get_coordinates(part)
        begin, end = points[:-1], points[1:]
        left_before, left_after = (_left(begin, end, np.broadcast_to(place, begin.shape)) for place in way)
        whole = np.broadcast_to(way[0], begin.shape), np.broadcast_to(way[1], begin.shape)
        meets = _left(*whole, begin) != _left(*whole, end)
        net += int((meets & left_before & ~left_after).sum()) - int((meets & ~left_before & left_after).sum())
    return net


def _left(begin: Floats, end: Floats, place: Floats) -> NDArray[np.bool_]:
    """Whether each place lies to the left of the way from begin to end; on it counts as left."""
    ahead, aside = end - begin, place - begin
    return np.asarray(ahead[:, 0] * aside[:, 1] - ahead[:, 1] * aside[:, 0] >= 0, np.bool_)
