"""How a unit stands to a fence at a fix, and when that has to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.message import Change
from pipeline.rules.calendars import Hours
from pipeline.rules.crossing import Crossing
from pipeline.rules.head import spell_s
from pipeline.rules.moves import NEVER, Moves

On = Literal["enter", "exit", "dwell", "inside", "outside"]
Row = NDArray[np.bool_]


class Stand(NamedTuple):
    """Inside since when (None: outside), whether hours are on, and whether it went in or out with this very fix."""

    since: int | None
    active: bool = True
    crossed: bool = False


def wanted(on: On, stand: Stand, stands: bool) -> bool:
    """Whether an alarm is to stand, if one does (`stands`) or does not yet."""
    inside = stand.since is not None
    if on == "exit":
        return stand.active and not inside and (stand.crossed or stands)
    return stand.active and inside == (on != "outside")


def turns(moves: Moves, renewed: Row, active: list[Row], hours: list[Hours]) -> Iterator[tuple[int, int | None]]:
    """(row, group of hours) where hours are on and were not at the unit's fix before, or the other way; with None
    for the group where all is to be looked at: at a unit's first fix, or its first since the rules changed."""
    first = moves.prev_at == NEVER
    for row in np.flatnonzero(first | renewed).tolist():
        yield row, None
    before = np.where(first, moves.at, moves.prev_at)
    for group, (now, hour) in enumerate(zip(active, hours, strict=True)):
        for row in np.flatnonzero(now != hour.active(before)).tolist():
            yield row, group


def inside_since(here: Iterable[Crossing], row: int, after: int | None) -> int | None:
    """Since when a unit is inside at `row`, None if it is not. `here`: its crossings in this batch; `after`: since
    when it is inside after them all."""
    earlier: Crossing | None = None
    for crossing in here:
        if crossing.row > row:
            if earlier is None:
                return None if crossing.entered else crossing.since
            break
        earlier = crossing
    if earlier is None:
        return after
    return earlier.since if earlier.entered else None


def verb_of(on: On, change: Change, stand: Stand, *, lasted: int, first: bool) -> str:
    """What a unit does to a fence, `{}`, as a person says it."""
    after = f"after {spell_s(lasted)}"
    if change is Change.ENDED and not stand.active:
        return f"is past the hours of {{}} {after}"
    if on in ("exit", "outside"):
        if change is Change.ENDED:
            return f"came back to {{}} {after}"
        return "was first seen outside {}" if first else "left {}" if stand.crossed else "is outside {}"
    if change is Change.ENDED:
        return f"left {{}} {after}"
    if on == "dwell":
        return f"has been in {{}} for {spell_s(lasted)}"
    return "was first seen inside {}" if first else "entered {}" if stand.crossed else "is inside {}"
