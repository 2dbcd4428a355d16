"""Every enter and exit of recorded tracks, with no rule and no alarm: to try a fence before trusting it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.message import PositionBatch
from pipeline.rules.crossing import Crossing, Places, crossings, no_places
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.firm import Edge, firm_crossings
from pipeline.rules.margin import Margins
from pipeline.rules.moves import NEVER, Moves, arrange, no_slots, segments

Transition = tuple[str, str, str, int]
"""(unit, fence id, "enter" or "exit", at)"""


class Crosser:
    """The crossings of `fences` by the rules of one `edge`: plain sets where it asks for nothing."""

    def __init__(self, fences: Sequence[Fence], edge: Edge) -> None:
        self._edge = edge
        plain = edge.plain and not any(fence.traits.bounded for fence in fences)
        self._plain = FenceIndex(fences) if plain else None
        self._firm = None if plain else Margins(fences)

    def step(self, places: Places, moves: Moves) -> list[Crossing]:
        """In order of event time for each unit; leaving comes before entering. Changes `places`."""
        if self._plain is not None:
            return crossings(self._plain, places, moves)
        assert self._firm is not None
        return firm_crossings(self._firm, self._edge, places, moves)


def transitions(
    fences: Sequence[Fence], batches: Iterable[PositionBatch], *, edge: Edge | None = None, ties: bool = False
) -> list[Transition]:
    """The crossings of the batches; by default the plain difference of sets.

    Ordered by batch, then by unit and event time. Late fixes are passed over, as the rules do. With `ties` there is
    one batch, in order of event time, and every fix of it counts, several at the same time one after the other.
    """
    crosser, slots, places = Crosser(fences, edge or Edge()), no_slots(), no_places()
    ids = {fence.key: fence.id for fence in fences}
    found: list[Transition] = []
    for batch in batches:
        moves = every_row(batch) if ties else arrange(slots, batch)
        for c in crosser.step(places, moves):
            found.append((c.unit, ids[c.fence], "enter" if c.entered else "exit", int(moves.at[c.row])))
    return found


def every_row(batch: PositionBatch) -> Moves:
    """The rows of one batch in order of event time, by unit; none is late, for there was nothing before."""
    row = np.argsort(batch.unit, kind="stable")
    slot, at = batch.unit[row].astype(np.int64), batch.at[row]
    starts, ends = segments(slot)
    before = np.empty_like(at)
    before[1:] = at[:-1]
    before[starts] = NEVER
    return Moves(batch, len(batch.units), row, slot, at, before, starts, ends)
