"""Fixes of many units brought into the order in which rules want them: by unit, ascending in event time.

`Slots` numbers the units once for all rules, so that a rule keeps its state in arrays and looks a whole batch up
at once. A fix at or before the newest of its unit is late: it does not step the rules, it is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.message import Clock, Ints
from pipeline.wire import optional

NEVER = -(1 << 62)
"""`at` of the newest fix of a unit that has none."""

A = TypeVar("A", bound=np.generic)


class Rows(Protocol):
    """What can be brought into order: `unit` indexes `units`, `at` are event times, one a row."""

    @property
    def units(self) -> tuple[str, ...]: ...
    @property
    def unit(self) -> NDArray[np.uint32]: ...
    @property
    def at(self) -> Ints: ...


class Slots(msgspec.Struct):
    """State: the number of each unit, its newest event time, and how many late fixes were passed over."""

    index: dict[str, int]
    newest: np.ndarray
    late: int = 0


def no_slots() -> Slots:
    return Slots({}, np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """In-order fixes, grouped by unit; within a unit `at` is strictly ascending, also over batches.

    `batch` is a PositionBatch, or for readings a SampleBatch (see `samples`), whose units are series.
    `row` are rows of it, in this order; `slot` numbers the unit; `prev_at` is the time of the unit's fix
    before, NEVER if there is none. The i-th unit has the rows `starts[i]` up to and without `ends[i]`.
    """

    batch: Any
    slots: int
    row: NDArray[np.intp]
    slot: Ints
    at: Ints
    prev_at: Ints
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.row)

    def column(self, name: str) -> NDArray[Any]:
        """A column of the batch, in this order."""
        column: NDArray[Any] = getattr(self.batch, name)[self.row]
        return column

    def unit(self, i: int) -> str:
        name: str = self.batch.units[int(self.batch.unit[self.row[i]])]
        return name

    @property
    def fresh(self) -> bool:
        """Whether some unit has its first fix ever here."""
        return bool((self.prev_at[self.starts] == NEVER).any())

    def where(self, i: int) -> dict[str, Any]:
        """The fix of row `i` as evidence: what a person needs to find it on a map and to doubt its clock."""
        batch, row = self.batch, int(self.row[i])
        fix: dict[str, Any] = {"at": int(batch.at[row]), "lat": float(batch.lat[row]), "lon": float(batch.lon[row])}
        for name in ("speed", "course", "accuracy"):
            value = optional(float(getattr(batch, name)[row]))
            if value is not None:
                fix[name] = round(value, 3)
        clock = int(batch.clock[row])
        if clock != Clock.UNKNOWN:
            fix["clock"] = Clock(clock).name.lower()
        return fix


def arrange(slots: Slots, batch: Rows) -> Moves:
    """Sort the rows by unit, leave late ones out, and remember the newest. Changes `slots`.

    Fixes of one unit are taken in their order in the batch, which is the order of arrival.
    """
    slot_of = _slots_of(slots, batch)
    row = np.argsort(narrow(batch.unit), kind="stable")
    slot, at = slot_of[batch.unit[row]], batch.at[row]
    starts, ends = segments(slot)
    late = _late(at, starts, ends, slots.newest[slot[starts]])
    if late is not None:
        slots.late += int(late.sum())
        row, slot, at = row[~late], slot[~late], at[~late]
        starts, ends = segments(slot)
    prev_at = np.empty_like(at)
    prev_at[1:] = at[:-1]
    prev_at[starts] = slots.newest[slot[starts]]
    slots.newest[slot[starts]] = at[ends - 1]
    return Moves(batch, len(slots.index), row, slot, at, prev_at, starts, ends)


def narrow(keys: NDArray[Any]) -> NDArray[Any]:
    """Keys from 0 on, to be sorted: 16-bit ones go by radix, several times faster than wider ones."""
    return keys.astype(np.uint16) if len(keys) and int(keys.max()) < 65_536 else keys


def _slots_of(slots: Slots, batch: Rows) -> Ints:
    """Slot by index of `batch.units`; names without a row get none (-1), so that a refused name costs nothing."""
    index, units = slots.index, batch.units
    found = np.fromiter((index.get(name, -1) for name in units), np.int64, len(units))
    if len(found) and found.min() < 0:
        used = np.bincount(batch.unit, minlength=len(units)) > 0
        for i in np.flatnonzero(used & (found < 0)).tolist():
            found[i] = index.setdefault(units[i], len(index))
        slots.newest = grown(slots.newest, len(index), NEVER)
    return found


def segments(slot: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Start and end (exclusive) of each run of equal values."""
    if not len(slot):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    cuts = np.flatnonzero(slot[1:] != slot[:-1]) + 1
    return np.concatenate(([0], cuts)), np.concatenate((cuts, [len(slot)]))


def _late(at: Ints, starts: NDArray[np.intp], ends: NDArray[np.intp], newest: Ints) -> NDArray[np.bool_] | None:
    """Which rows are at or before the newest before them in their segment; None (fast) if none is."""
    before = np.empty_like(at)
    before[1:] = at[:-1]
    before[starts] = newest
    suspect = at <= before
    if not suspect.any():
        return None
    late = np.zeros(len(at), np.bool_)
    for i in np.unique(np.searchsorted(ends, np.flatnonzero(suspect), side="right")).tolist():
        part = slice(int(starts[i]), int(ends[i]))
        reached = np.maximum.accumulate(np.concatenate((newest[i : i + 1], at[part])))[:-1]
        late[part] = at[part] <= reached
    return late


def grown(array: NDArray[A], size: int, fill: Any) -> NDArray[A]:
    """`array` with at least `size` entries, new ones `fill`; grows by half so that it is seldom copied."""
    if len(array) >= size:
        return array
    larger = np.full(max(size, len(array) * 3 // 2, 64), fill, array.dtype)
    larger[: len(array)] = array
    return larger
