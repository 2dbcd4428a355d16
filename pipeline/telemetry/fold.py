"""The pure telemetry step: a batch from the log in, rows to store, signals and refusals out.

    batch ─► each message once ─► clean ─► by unit, in order ─► geofence, speed, silence ─► ticks ─► signals by time
             (device,epoch,seq)   refusals   late: stored only

The same function runs in the worker, in `vedette replay` and in tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import wire
from pipeline.message import PositionBatch, Refusal, Signal
from pipeline.ports import Rule
from pipeline.rules import states
from pipeline.rules.head import in_order
from pipeline.rules.moves import Moves, Slots, arrange, no_slots, segments
from pipeline.telemetry.clean import Limits, clean

UNNUMBERED = 0
"""`seq` of a message that its device does not number; such are taken as they come."""


class TelemetryRule(Rule[Any, Moves], Protocol):
    """A rule over moves; its watermark is `(device, until)`. `name` finds its state in a snapshot."""

    name: str


class Counts(msgspec.Struct):
    """Since the state began: rows taken, rows of repeated messages, rows refused, values mended."""

    rows: int = 0
    repeated: int = 0
    refused: int = 0
    mended: int = 0


class State(msgspec.Struct):
    """Of one partition. `seen`: newest seq by device and epoch; `rules` in the fold's order."""

    seen: dict[str, dict[int, int]]
    slots: Slots
    counts: Counts
    rules: list[Any]


class Snapshot(msgspec.Struct):
    """`State` as bytes; a rule's part is found by its name, so a changed rule set keeps what it can."""

    version: int
    seen: dict[str, dict[int, int]]
    slots: bytes
    counts: Counts
    rules: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Result:
    """`stored` are the believable rows of messages not seen before, late ones included."""

    stored: PositionBatch
    signals: list[Signal]
    refusals: list[Refusal]


class Fold:
    """`rules` are pairs of a rule and the type of its state, as `RuleSet.telemetry` gives them."""

    def __init__(
        self,
        rules: Sequence[tuple[TelemetryRule, type[Any]]],
        *,
        enrolled: Collection[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._named = list(rules)
        self._rules = [rule for rule, _kind in rules]
        self._enrolled, self._limits = enrolled, limits or Limits()

    def initial(self) -> State:
        return State({}, no_slots(), Counts(), [rule.initial() for rule in self._rules])

    def step(self, state: State, batch: PositionBatch) -> tuple[State, Result]:
        """Owns `state`. The ticks of the batch hold after its rows."""
        fresh = _fresh(state, batch)
        good, refusals, mended = clean(fresh, enrolled=self._enrolled, limits=self._limits)
        _count(state.counts, batch, fresh, good, mended)
        moves = arrange(state.slots, good)
        signals: list[Signal] = []
        for i, rule in enumerate(self._rules):
            state.rules[i], said = rule.step(state.rules[i], moves)
            signals += said
            for tick in batch.ticks:
                state.rules[i], said = rule.tick(state.rules[i], tick)
                signals += said
        return state, Result(good, in_order(signals), refusals)

    # -------------------------------------------------------------- snapshots

    def dump(self, state: State) -> bytes:
        parts = states.pack(self._named, state.rules)
        slots = wire.pack_state(state.slots)
        return msgspec.msgpack.encode(Snapshot(wire.VERSION, state.seen, slots, state.counts, parts))

    def restore(self, data: bytes) -> State:
        """msgspec.ValidationError for bytes of another shape. A new rule, or one of another kind, starts afresh."""
        saved = msgspec.msgpack.decode(data, type=Snapshot)
        rules = states.unpack(self._named, saved.rules)
        return State(saved.seen, wire.unpack_state(saved.slots, Slots), saved.counts, rules)


def _fresh(state: State, batch: PositionBatch) -> PositionBatch:
    """The rows of messages not seen before. Rows of one message come together, in one batch."""
    if not len(batch):
        return batch
    order = np.argsort(batch.source, kind="stable")
    starts, ends = segments(batch.source[order])
    seq = batch.seq[order]
    before = np.zeros(len(batch.sources), np.int64)
    used = batch.source[order[starts]]
    before[used] = _seen_before(state, batch, used.tolist(), np.maximum.reduceat(seq, starts).tolist())
    keep = (batch.seq > before[batch.source]) | (batch.seq == UNNUMBERED)
    falls = np.flatnonzero(seq[1:] < seq[:-1]) + 1
    if not np.isin(falls, starts).all():
        keep[order] &= _rising(seq, starts, ends)
    return batch if keep.all() else batch.select(keep)


def _seen_before(state: State, batch: PositionBatch, used: list[int], newest: list[int]) -> list[int]:
    """For each source the newest seq before this batch; from now on `newest`, unless that is behind."""
    before = []
    for source, seq in zip(used, newest, strict=True):
        name = batch.sources[source]
        epochs = state.seen.get(name.device)
        if epochs is None:
            epochs = state.seen[name.device] = {}
        last = epochs.get(name.epoch, 0)
        before.append(last)
        if seq > last:
            epochs[name.epoch] = seq
    return before


def _rising(seq: NDArray[Any], starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.bool_]:
    """Within each source, rows that are not behind an earlier row: a message repeated inside one batch is not."""
    rising = np.ones(len(seq), np.bool_)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = seq[start:end]
        rising[start:end] = (part >= np.maximum.accumulate(part)) | (part == UNNUMBERED)
    return rising


def _count(counts: Counts, batch: PositionBatch, fresh: PositionBatch, good: PositionBatch, mended: int) -> None:
    counts.rows += len(good)
    counts.repeated += len(batch) - len(fresh)
    counts.refused += len(fresh) - len(good)
    counts.mended += mended
