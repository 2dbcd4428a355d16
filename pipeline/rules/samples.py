"""Readings of many sensors brought into the order in which rules want them, and what cannot be taken refused.

A series is one channel of one device. Its readings become rows of `Moves`, as the fixes of a unit do: by series,
ascending in event time, late ones passed over. Refused, with its reason:

    channel_name       not 1 to 63 letters, digits or _.-, or its unit of measure longer than 32 characters
    value_not_finite   NaN or infinite
    clock_early        before the earliest believable time
    clock_future       too long after it was received
    too_many_channels  the device already has CHANNELS, or the partition SERIES of them
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline import wire
from pipeline.message import Floats, Ints, Reading, ReadingRecord, Refusal, codes
from pipeline.wire import rfc3339

CHANNELS = 256
SERIES = 100_000
UNIT_CHARACTERS = 32
CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """Readings in columns, in order of arrival. `unit` indexes `units`, which are series: `device/channel`.

    `measure` indexes `measures`, the units of measure as the devices name them. `heard` is the bridge's clock at
    each record, also at one without readings, which is a tick; `record` indexes it. `moves.arrange` takes it.
    """

    units: tuple[str, ...]
    measures: tuple[str, ...]
    unit: NDArray[np.uint32]
    measure: NDArray[np.uint32]
    at: Ints
    record: Ints
    value: Floats
    heard: Ints

    def __len__(self) -> int:
        return len(self.at)


def batch_of(records: Sequence[ReadingRecord]) -> SampleBatch:
    rows = [(i, reading) for i, record in enumerate(records) for reading in record.readings]
    units, unit = codes([f"{records[i].device}/{reading.channel}" for i, reading in rows])
    measures, measure = codes([reading.unit for _i, reading in rows])
    return SampleBatch(
        units,
        measures,
        unit,
        measure,
        at=np.array([reading.at for _i, reading in rows], np.int64),
        record=np.array([i for i, _reading in rows], np.int64),
        value=np.array([reading.value for _i, reading in rows], np.float64),
        heard=np.array([record.received for record in records], np.int64),
    )


class Series:
    """Which series a rule is about: devices and channels by pattern; an empty list means all of them."""

    def __init__(self, devices: Sequence[str] = (), channels: Sequence[str] = ()) -> None:
        self._devices, self._channels = tuple(devices), tuple(channels)
        self._known: dict[str, bool] = {}

    def covers(self, series: str) -> bool:
        known = self._known.get(series)
        if known is None:
            device, _, channel = series.partition("/")
            known = self._known[series] = _any(device, self._devices) and _any(channel, self._channels)
        return known


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


# ---------------------------------------------------------------- what can be taken


class Channels(msgspec.Struct):
    """State: the channels of each device."""

    known: dict[str, set[str]]
    count: int = 0


class Clock(Protocol):
    """Bounds of a believable stamp, microseconds: `earliest` since the epoch, `future` after `received`."""

    @property
    def earliest(self) -> int: ...
    @property
    def future(self) -> int: ...


def sift(state: Channels, record: ReadingRecord, clock: Clock) -> tuple[ReadingRecord, list[Refusal]]:
    """The readings to take, and one refusal for all of a record that share a reason. Changes `state`."""
    reasons = [_reason(state, record, reading, clock) for reading in record.readings]
    if not any(reasons):
        return record, []
    good = [reading for reading, reason in zip(record.readings, reasons, strict=True) if not reason]
    return msgspec.structs.replace(record, readings=good), list(_refusals(record, reasons))


def _reason(state: Channels, record: ReadingRecord, reading: Reading, clock: Clock) -> str:
    if not CHANNEL.fullmatch(reading.channel) or len(reading.unit) > UNIT_CHARACTERS:
        return "channel_name"
    if not math.isfinite(reading.value):
        return "value_not_finite"
    if reading.at < clock.earliest:
        return "clock_early"
    if reading.at - record.received > clock.future:
        return "clock_future"
    return "" if _known(state, record.device, reading.channel) else "too_many_channels"


def _known(state: Channels, device: str, channel: str) -> bool:
    known = state.known.get(device, set())
    if channel in known:
        return True
    if len(known) >= CHANNELS or state.count >= SERIES:
        return False
    state.known.setdefault(device, known).add(channel)
    state.count += 1
    return True


def _refusals(record: ReadingRecord, reasons: Iterable[str]) -> Iterator[Refusal]:
    groups: dict[str, list[Reading]] = {}
    for reading, reason in zip(record.readings, reasons, strict=True):
        if reason:
            groups.setdefault(reason, []).append(reading)
    for reason, readings in groups.items():
        first = readings[0]
        detail = f"{len(readings)} of {len(record.readings)} readings, the first of channel {first.channel[:64]!r}"
        detail += f" at {rfc3339(first.at)}"
        raw = msgspec.msgpack.encode(first)[:65_536]
        topic = wire.topic(record.device, "reading")
        yield Refusal(record.device, topic, reason, detail, record.received, raw, len(readings))
