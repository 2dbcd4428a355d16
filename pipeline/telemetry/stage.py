"""The telemetry worker's stage for positions: through the fold into the store."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline import wire
from pipeline.message import PositionBatch, Refusal, Signal
from pipeline.ports import Store
from pipeline.record import Record, refusal_record, signal_record, unreadable
from pipeline.telemetry.correct import Corrector
from pipeline.telemetry.fold import Fold
from pipeline.telemetry.meeting import Meeting


@dataclass
class Folded:
    """What a run of records comes to: rows to store, and words for the desk and the quarantine.

    `due` are units whose history is to be corrected once the rows are stored; that sets their `state` right too.
    """

    batches: list[PositionBatch] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    state: Any = None
    due: list[str] = field(default_factory=list)


class PositionStage:
    """clean → rules → store for one partition of positions."""

    topic = wire.POSITIONS
    max_records = 200

    def __init__(
        self, fold: Fold, store: Store, meeting: Meeting | None = None, corrector: Corrector | None = None
    ) -> None:
        self._fold = fold
        self._store = store
        self._meeting, self._corrector = meeting, corrector
        self._stored = self._refused = 0

    def under(self, fold: Fold, meeting: Meeting | None = None) -> PositionStage:
        """The same stage with other rules."""
        other = copy.copy(self)
        other._fold, other._meeting = fold, meeting
        return other

    def initial(self) -> Any:
        return self._fold.initial()

    def dump(self, state: Any) -> bytes:
        return self._fold.dump(state)

    def restore(self, data: bytes) -> Any:
        return self._fold.restore(data)

    def figures(self) -> dict[str, Any]:
        """Since this worker began: rows stored, refusals, and corrections of a unit's history."""
        corrected = self._corrector.corrected if self._corrector else 0
        return {"refused": self._refused, "stored": self._stored, "corrected": corrected}

    def handle(self, state: Any, values: Sequence[bytes]) -> tuple[Any, Folded]:
        done = Folded()
        for value in values:
            try:
                batch = wire.decode_positions(value)
            except (ValueError, msgspec.MsgspecError) as error:
                done.refusals.append(unreadable(self.topic, value, error))
                continue
            state, result = self._fold.step(state, batch)
            done.batches.append(result.stored)
            done.signals += result.signals
            done.refusals += result.refusals
        self._stored += sum(map(len, done.batches))
        self._refused += len(done.refusals)
        if self._corrector is not None and state.late:
            done.state, done.due = state, self._corrector.due(state)
        return state, done

    def commit(self, outcomes: Sequence[Folded]) -> None:
        batches = [batch for done in outcomes for batch in done.batches if len(batch)]
        if batches:
            self._store.write_positions(batches)
        if self._corrector is None:
            return
        for done in outcomes:
            for unit in done.due:
                if unit in done.state.late:  # not corrected before a commit that is repeated broke off
                    done.signals += self._corrector.correct(self._fold, done.state, unit)

    def records(self, outcome: Folded) -> Iterable[Record]:
        yield from map(signal_record, outcome.signals)
        yield from map(refusal_record, outcome.refusals)
        if self._meeting is not None:
            concerned = filter(None, map(self._meeting.concerned, outcome.batches))
            yield from (Record(wire.COMPANY, 0, "", wire.encode_positions(batch)) for batch in concerned)
