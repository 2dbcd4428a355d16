"""The pure telemetry step: a batch from the log in, rows to store, signals and refusals out.

    batch ─► each message once ─► clean ─► doubt: by unit, in order ─► the rules ─► ticks ─► signals by time
             (device,epoch,seq)   refusals   late: stored, and the unit marked for `correct`

The same function runs in the worker, in `vedette replay` and in tests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
from pipeline.rules.moves import Moves, Slots, no_slots, segments
from pipeline.telemetry.clean import Limits, clean
from pipeline.telemetry.doubt import Doubts, Weighed, give_up, no_doubts, weigh

UNNUMBERED = 0
"""`seq` of a message that its device does not number; such are taken as they come."""


EPOCHS = 8
"""Lives of its spool that are remembered of one device, and DEVICES of them: beyond that a name was invented."""

DEVICES = 100_000
CLOCK = ""
"""The device of a tick that is the bridge's own clock."""


class TelemetryRule(Rule[Any, Moves], Protocol):
    """A rule over moves; its watermark is `(device, until)`. `name` finds its state in a snapshot."""

    name: str


class Counts(msgspec.Struct):
    """Since the state began: rows taken, rows of repeated messages, rows refused, values mended."""

    rows: int = 0
    repeated: int = 0
    refused: int = 0
    mended: int = 0


class Late(msgspec.Struct):
    """Fixes of a unit that came late: the earliest taken at `first`; received from `since` to `seen`."""

    first: int
    since: int
    seen: int


class State(msgspec.Struct):
    """Of one partition. `seen`: newest seq by device and epoch; `rules` in the fold's order.

    `late`: units whose history is to be corrected; `heard`: the bridge's clock.
    """

    seen: dict[str, dict[int, int]]
    slots: Slots
    counts: Counts
    rules: list[Any]
    doubts: Doubts = msgspec.field(default_factory=no_doubts)
    late: dict[str, Late] = {}
    heard: int = 0


class Snapshot(msgspec.Struct):
    """`State` as bytes; a rule's part is found by its name, so a changed rule set keeps what it can."""

    version: int
    seen: dict[str, dict[int, int]]
    slots: bytes
    counts: Counts
    rules: dict[str, bytes]
    doubts: bytes = b""
    late: dict[str, Late] = {}
    heard: int = 0


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
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.named, self.versions = list(rules), versions or {}
        self._rules = [rule for rule, _kind in rules]
        self._enrolled, self._limits = enrolled, limits or Limits()

    def initial(self) -> State:
        return State({}, no_slots(), Counts(), [rule.initial() for rule in self._rules])

    def step(self, state: State, batch: PositionBatch) -> tuple[State, Result]:
        """Owns `state`. The ticks of the batch hold after its rows."""
        fresh = _fresh(state, batch)
        good, refusals, mended = clean(fresh, enrolled=self._enrolled, limits=self._limits)
        weighed = weigh(state.doubts, state.slots, good, self._limits)
        refusals = refusals + weighed.refusals + _heard(state, batch)
        counts = state.counts
        counts.rows += len(weighed.batch)
        counts.repeated += len(batch) - len(fresh)
        counts.refused += sum(refusal.count for refusal in refusals)
        counts.mended += mended
        _mark_late(state, weighed)
        signals: list[Signal] = []
        for i, rule in enumerate(self._rules):
            state.rules[i], said = rule.step(state.rules[i], weighed.moves)
            signals += said
            for tick in (tick for tick in batch.ticks if tick[0] != CLOCK):
                state.rules[i], said = rule.tick(state.rules[i], tick)
                signals += said
        return state, Result(weighed.batch, in_order(signals), refusals)

    # -------------------------------------------------------------- snapshots

    def dump(self, state: State) -> bytes:
        parts = states.pack(self.named, state.rules)
        slots, doubts = wire.pack_state(state.slots), wire.pack_state(state.doubts)
        more = doubts, state.late, state.heard
        return msgspec.msgpack.encode(Snapshot(wire.VERSION, state.seen, slots, state.counts, parts, *more))

    def restore(self, data: bytes) -> State:
        """msgspec.ValidationError for bytes of another shape. A new rule, or one of another kind, starts afresh."""
        saved = msgspec.msgpack.decode(data, type=Snapshot)
        rules = states.unpack(self.named, saved.rules)
        slots = wire.unpack_state(saved.slots, Slots)
        doubts = wire.unpack_state(saved.doubts, Doubts) if saved.doubts else no_doubts()
        return State(saved.seen, slots, saved.counts, rules, doubts, saved.late, saved.heard)


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
            epochs = _remember(state.seen, name.device, {}, DEVICES)
        last = epochs.get(name.epoch, 0)
        before.append(last)
        if seq > last:
            _remember(epochs, name.epoch, seq, EPOCHS)
    return before


def _remember(book: dict[Any, Any], key: Any, value: Any, most: int) -> Any:
    """Enter a value; of a full book the oldest entry goes."""
    if len(book) >= most and key not in book:
        del book[next(iter(book))]
    book[key] = value
    return value


def _rising(seq: NDArray[Any], starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.bool_]:
    """Within each source, rows that are not behind an earlier row: a message repeated inside one batch is not."""
    rising = np.ones(len(seq), np.bool_)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = seq[start:end]
        rising[start:end] = (part >= np.maximum.accumulate(part)) | (part == UNNUMBERED)
    return rising


def _heard(state: State, batch: PositionBatch) -> list[Refusal]:
    """Learn the bridge's clock; what has waited too long for a judgement is refused."""
    clocks = [until for device, until in batch.ticks if device == CLOCK]
    if len(batch):
        clocks.append(int(batch.received.max()))
    if clocks:
        state.heard = max(clocks)
    return give_up(state.doubts, state.heard) if state.doubts.held else []


def _mark_late(state: State, weighed: Weighed) -> None:
    """Rows that do not step the rules, by unit."""
    batch, moves = weighed.batch, weighed.moves
    if len(moves) == len(batch):
        return
    late = np.ones(len(batch), np.bool_)
    late[moves.row] = False
    for row in np.flatnonzero(late).tolist():
        unit, at, now = batch.units[int(batch.unit[row])], int(batch.at[row]), state.heard
        mark = state.late.setdefault(unit, Late(at, now, now))
        mark.first, mark.seen = min(mark.first, at), now
