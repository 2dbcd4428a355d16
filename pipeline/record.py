"""One record of the log, and the records that every stage can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from pipeline import wire
from pipeline.message import Gap, Refusal, Signal

T = TypeVar("T")
RAW_KEPT = 65_536
"""Bytes of a refused message that are kept for a person to look at."""


class Record(NamedTuple):
    """One record to append to partition `partition` of `topic`."""

    topic: str
    partition: int
    key: str
    value: bytes


def signal_record(signal: Signal) -> Record:
    return Record(wire.SIGNALS, 0, signal.subject, wire.pack(signal))


def refusal_record(refusal: Refusal) -> Record:
    return Record(wire.QUARANTINE, 0, refusal.device, wire.pack(refusal))


def unreadable(topic: str, value: bytes, error: Exception) -> Refusal:
    """A record on our own log that does not decode: another version wrote it, or the disk is failing."""
    return Refusal("", topic, "unreadable_record", str(error), 0, value[:RAW_KEPT])


def decoded(topic: str, value: bytes, unpack: Callable[[bytes], T]) -> T | Refusal:
    """The record, or why it cannot be read."""
    try:
        return unpack(value)
    except (ValueError, msgspec.MsgspecError) as error:
        return unreadable(topic, value, error)


def gap_refusal(device: str, kind: str, gap: Gap, received: int) -> Refusal:
    """What a device had to give up, kept beside what was refused: a person should know of both."""
    between = f"between {wire.rfc3339(gap.first)} and {wire.rfc3339(gap.last)}"
    detail = f"{gap.count} messages of kind {kind} kept {between} gave way: the device's spool was full"
    if kind == "spool":
        detail = f"the device's spool was damaged {between}: what waited in it is lost"
    return Refusal(device, wire.topic(device, "position"), "gap", detail, received, count=gap.count)
