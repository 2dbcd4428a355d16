"""Who went into and out of which fence: the plain difference of sets, fix by fix.

Each row gets a number that stands for the set of fences it lies in; only where that number differs from the fix
before of the same unit does Python look at sets. A unit that was never seen was in no fence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.rules.fences import FenceIndex
from pipeline.rules.moves import Moves, grown


class Places(msgspec.Struct):
    """State: the signature of each slot's newest fix, and since when a unit is in which fences (by key).

    `pending` is for `firm` only: since when fixes say that the unit has entered, or left, not believed yet.
    """

    signature: np.ndarray
    inside: dict[str, dict[str, int]]
    pending: dict[str, dict[str, int]] = {}


class Crossing(NamedTuple):
    """At row `row` of the moves `unit` went into a fence, or out of one where it had been since `since`."""

    row: int
    unit: str
    fence: str
    entered: bool
    since: int


def no_places() -> Places:
    return Places(np.empty(0, np.uint64), {})


def crossings(index: FenceIndex, places: Places, moves: Moves) -> list[Crossing]:
    """In order of event time for each unit; leaving comes before entering. Changes `places`."""
    if not len(moves):
        return []
    rows, fences = index.within(moves.column("lat"), moves.column("lon"))
    news = changed(places, moves, index.signatures(len(moves), rows, fences))
    firsts = np.searchsorted(rows, news).tolist()
    lasts = np.searchsorted(rows, news, side="right").tolist()
    found: list[Crossing] = []
    for row, first, last in zip(news.tolist(), firsts, lasts, strict=True):
        now = {index.fences[i].key for i in fences[first:last].tolist()}
        found += _difference(places, moves, row, now)
    return found


def changed(places: Places, moves: Moves, signature: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Rows whose set of fences is another than at the unit's fix before."""
    places.signature = grown(places.signature, moves.slots, 0)
    before = np.empty_like(signature)
    before[1:] = signature[:-1]
    slot = moves.slot[moves.starts]
    before[moves.starts] = places.signature[slot]
    places.signature[slot] = signature[moves.ends - 1]
    return np.flatnonzero(signature != before)


def _difference(places: Places, moves: Moves, row: int, now: set[str]) -> Iterator[Crossing]:
    unit, at = moves.unit(row), int(moves.at[row])
    inside = places.inside.setdefault(unit, {})
    for key in sorted(inside.keys() - now):
        yield Crossing(row, unit, key, False, inside.pop(key))
    for key in sorted(now - inside.keys()):
        inside[key] = at
        yield Crossing(row, unit, key, True, at)
    if not inside:
        del places.inside[unit]
