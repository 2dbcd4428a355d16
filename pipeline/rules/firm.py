"""Who went into and out of which fence, for sure: small errors and short visits do not flutter.

    accuracy      inside only if all of the fix's circle of accuracy is, outside likewise; neither is no news
    band          metres beyond the edge at which a unit that was inside has left; it enters at the edge itself
    hold          how long every fix with news must say the same before it is believed

A fence with a floor or a ceiling is entered within both; a fix without an altitude is no news above or below it.
With none of them a crossing is the plain difference of sets (see `crossing`). A fix without an accuracy counts as
exact. A crossing is told at the fix that settles it; `since` is the first fix that said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.message import SECOND
from pipeline.rules.crossing import Crossing, Places, changed
from pipeline.rules.margin import Margins
from pipeline.rules.moves import Moves

MAX_DOUBT = 5_000.0
"""Metres. A fix that is worse is no better known than this; it also bounds how far fences are looked for."""


@dataclass(frozen=True, slots=True)
class Edge:
    """How an edge is crossed; `band` in metres, `hold` in microseconds. See the module."""

    band: float = 0.0
    hold: int = 0
    accuracy: bool = False

    @property
    def plain(self) -> bool:
        return not (self.band or self.hold or self.accuracy)

    def __str__(self) -> str:
        words = {f"{self.band:g} m": self.band, f"{self.hold / SECOND:g} s": self.hold, "accuracy": self.accuracy}
        return ", ".join(word for word, wanted in words.items() if wanted)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Which fences (by index) each row is inside of, and which it may be; both ascending in row."""

    sure: tuple[NDArray[np.intp], NDArray[np.intp]]
    maybe: tuple[NDArray[np.intp], NDArray[np.intp]]
    keys: list[str]

    def at(self, row: int) -> tuple[set[str], set[str]]:
        return _of(self.sure, row, self.keys), _of(self.maybe, row, self.keys)


def firm_crossings(index: Margins, edge: Edge, places: Places, moves: Moves) -> list[Crossing]:
    """As `crossing.crossings`, by the rules of `edge`. Changes `places`."""
    if not len(moves):
        return []
    seen = _look(index, edge, moves)
    signature = index.signatures(len(moves), *seen.sure) + 3 * index.signatures(len(moves), *seen.maybe)
    rows = changed(places, moves, signature)
    if edge.hold:
        rows = _whole_units(places, moves, rows)
    found: list[Crossing] = []
    for row in rows.tolist():
        found += _judge(places, moves, row, seen.at(row), edge.hold)
    return found


def _look(index: Margins, edge: Edge, moves: Moves) -> _Seen:
    accuracy = moves.column("accuracy").astype(np.float64)
    doubt = np.nan_to_num(accuracy, nan=0.0, posinf=MAX_DOUBT).clip(0, MAX_DOUBT)
    if not edge.accuracy:
        doubt = np.zeros_like(doubt)
    lat, lon = moves.column("lat"), moves.column("lon")
    rows, fences, margin = index.near(lat, lon, doubt + edge.band, rough=doubt == 0)
    sure = margin >= doubt[rows]
    maybe = ~sure & (margin >= -(doubt[rows] + edge.band))
    if index.bounded:
        within, possible = index.levels(moves.column("alt")[rows], fences)
        sure, maybe = sure & within, (sure & possible & ~within) | (maybe & possible)
    keys = [fence.key for fence in index.fences]
    return _Seen((rows[sure], fences[sure]), (rows[maybe], fences[maybe]), keys)


def _of(pairs: tuple[NDArray[np.intp], NDArray[np.intp]], row: int, keys: list[str]) -> set[str]:
    first, last = np.searchsorted(pairs[0], [row, row + 1]).tolist()
    return {keys[i] for i in pairs[1][first:last].tolist()}


def _whole_units(places: Places, moves: Moves, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """All rows of units that have news or wait for a hold: there, a fix that says the same as before counts too."""
    wanted = np.zeros(len(moves), np.bool_)
    wanted[rows] = True
    units = np.logical_or.reduceat(wanted, moves.starts)
    if places.pending:
        units |= np.array([moves.unit(start) in places.pending for start in moves.starts.tolist()], np.bool_)
    return np.flatnonzero(np.repeat(units, moves.ends - moves.starts))


def _judge(
    places: Places, moves: Moves, row: int, seen: tuple[set[str], set[str]], hold: int
) -> Iterator[Crossing]:
    """One fix of one unit. Leaving comes before entering."""
    unit, at = moves.unit(row), int(moves.at[row])
    sure, maybe = seen
    inside, pending = places.inside.setdefault(unit, {}), places.pending.setdefault(unit, {})
    leaving, entering = inside.keys() - sure - maybe, sure - inside.keys()
    for key in pending.keys() - leaving - entering - maybe:
        del pending[key]
    for key in (*sorted(leaving), *sorted(entering)):
        since = pending.setdefault(key, at)
        if at - since < hold:
            continue
        del pending[key]
        if key in leaving:
            yield Crossing(row, unit, key, False, inside.pop(key))
        else:
            inside[key] = since
            yield Crossing(row, unit, key, True, since)
    for book in (places.inside, places.pending):
        if not book[unit]:
            del book[unit]
