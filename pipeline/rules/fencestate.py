"""What fence rules watch and remember, and how one takes over what another remembered of the same fence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline.rules.calendars import Hours
from pipeline.rules.crossing import Places
from pipeline.rules.fences import Fence
from pipeline.rules.head import Head
from pipeline.rules.moves import grown
from pipeline.rules.standing import On

NOT_DUE = 1 << 62
UNKNOWN = (1 << 64) - 1
"""A signature that stands for no set of fences: the next fix is looked at, whatever it says."""


@dataclass(frozen=True, slots=True)
class FenceRule:
    """One `[[rule]]` of kind geofence. `dwell` in microseconds."""

    head: Head
    on: On
    fences: Sequence[Fence]
    dwell: int = 0
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """One fence under one rule. `key` names it in the state; `group` numbers its hours."""

    key: str
    rule: FenceRule
    fence: Fence
    group: int

    @property
    def simple(self) -> bool:
        """Whether only crossings tell of it."""
        return self.group < 0 and self.rule.on != "outside"


class State(msgspec.Struct):
    """By unit and watch: `open` since when, `waiting` until when. By slot: `due`, the first of what is waiting.

    `watched` are the keys at the last step; when they change, every slot is `stale` until its next fix.
    """

    places: Places
    open: dict[str, dict[str, int]]
    waiting: dict[str, dict[str, int]]
    due: np.ndarray
    watched: list[str] = []
    stale: np.ndarray = msgspec.field(default_factory=lambda: np.empty(0, np.bool_))


def adopt(state: State, other: State, keys: Collection[str]) -> None:
    """Let `state` go on with those of `keys` that `other` watched, from each unit's next fix. Changes `state`."""
    taken = set(keys) & set(other.watched)
    if not taken:
        return
    fences = {key.partition("/")[2] for key in taken}
    _merge(state.open, other.open, taken)
    _merge(state.waiting, other.waiting, taken)
    _merge(state.places.inside, other.places.inside, fences)
    slots = max(len(state.places.signature), len(other.places.signature))
    state.places.signature = np.full(slots, UNKNOWN, np.uint64)
    due = max(len(state.due), len(other.due))
    state.due = np.minimum(grown(state.due, due, NOT_DUE)[:due], grown(other.due, due, NOT_DUE)[:due])
    state.watched = []


def _merge(into: dict[str, dict[str, int]], other: dict[str, dict[str, int]], keys: set[str]) -> None:
    """Entries of `keys` by unit; what is there already stays."""
    for unit, entries in other.items():
        if mine := {key: value for key, value in entries.items() if key in keys}:
            into[unit] = {**mine, **into.get(unit, {})}
