"""The alarm worker's stages: signals into the alarm book, refusals into the quarantine, devices onto the board."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pipeline import wire
from pipeline.alarms.merge import Merge, State
from pipeline.message import DeviceRecord, DeviceReport, Refusal, Signal
from pipeline.ports import AlarmBook, Rule
from pipeline.record import Record, decoded, refusal_record
from pipeline.rules import states
from pipeline.stage import Stateless

T = TypeVar("T")


class _Carrying(Stateless, Generic[T]):
    """A stage that only carries: records in, rows of the book out."""

    def __init__(self, book: AlarmBook) -> None:
        self._book = book

    def records(self, _outcome: list[T]) -> Iterable[Record]:
        return ()


class SignalStage:
    """One episode, one alarm, and one fire too (`alarms.merge`): the book folds signals by alarm id."""

    topic = wire.SIGNALS
    max_records = 500

    def __init__(self, book: AlarmBook, merge: Merge | None = None) -> None:
        self._book, self._merge = book, merge or Merge()

    def initial(self) -> State:
        return self._merge.initial()

    def dump(self, state: State) -> bytes:
        return wire.pack_state(state)

    def restore(self, data: bytes) -> State:
        return wire.unpack_state(data, State) if data else self.initial()  # empty: of a version that kept nothing

    def handle(self, state: State, values: Sequence[bytes]) -> tuple[State, list[Signal | Refusal]]:
        said: list[Signal | Refusal] = []
        for value in values:
            record = decoded(self.topic, value, wire.unpack_signal)
            if isinstance(record, Signal):
                state, record = self._merge.step(state, record)
            said.append(record)
        return state, said

    def records(self, _outcome: list[Signal | Refusal]) -> Iterable[Record]:
        return ()

    def figures(self) -> dict[str, Any]:
        return {}

    def commit(self, outcomes: Sequence[list[Signal | Refusal]]) -> None:
        said = [item for outcome in outcomes for item in outcome]
        self._book.apply([s for s in said if isinstance(s, Signal)])
        self._book.refuse([r for r in said if isinstance(r, Refusal)])


class QuarantineStage(_Carrying[Refusal]):
    """What was refused anywhere, where a person can list it."""

    topic = wire.QUARANTINE
    max_records = 500

    def handle(self, _state: None, values: Sequence[bytes]) -> tuple[None, list[Refusal]]:
        return None, [decoded(self.topic, value, wire.unpack_refusal) for value in values]

    def commit(self, outcomes: Sequence[list[Refusal]]) -> None:
        self._book.refuse([refusal for outcome in outcomes for refusal in outcome])


class Told(msgspec.Struct):
    """What device records come to."""

    reports: list[DeviceReport] = []
    signals: list[Signal] = []
    refusals: list[Refusal] = []


class DeviceStage:
    """Signs of life: the device board, and the rules that notice a device falling silent."""

    topic = wire.DEVICES
    max_records = 100

    def __init__(self, rules: Sequence[tuple[Rule[Any, DeviceRecord], type[Any]]], book: AlarmBook) -> None:
        self._rules = rules
        self._book = book

    def under(self, rules: Sequence[tuple[Rule[Any, DeviceRecord], type[Any]]]) -> DeviceStage:
        """The same stage with other rules."""
        other = copy.copy(self)
        other._rules = rules
        return other

    def initial(self) -> list[Any]:
        return states.initial(self._rules)

    def dump(self, state: list[Any]) -> bytes:
        return msgspec.msgpack.encode(states.pack(self._rules, state))

    def restore(self, data: bytes) -> list[Any]:
        return states.unpack(self._rules, msgspec.msgpack.decode(data, type=dict[str, bytes]))

    def handle(self, state: list[Any], values: Sequence[bytes]) -> tuple[list[Any], Told]:
        told = Told()
        for value in values:
            record = decoded(self.topic, value, wire.unpack_devices)
            if isinstance(record, Refusal):
                told.refusals.append(record)
                continue
            told.reports += record.reports
            for i, (rule, _kind) in enumerate(self._rules):
                state[i], signals = rule.step(state[i], record)
                told.signals += signals
        return state, told

    def commit(self, outcomes: Sequence[Told]) -> None:
        self._book.apply([signal for told in outcomes for signal in told.signals])
        newest = {report.device: report for told in outcomes for report in told.reports}
        if newest:
            self._book.report_devices([_row(report) for report in newest.values()])

    def records(self, outcome: Told) -> Iterable[Record]:
        return map(refusal_record, outcome.refusals)

    def figures(self) -> dict[str, Any]:
        return {}


def _row(report: DeviceReport) -> dict[str, Any]:
    """A row of the device board; what the device has not said is left as it was."""
    row: dict[str, Any] = {"device": report.device, "received": report.received}
    if report.status:
        row |= {name: getattr(report.status, name) for name in ("state", "waiting", "oldest", "dropped", "detail")}
    return row
