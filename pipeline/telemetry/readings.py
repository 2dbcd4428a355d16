"""The telemetry worker's stage for sensor readings: each once, sifted, into the store; rules and fire weather."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline import wire
from pipeline.message import ReadingRecord, Refusal, Signal
from pipeline.ports import Store
from pipeline.record import Record, decoded, refusal_record, signal_record
from pipeline.rules import states
from pipeline.rules.head import in_order
from pipeline.rules.moves import Moves, Slots, arrange, no_slots
from pipeline.rules.samples import Channels, batch_of, sift
from pipeline.rules.weather import Danger
from pipeline.telemetry.clean import Limits
from pipeline.telemetry.fold import UNNUMBERED
from pipeline.weather import WeatherBoard


class State(msgspec.Struct):
    """Of one partition. `seen`: newest seq by `device/epoch`; `rules` and `weather` in the stage's order."""

    seen: dict[str, int]
    channels: Channels
    slots: Slots
    rules: list[Any]
    weather: list[Any]


class Saved(msgspec.Struct):
    """`State` as bytes; the part of a rule is found by its name."""

    seen: dict[str, int]
    channels: Channels
    slots: bytes
    rules: dict[str, bytes]


@dataclass
class Read:
    """What a run of records comes to."""

    records: list[ReadingRecord] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    days: list[Danger] = field(default_factory=list)


class ReadingStage:
    """`rules` and `weather` are pairs of a rule and the type of its state, as `RuleSet` gives them."""

    topic = wire.READINGS
    max_records = 1000

    def __init__(
        self,
        store: Store,
        rules: states.Rules = (),
        *,
        limits: Limits | None = None,
        weather: states.Rules = (),
        board: WeatherBoard | None = None,
    ) -> None:
        self._store, self._rules, self._weather, self._board = store, rules, weather, board
        self._limits = limits or Limits()
        self._stored = self._refused = 0

    def under(self, rules: states.Rules, weather: states.Rules) -> ReadingStage:
        """The same stage with other rules."""
        other = copy.copy(self)
        other._rules, other._weather = rules, weather
        return other

    def initial(self) -> State:
        rules, weather = states.initial(self._rules), states.initial(self._weather)
        return State({}, Channels({}), no_slots(), rules, weather)

    def dump(self, state: State) -> bytes:
        parts = states.pack(self._rules, state.rules) | states.pack(self._weather, state.weather)
        return msgspec.msgpack.encode(Saved(state.seen, state.channels, wire.pack_state(state.slots), parts))

    def restore(self, data: bytes) -> State:
        """Readings once had no state, which was saved as no bytes."""
        if not data:
            return self.initial()
        saved = msgspec.msgpack.decode(data, type=Saved)
        rules, weather = (states.unpack(some, saved.rules) for some in (self._rules, self._weather))
        return State(saved.seen, saved.channels, wire.unpack_state(saved.slots, Slots), rules, weather)

    def figures(self) -> dict[str, Any]:
        """Since this worker began: readings stored, and readings refused."""
        return {"refused": self._refused, "stored": self._stored}

    def handle(self, state: State, values: Sequence[bytes]) -> tuple[State, Read]:
        done = Read()
        for value in values:
            record = decoded(self.topic, value, wire.unpack_readings)
            if isinstance(record, Refusal):
                done.refusals.append(record)
            elif _fresh(state, record):
                good, refusals = sift(state.channels, record, self._limits)
                done.records.append(good)
                done.refusals += refusals
        self._stored += sum(len(record.readings) for record in done.records)
        self._refused += sum(refusal.count for refusal in done.refusals)
        if self._rules or self._weather:
            self._judge(state, done)
        return state, done

    def commit(self, outcomes: Sequence[Read]) -> None:
        records = [record for done in outcomes for record in done.records if record.readings]
        if records:
            self._store.write_readings(records)
        days = [day for done in outcomes for day in done.days]
        if days and self._board is not None:
            self._board.save(days)

    def records(self, outcome: Read) -> Iterable[Record]:
        yield from map(signal_record, outcome.signals)
        yield from map(refusal_record, outcome.refusals)

    def _judge(self, state: State, done: Read) -> None:
        moves: Moves = arrange(state.slots, batch_of(done.records))
        for i, (rule, _kind) in enumerate(self._rules):
            state.rules[i], said = rule.step(state.rules[i], moves)
            done.signals += said
        for i, (weather, _kind) in enumerate(self._weather):
            state.weather[i], days = weather.step(state.weather[i], moves)
            done.days += days
        done.signals = in_order(done.signals)


def _fresh(state: State, record: ReadingRecord) -> bool:
    """Whether it was not seen before; a bridge that was restarted may put one on the log twice."""
    stream = f"{record.device}/{record.epoch}"
    if record.seq == UNNUMBERED:
        return True
    if record.seq <= state.seen.get(stream, 0):
        return False
    state.seen[stream] = record.seq
    return True
