"""Rules over units of different partitions: their believed fixes come together in one partition of their own.

    positions (a partition) ─► clean ─► rows of the units that such rules name ─► company (one partition) ─► rules

What is handed on twice is late the second time, and passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline import wire
from pipeline.message import PositionBatch, Refusal, Signal
from pipeline.record import Record, refusal_record, signal_record, unreadable
from pipeline.rules import states
from pipeline.rules.head import in_order
from pipeline.rules.moves import Slots, arrange, no_slots


class State(msgspec.Struct):
    slots: Slots
    rules: list[Any]


class Saved(msgspec.Struct):
    """`State` as bytes; a rule's part is found by its name."""

    slots: bytes
    rules: dict[str, bytes]


class Meeting:
    """The pure step: `rules` are pairs of a rule and the type of its state, as `RuleSet.company` gives them."""

    def __init__(self, rules: states.Rules) -> None:
        self.rules = rules
        self._units = frozenset(unit for rule, _kind in rules for unit in rule.units)

    def initial(self) -> State:
        return State(no_slots(), states.initial(self.rules))

    def step(self, state: State, batch: PositionBatch) -> tuple[State, list[Signal]]:
        """Owns `state`."""
        moves = arrange(state.slots, batch)
        signals: list[Signal] = []
        for i, (rule, _kind) in enumerate(self.rules):
            state.rules[i], said = rule.step(state.rules[i], moves)
            signals += said
        return state, in_order(signals)

    def concerned(self, batch: PositionBatch) -> PositionBatch | None:
        """The rows of units that the rules name; None if there are none."""
        return only(batch, self._units) if self._units else None


def only(batch: PositionBatch, units: Collection[str]) -> PositionBatch | None:
    """The rows of `units`, without ticks; None if there are none."""
    wanted = np.array([unit in units for unit in batch.units], np.bool_)
    rows = wanted[batch.unit] if wanted.any() else wanted[:0]
    return batch.select(rows) if rows.any() else None


class CompanyStage:
    """The rules of `Meeting` over the one partition that has the fixes of all their units."""

    topic = wire.COMPANY
    max_records = 200

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting

    def under(self, meeting: Meeting) -> CompanyStage:
        """The same stage with other rules."""
        return CompanyStage(meeting)

    def initial(self) -> Any:
        return self._meeting.initial()

    def dump(self, state: Any) -> bytes:
        rules = states.pack(self._meeting.rules, state.rules)
        return msgspec.msgpack.encode(Saved(wire.pack_state(state.slots), rules))

    def restore(self, data: bytes) -> Any:
        saved = msgspec.msgpack.decode(data, type=Saved)
        rules = states.unpack(self._meeting.rules, saved.rules)
        return State(wire.unpack_state(saved.slots, Slots), rules)

    def figures(self) -> dict[str, Any]:
        return {}

    def handle(self, state: Any, values: Sequence[bytes]) -> tuple[Any, list[Signal | Refusal]]:
        told: list[Signal | Refusal] = []
        for value in values:
            try:
                batch = wire.decode_positions(value)
            except (ValueError, msgspec.MsgspecError) as error:
                told.append(unreadable(self.topic, value, error))
                continue
            state, said = self._meeting.step(state, batch)
            told += said
        return state, told

    def commit(self, outcomes: Sequence[list[Signal | Refusal]]) -> None:
        """Nothing: the fixes are in the store already."""

    def records(self, outcome: list[Signal | Refusal]) -> Iterable[Record]:
        return [signal_record(item) if isinstance(item, Signal) else refusal_record(item) for item in outcome]
