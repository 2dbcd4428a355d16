"""Every enter and exit of recorded tracks, with no rule and no alarm: to try a fence before trusting it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.message import PositionBatch
from pipeline.rules.crossing import Crossing, Places, crossings, no_places
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.firm import Edge, firm_crossings
from pipeline.rules.margin import Margins
from pipeline.rules.moves import Moves, arrange, no_slots

Transition = tuple[str, str, str, int]
"""(unit, fence id, "enter" or "exit", at)"""


class Crosser:
    """The crossings of `fences` by the rules of one `edge`: plain sets where it asks for nothing."""

    def __init__(self, fences: Sequence[Fence], edge: Edge) -> None:
        self._edge = edge
        self._plain = FenceIndex(fences) if edge.plain else None
        self._firm = None if edge.plain else Margins(fences)

    def step(self, places: Places, moves: Moves) -> list[Crossing]:
        """In order of event time for each unit; leaving comes before entering. Changes `places`."""
        if self._plain is not None:
            return crossings(self._plain, places, moves)
        assert self._firm is not None
        return firm_crossings(self._firm, self._edge, places, moves)


def transitions(
    fences: Sequence[Fence], batches: Iterable[PositionBatch], *, edge: Edge | None = None
) -> list[Transition]:
    """The crossings of the batches; by default the plain difference of sets.

    Ordered by batch, then by unit and event time. Late fixes are passed over, as the rules do.
    """
    crosser, slots, places = Crosser(fences, edge or Edge()), no_slots(), no_places()
    ids = {fence.key: fence.id for fence in fences}
    found: list[Transition] = []
    for batch in batches:
        moves = arrange(slots, batch)
        for c in crosser.step(places, moves):
            found.append((c.unit, ids[c.fence], "enter" if c.entered else "exit", int(moves.at[c.row])))
    return found
