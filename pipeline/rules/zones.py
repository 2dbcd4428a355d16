"""Speed limits by place: at each fix the lowest limit of the fences it lies in, none outside them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Floats
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.moves import Moves

NOWHERE = -1


class Zones:
    """`limit` (m/s) is that of fences that name none themselves."""

    def __init__(self, fences: Sequence[Fence], limit: float) -> None:
        self.fences = tuple(fences)
        self._index = FenceIndex(fences)
        self._limits = np.array([fence.traits.limit or limit for fence in fences], np.float64)
        self.lowest = float(self._limits.min(initial=np.inf))
        self._hours = {id(f.traits.hours): f.traits.hours for f in fences if f.traits.hours is not None}
        self._by = np.array([id(f.traits.hours) for f in fences], np.int64)

    def limits(self, moves: Moves, rows: NDArray[np.intp]) -> tuple[Floats, NDArray[np.intp]]:
        """For each of `rows` the limit, infinite where there is none, and the number of the fence it is of."""
        places, fences = self._index.within(moves.column("lat")[rows], moves.column("lon")[rows])
        within, _possible = self._index.levels(moves.column("alt")[rows][places], fences)
        for known, hours in self._hours.items():
            within &= (self._by[fences] != known) | hours.active(moves.at[rows])[places]
        places, fences = places[within], fences[within]
        order = np.lexsort((fences, self._limits[fences], places))
        first, at = np.unique(places[order], return_index=True)
        limit, of = np.full(len(rows), np.inf), np.full(len(rows), NOWHERE, np.intp)
        of[first] = fences[order][at]
        limit[first] = self._limits[of[first]]
        return limit, of
