"""The rules run over one unit's stored track from the beginning, and their state handed to the rules that run live.

A rule keeps what it knows of a unit in arrays by slot and in dictionaries by unit name (its state struct, those in
it, and `Held`). So the state that a run over the unit's own track ends with can take the place of the live one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from pipeline.message import POSITION_DTYPES, Change, Clock, PositionBatch, Signal, Source
from pipeline.ports import Track
from pipeline.rules.head import in_order
from pipeline.rules.hold import Held
from pipeline.rules.moves import arrange, no_slots
from pipeline.rules.silence import UnitState

NEWEST_ONLY = (UnitState,)
"""States that follow from the newest fix, which late ones do not change."""

SAID = ("at", "lat", "lon", "speed", "course", "alt", "accuracy")


@dataclass(frozen=True, slots=True)
class Run:
    """A rule's run over one track: its place among the fold's rules, the state at the end, and all it said."""

    index: int
    names: tuple[str, ...]
    state: Any
    signals: list[Signal]

    def unsettled(self, seam: int, first: int) -> bool:
        """Whether something that goes on at `first` or later began with the track itself, at `seam`, or before."""
        if any(signal.start <= seam and signal.at >= first for signal in self.signals):
            return True
        return not isinstance(self.state, NEWEST_ONLY) and _mentions(self.state, seam)


def rerun(rules: Sequence[tuple[Any, type[Any]]], track: Track) -> list[Run]:
    """What each rule says of the track alone. `rules` as `Fold` has them."""
    batch, runs = batch_of(track), []
    for index, (rule, _kind) in enumerate(rules):
        state, signals = rule.step(rule.initial(), arrange(no_slots(), batch))
        names = tuple(getattr(rule, "names", (rule.name,)))
        runs.append(Run(index, names, state, in_order(signals)))
    return runs


def batch_of(track: Track) -> PositionBatch:
    """A track as a batch; what a store does not keep is unknown."""
    count = len(track)
    values: dict[str, Any] = {name: getattr(track, name) for name in SAID}
    values |= {"unit": np.zeros(count), "source": np.zeros(count), "seq": np.zeros(count), "received": track.at}
    values["clock"] = np.full(count, int(Clock.UNKNOWN))
    columns: dict[str, Any] = {name: np.asarray(values[name], kind) for name, kind in POSITION_DTYPES.items()}
    return PositionBatch(units=(track.unit,), sources=(Source("store", 1),), **columns)


def ends(signals: Sequence[Signal]) -> dict[str, int | None]:
    """The end of each episode, None while it goes on, by alarm id."""
    found: dict[str, int | None] = {}
    for signal in signals:
        if signal.change is Change.BEGAN:
            found.setdefault(signal.alarm, None)
        elif signal.change is Change.ENDED and signal.alarm in found:
            found[signal.alarm] = signal.at
    return found


# ---------------------------------------------------------------- states


def _mentions(part: Any, value: int) -> bool:
    if isinstance(part, np.ndarray):
        return part.dtype == np.int64 and bool((part == value).any())
    if isinstance(part, msgspec.Struct):
        return any(_mentions(getattr(part, name), value) for name in part.__struct_fields__)
    if isinstance(part, dict):
        return any(_mentions(entry, value) for entry in part.values())
    if isinstance(part, list | tuple):
        return any(_mentions(entry, value) for entry in part)
    return type(part) is int and part == value


def fits(live: Any, alone: Any, slot: int) -> bool:
    """Whether the live state has a place for the unit. A rule that is new since a reload has none yet."""
    pairs = [(getattr(live, name), getattr(alone, name)) for name in live.__struct_fields__]
    arrays = all(len(a) > slot or not len(b) for a, b in pairs if isinstance(a, np.ndarray))
    return arrays and all(fits(a, b, slot) for a, b in pairs if isinstance(a, msgspec.Struct))


def adopt(live: Any, alone: Any, unit: str, slot: int) -> None:
    """Put what `alone` knows of its only unit (slot 0) in the place of what `live` knows of it."""
    if isinstance(live, NEWEST_ONLY):
        return
    for name in live.__struct_fields__:
        mine, other = getattr(live, name), getattr(alone, name)
        if isinstance(mine, np.ndarray):
            if len(other):
                mine[slot] = other[0]
        elif isinstance(mine, msgspec.Struct):
            adopt(mine, other, unit, slot)
        elif isinstance(mine, dict):
            _adopt_entries(mine, other, unit, slot)


def _adopt_entries(mine: dict[str, Any], other: dict[str, Any], unit: str, slot: int) -> None:
    """Entries by unit; of `Held`, which a rule has one of for each thing it watches, those within."""
    held = [key for key, value in mine.items() if isinstance(value, Held)]
    for key in held:
        adopt(mine[key], other[key], unit, slot)
    if held:
        return
    mine.pop(unit, None)
    if unit in other:
        mine[unit] = other[unit]
