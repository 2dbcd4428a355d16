"""Contracts between the flow and the world, and the few errors that steer it.

    VedetteError
    ├── UserError        the person can mend it: one line naming the thing and the fix, exit status 2
    ├── InvalidMessage   this input will never be good: quarantine it with its bytes, go on
    ├── NotConnected     the far side is gone: the engine reconnects with jittered back-off, then repeats
    └── Retryable        the far side asks for time: the engine waits `after` seconds, then repeats the same call

Adapters raise these and nothing else for what they foresee; the loop that acts on them lives in the engine
(`pipeline.engine`), never in an adapter. All port methods are synchronous and may block: the engine calls them
off the event loop, one call at a time per adapter object.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.message import (
    Alarm,
    AlarmEvent,
    Detections,
    Floats,
    HeldBack,
    Ints,
    PositionBatch,
    ReadingRecord,
    Refusal,
    ScoredFrame,
    Signal,
)


class VedetteError(Exception):
    """Base of every error that Vedette raises on purpose."""


class UserError(VedetteError):
    """Something a person can mend; the text names the thing and the fix."""


class InvalidMessage(VedetteError):
    """Input that can never be accepted. `reason` is a short stable code, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NotConnected(VedetteError):
    """The far side cannot be reached now."""


class Retryable(VedetteError):
    """The far side answered and wants the same call again after `after` seconds."""

    def __init__(self, after: float, detail: str) -> None:
        super().__init__(f"{detail} (again in {after:g} s)")
        self.after = after


# ---------------------------------------------------------------- time series


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Positions of one unit in columns, ascending in `at`, one row per event time."""

    unit: str
    at: Ints
    lat: Floats
    lon: Floats
    speed: Floats
    course: Floats
    alt: Floats
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class Position:
    """The newest known position of a unit."""

    unit: str
    at: int
    lat: float
    lon: float
    speed: float | None
    course: float | None


Batch = PositionBatch | Sequence[ScoredFrame] | Sequence[ReadingRecord]


class Store(Protocol):
    """Time series. Workers write, the api reads.

    `write` returns only when the batch is durable, and writing a batch twice leaves what writing it once leaves:
    the identity of a position is (unit, at), of a scored frame (camera, at), of a reading (device, channel, at);
    the last writer of an identity wins. Raises `NotConnected`, `Retryable`; a row the server refuses for good is
    handed to `refused` (given at construction) and the rest of the batch is written.
    """

    def write_positions(self, batches: Sequence[PositionBatch]) -> None: ...
    def write_frames(self, frames: Sequence[ScoredFrame]) -> None: ...
    def write_readings(self, records: Sequence[ReadingRecord]) -> None: ...

    def track(self, unit: str, start: int, end: int, *, limit: int = 1_000_000) -> Track:
        """Positions of `unit` with start <= at < end. An unknown unit has an empty track."""
        ...

    def latest(self) -> list[Position]:
        """The newest position of every unit, sorted by unit."""
        ...

    def frames(self, camera: str, start: int, end: int, *, limit: int = 10_000) -> list[ScoredFrame]:
        """Scored frames of `camera` with start <= at < end, ascending in `at`."""
        ...

    def series(self, device: str, channel: str, start: int, end: int) -> tuple[Ints, Floats]:
        """Times and values of one sensor channel with start <= at < end, ascending."""
        ...

    def forget(self, before: int) -> int:
        """Delete positions, frames and readings with at < before (retention); returns how many if known."""
        ...

    def close(self) -> None: ...


# ---------------------------------------------------------------- alarms


class AlarmBook(Protocol):
    """Alarms, their history, the audit log and the quarantine, in one transactional database.

    Event numbers are given in commit order, so that a reader of `events_after(n)` never misses one.
    """

    def apply(self, signals: Sequence[Signal]) -> list[AlarmEvent]:
        """Fold signals in, in one transaction; signals seen before (by `Signal.id`) change nothing.

        BEGAN of an unknown alarm raises it; ENDED clears it (unless resolved); STILL adds evidence.
        HOLDS corrects what is known of a unit: see `alarms.late`.
        An ENDED that comes before its BEGAN is kept, and the late BEGAN then enters as raised and cleared.
        A signal with `joins` is part of that alarm, unless a person has resolved it: see `alarms.episode.settle`.
        """
        ...

    def alarms(
        self,
        *,
        state: str | None = None,
        subject: str | None = None,
        kind: str | None = None,
        prefix: str = "",
        limit: int = 1000,
    ) -> list[Alarm]:
        """Newest first (by raised_at); `prefix` is how the id begins."""
        ...

    def alarm(self, alarm_id: str) -> Alarm | None: ...
    def history(self, alarm_id: str) -> list[AlarmEvent]: ...

    def act(self, alarm_id: str, action: str, *, by: str, note: str = "") -> AlarmEvent:
        """`action` is "acknowledge" or "resolve"; repeated by the same or another person it changes nothing
        (returns the first event). UserError names an unknown alarm or action, or an action its state forbids:
        what nobody has acknowledged cannot be resolved."""
        ...

    def events_after(self, number: int, *, limit: int = 500) -> list[AlarmEvent]: ...

    def audit(self, *, who: str, what: str, subject: str, purpose: str, detail: str = "") -> None:
        """Record a reading of personal-ish data (a track, a frame) before it is handed out."""
        ...

    def audits(self, *, limit: int = 1000) -> list[dict[str, Any]]: ...
    def refuse(self, refusals: Sequence[Refusal]) -> None: ...
    def refusals(self, *, reason: str | None = None, limit: int = 1000) -> list[Refusal]: ...
    def refusal_counts(self) -> dict[str, int]:
        """Rows refused since the beginning (`Refusal.count`), by reason; forgetting takes none away."""
        ...

    def release(self, ids: Collection[str], *, by: str) -> None:
        """Note that the fixes of these refusals were put back through the pipeline; the first `by` stands."""
        ...

    def releases(self) -> dict[str, str]:
        """Who has released which refusal, by its id."""
        ...

    def forget_refusals(self, before: int) -> int:
        """Delete what entered the quarantine before a time (the adapter's clock); returns how many."""
        ...

    def forget_signals(self, before: int) -> int:
        """Forget which signals were folded in before a time (the adapter's clock), so that the list does not
        grow for ever; returns how many. Alarms stay. Only for times from which nothing can be delivered again."""
        ...

    def hold_back(self, held: Sequence[HeldBack]) -> None:
        """Record what rules made no alarm of; told again (by `HeldBack.id`) it is kept with the later `last`."""
        ...

    def held_back(self, camera: str, start: int, end: int, *, limit: int = 1000) -> list[HeldBack]:
        """What was held back of a camera and seen at any time from `start` to `end`; the latest `last` first."""
        ...

    def forget_held_back(self, before: int) -> int:
        """Delete what was recorded before a time (retention), and the oldest over a number; returns how many."""
        ...

    def report_devices(self, devices: Sequence[dict[str, Any]]) -> None:
        """Upsert device health rows: device, received, state, waiting, oldest, dropped, detail, frame_scored.

        What a row leaves out stays as it was; `received` and `frame_scored` never go back.
        """
        ...

    def devices(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...


class Snapshots(Protocol):
    """State of a worker per (app, topic, partition), together with the log offset it includes."""

    def load(self, app: str, topic: str, partition: int) -> tuple[int, bytes] | None: ...

    def save(self, app: str, topic: str, partition: int, offset: int, state: bytes) -> None:
        """Durable on return. Never replaces a snapshot that includes a later offset."""
        ...

    def drop(self, app: str, topic: str, partition: int) -> None:
        """Forget the snapshot: its log is gone, and another begins at 0."""
        ...

    def close(self) -> None: ...


class Pulse(Protocol):
    """The parts of the system say how they are, and anyone may read it: health checks, metrics, the console."""

    def beat(self, part: str, instance: str, row: dict[str, Any]) -> None:
        """Replace the row of (part, instance); the adapter adds `beaten`, its clock in microseconds."""
        ...

    def beats(self) -> list[dict[str, Any]]:
        """Every row, with part, instance and beaten."""
        ...


class Blobs(Protocol):
    """Evidence frames by content: `put` is idempotent, the key is derived from the bytes."""

    def put(self, data: bytes) -> str: ...
    def get(self, key: str) -> bytes:
        """Raises KeyError for an unknown (or expired) key."""
        ...

    def forget(self, before: int) -> int:
        """Delete what was last put before a time (microseconds, the adapter's clock); returns how many."""
        ...


# ---------------------------------------------------------------- pure parts


class Detector(Protocol):
    """Sees things in pictures. Pure: no clock, no I/O after construction; safe to call from one thread."""

    @property
    def model(self) -> str:
        """Name and short hash, as it stands in evidence, e.g. `fire-smoke@3f9a1c2b`."""
        ...

    @property
    def thresholds(self) -> dict[str, float]:
        """Per label, the score from which the model's card says a detection is worth a person's time."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """`images`: H x W x 3 uint8 BGR each, sizes may differ. One `Detections` per image, same order."""
        ...


S = TypeVar("S")
B_contra = TypeVar("B_contra", contravariant=True)


@runtime_checkable
class Rule(Protocol[S, B_contra]):
    """Pure: no clock, no I/O. Live, tests, replay and backtests run the same three functions.

    `S` is encodable by `wire.pack_state`. `step` and `tick` own the state they are given and may reuse it:
    the caller goes on with the returned one only.
    """

    def initial(self) -> S: ...

    def step(self, state: S, batch: B_contra) -> tuple[S, list[Signal]]:
        """Rows come in order of arrival; each batch at most once."""
        ...

    def tick(self, state: S, watermark: Any) -> tuple[S, list[Signal]]:
        """Time has passed without input: conditions that need only time may begin or end."""
        ...
