"""What holds for one camera: which parts of its picture do not count, and from which score a detection does.

Times are integer microseconds since the Unix epoch, UTC. Positions are WGS-84 degrees, speeds m/s, courses
degrees true, altitudes and accuracies metres. In float columns NaN means "the source did not say".

    device  ──  Fix, Frame, Reading, Status        one of each, as published
    log     ──  PositionBatch, FrameRecord, ...    many at once, in columns
    rules   ──  Signal                             a condition began, ended, or is still so
    desk    ──  Alarm, AlarmEvent                  one episode with its life
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]
SECOND = 1_000_000
"""Microseconds in a second: `at + 30 * SECOND`."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A whole number that every codec and column takes."""

Micros = Whole
"""A device's stamp: any time that fits a column; whether it can be believed is judged later."""


class Clock(IntEnum):
    """How far a device's own stamp can be believed."""

    SYNCED = 0
    UNSYNCED = 1
    STEPPED = 2
    IMPLAUSIBLE = 3
    UNKNOWN = 4
    CORRECTED = 5
    """Made while it was wrong, and mended by the device when it was right again."""


# ---------------------------------------------------------------- what devices say


class Fix(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One position of one unit. Range and clock are judged later, by `telemetry.clean`; here only shape."""

    unit: str
    at: Micros
    lat: float
    lon: float
    speed: float | None = None
    course: float | None = None
    alt: float | None = None
    accuracy: float | None = None
    clock: Clock = Clock.UNKNOWN


class Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device had to give up: `count` messages of `kind` that it had kept from `first` to `last`.

    Kind `spool`: all that waited in a spool that was damaged, nobody knows how much.
    """

    kind: str
    count: Whole
    first: Micros
    last: Micros


class Fixes(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of a `position` message. `until` promises: every fix up to that event time has been sent.

    `gap` travels here whatever kind gave way: a kind of its own would need every broker's access list to know it.
    """

    fixes: list[Fix] = []
    until: Micros | None = None
    gap: Gap | None = None


class Frame(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of a `frame` message: one still picture, encoded (JPEG), stamped when it arrived at the agent."""

    at: Micros
    image: bytes
    clock: Clock = Clock.UNKNOWN


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One value of one sensor channel, e.g. `temperature` in `degC`."""

    channel: str
    at: Micros
    value: float
    unit: str = ""
    clock: Clock = Clock.UNKNOWN


class Readings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of a `reading` message."""

    readings: list[Reading]


class Status(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of a `status` message: how the agent itself is. The last will is one with `state="lost"`."""

    state: str
    at: Micros = 0
    waiting: Whole = 0
    oldest: Whole | None = None
    dropped: Whole = 0
    detail: str = ""
    version: str = ""


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pipeline's promise: of `epoch`, everything up to and including `seq` is durable.

    `resend=True` adds: the next one I need is `seq + 1`, send again from there.
    """

    epoch: int
    seq: int
    resend: bool = False


# ---------------------------------------------------------------- what the log carries


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A numbered stream of messages: a device and one life of its spool."""

    device: str
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class PositionBatch:
    """Fixes of many units in columns of equal length `n`, in order of arrival per unit.

    `unit` indexes `units`, `source` indexes `sources`, `(sources[source], seq)` names the message a row came
    in. `ticks` are `(device, until)` promises: see `Fixes.until`; they hold after the rows.
    """

    units: tuple[str, ...]
    sources: tuple[Source, ...]
    unit: NDArray[np.uint32]
    source: NDArray[np.uint32]
    seq: Ints
    at: Ints
    received: Ints
    lat: Floats
    lon: Floats
    speed: Float32s
    course: Float32s
    alt: Float32s
    accuracy: Float32s
    clock: NDArray[np.uint8]
    ticks: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        n = len(self.at)
        for name in POSITION_COLUMNS:
            if len(getattr(self, name)) != n:
                raise ValueError(f"column {name} has {len(getattr(self, name))} rows, at has {n}")

    def __len__(self) -> int:
        return len(self.at)

    def select(self, rows: NDArray[Any]) -> PositionBatch:
        """The batch with only `rows` (a boolean mask or indices), names and ticks unchanged."""
        columns = {name: getattr(self, name)[rows] for name in POSITION_COLUMNS}
        return PositionBatch(units=self.units, sources=self.sources, ticks=self.ticks, **columns)


POSITION_COLUMNS = tuple(f.name for f in fields(PositionBatch) if f.name not in ("units", "sources", "ticks"))
POSITION_DTYPES: dict[str, np.dtype[Any]] = {
    "unit": np.dtype("<u4"),
    "source": np.dtype("<u4"),
    "seq": np.dtype("<i8"),
    "at": np.dtype("<i8"),
    "received": np.dtype("<i8"),
    "lat": np.dtype("<f8"),
    "lon": np.dtype("<f8"),
    "speed": np.dtype("<f4"),
    "course": np.dtype("<f4"),
    "alt": np.dtype("<f4"),
    "accuracy": np.dtype("<f4"),
    "clock": np.dtype("u1"),
}


class FrameRecord(msgspec.Struct, frozen=True):
    """One frame on the log. `received` is the bridge's clock."""

    device: str
    epoch: int
    seq: int
    received: int
    frame: Frame


class ReadingRecord(msgspec.Struct, frozen=True):
    """The readings of one message on the log."""

    device: str
    epoch: int
    seq: int
    received: int
    readings: list[Reading]


class DeviceReport(msgspec.Struct, frozen=True):
    """What the bridge knows of one device: the last sign of life of any kind, and its last own words.

    `frames` of its `messages` since the last report carried a picture.
    """

    device: str
    received: int
    messages: int = 0
    status: Status | None = None
    frames: int = 0


class DeviceRecord(msgspec.Struct, frozen=True):
    """Reports of the devices heard since the last record, and the bridge's clock (`now`) as a tick."""

    now: int
    reports: list[DeviceReport]


class Refusal(msgspec.Struct, frozen=True):
    """Something refused, kept so that a person can see what and why. `raw` is cut to 64 KiB.

    One refusal may stand for `count` rows that came together; `raw` is then the first of them. `detail` may be
    shown to anybody who sees the console, so it never says where a unit was.
    """

    device: str
    topic: str
    reason: str
    detail: str
    received: int
    raw: bytes = b""
    count: int = 1

    @property
    def id(self) -> str:
        """The same refusal of the same bytes has the same id, so a second delivery adds nothing."""
        return digest(self.device, self.topic, self.reason, self.detail, hashlib.sha256(self.raw).hexdigest())


# ---------------------------------------------------------------- what detectors and rules conclude


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector saw in one picture: boxes `[n, 4]` as x1, y1, x2, y2 in pixels of the original picture."""

    boxes: Float32s
    scores: Float32s
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.scores), 4) or len(self.labels) != len(self.scores):
            raise ValueError(f"boxes {self.boxes.shape}, {len(self.scores)} scores, {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, float, float, float]]]:
        for label, score, box in zip(self.labels, self.scores.tolist(), self.boxes.tolist(), strict=True):
            yield label, score, (box[0], box[1], box[2], box[3])


class Look(msgspec.Struct, frozen=True):
    """A picture as a whole, measured before any rule by `pipeline.vision.look`. Grey levels are 0 to 255.

    `thumb` is the grey picture as 64 x 36 bytes, `grain` single pixels of it as 32 x 18 bytes, `detail` how much
    structure each of 16 x 9 blocks has, in eighths of a grey level; all row by row. `mark` is the same for the same
    bytes. `sharpness` is the fine detail of what has structure, in per cent; None where too little has.
    """

    mean: float
    contrast: float
    dark: float
    bright: float
    sharpness: float | None
    thumb: bytes
    grain: bytes
    detail: bytes
    mark: str


class ScoredFrame(msgspec.Struct, frozen=True):
    """A frame that the detector has seen, as stored and as given to the rules. `look` and `changes` are not stored.

    `changes`: for each detection how much the picture inside it changes (`vision.motion`), None where not known.
    """

    camera: str
    at: int
    received: int
    width: int
    height: int
    model: str
    detections: list[tuple[str, float, tuple[float, float, float, float]]]
    clock: Clock = Clock.UNKNOWN
    look: Look | None = None
    changes: list[float | None] = []


class HeldBack(msgspec.Struct, frozen=True):
    """What a camera showed from `first` to `last` and a rule did not make an alarm of, with the reason.

    `reason` is mask, score, hits, share, persistence, constant, gap, cool_down or crowd, `detail` a sentence,
    `best` the best score against the `needed` one, `box` the last in pixels, `place` where it was first seen.
    """

    first: int
    last: int
    box: tuple[float, float, float, float]
    best: float
    reason: str
    detail: str
    rule: str = ""
    label: str = ""
    camera: str = ""
    place: str = ""
    needed: float = 0.0

    @property
    def id(self) -> str:
        """While it goes on it is told again with a later `last`, under the same id."""
        return digest(self.rule, self.camera, self.first, self.place)


class Change(StrEnum):
    """What a signal says of its condition."""

    BEGAN = "began"
    STILL = "still"
    ENDED = "ended"
    HOLDS = "holds"
    """Of a unit, not of one condition: which episodes there were in a time. See `alarms.late`."""


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule's word. The same input gives the same ids, whoever runs the rule and however often."""

    rule: str
    kind: str
    version: str
    subject: str
    place: str
    change: Change
    at: int
    start: int
    reason: str
    severity: str = "warning"
    evidence: dict[str, Any] = {}
    joins: str = ""

    @property
    def episode(self) -> str:
        """Id of the episode this signal speaks of."""
        return digest(self.rule, self.subject, self.place, self.start)

    @property
    def alarm(self) -> str:
        """Id of the alarm of that episode: its own, or the one it has joined (`alarms.merge`)."""
        return self.joins or self.episode

    @property
    def id(self) -> str:
        """Id of the signal itself; a second delivery is recognised by it."""
        return digest(self.episode, self.change.value, self.at)


class Alarm(msgspec.Struct, frozen=True):
    """One episode as it stands now. `state` is raised, acknowledged, cleared or resolved."""

    id: str
    rule: str
    kind: str
    subject: str
    place: str
    severity: str
    state: str
    start: int
    raised_at: int
    updated_at: int
    ended_at: int | None
    reason: str
    evidence: dict[str, Any]
    acknowledged_by: str | None = None
    resolved_by: str | None = None


class AlarmEvent(msgspec.Struct, frozen=True):
    """One change in the life of an alarm. `number` grows with each commit, so a stream can resume after it."""

    number: int
    alarm: str
    change: str
    at: int
    recorded: int
    by: str
    reason: str
    evidence: dict[str, Any] = {}


def digest(*parts: object) -> str:
    """A short stable id of `parts`: 16 hex digits of SHA-256."""
    return hashlib.sha256("\x1f".join(str(p) for p in parts).encode()).hexdigest()[:16]


def codes(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.uint32]]:
    """Distinct `names` in order of first appearance, and for each name its index among them."""
    index: dict[str, int] = {}
    column = np.fromiter((index.setdefault(n, len(index)) for n in names), np.uint32, len(names))
    return tuple(index), column
