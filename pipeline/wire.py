"""Topics, codecs and the schema version: how nouns become bytes and back.

MQTT payloads are an `Envelope` around a body, in JSON (first byte `{`) or MessagePack; agents send JSON for
positions, readings and status, MessagePack for frames. Records on the log are MessagePack, positions as columns.
"""

from __future__ import annotations

import math
import re
import zlib
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np

from pipeline.message import (
    POSITION_COLUMNS,
    POSITION_DTYPES,
    DeviceRecord,
    FrameRecord,
    PositionBatch,
    ReadingRecord,
    Refusal,
    Signal,
    Source,
)

VERSION: Final = 1
PREFIX: Final = "vedette/v1"
KINDS: Final = ("position", "frame", "reading", "status")
MAX_PAYLOAD: Final = 2 * 1024 * 1024
"""Bytes of one MQTT payload; the embedded broker disconnects a client that sends more."""

LOG_LIMIT: Final = MAX_PAYLOAD + 65_536
"""Bytes the log is set up to take at once: a full payload and the names the bridge adds."""

MAX_RECORD: Final = LOG_LIMIT - 1024
"""Bytes of one record's value: the log counts its key and headers too."""

POSITIONS: Final = "positions"
FRAMES: Final = "frames"
READINGS: Final = "readings"
DEVICES: Final = "devices"
SIGNALS: Final = "signals"
ALARMS: Final = "alarms"
QUARANTINE: Final = "quarantine"
COMPANY: Final = "company"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}")
"""Device and unit names: safe in a topic, a subject, a file name and a URL. No space, wildcard or slash."""

DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""A device name is a topic level too, and the embedded broker treats a dot there as a separator."""

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What travels over MQTT around every body.

    `(epoch, seq)` numbers the spooled messages of a device from 1 up without holes; `seq=0` marks one that is not
    spooled (status). `base` is the lowest seq the device still holds: everything below it is confirmed.
    """

    device: str
    epoch: Count
    seq: Count
    base: Count
    body: msgspec.Raw
    v: int = VERSION


def topic(device: str, kind: str) -> str:
    """The MQTT topic of a device's `kind`, which is one of KINDS or `receipt`."""
    return f"{PREFIX}/{device}/{kind}"


def parse_topic(name: str) -> tuple[str, str] | None:
    """(device, kind) of an MQTT topic, None if it is not one of ours."""
    head, _, rest = name.partition(PREFIX + "/")
    device, _, kind = rest.partition("/")
    if head or kind not in KINDS or not DEVICE_NAME.fullmatch(device):
        return None
    return device, kind


def partition_of(key: str, partitions: int) -> int:
    """Stable partition of a unit or device name (CRC-32, so every process and version agrees)."""
    return zlib.crc32(key.encode()) % partitions


# ---------------------------------------------------------------- device side


def encode_body(body: msgspec.Struct, *, binary: bool = False) -> bytes:
    """Bytes of a body as spooled: JSON, or MessagePack with `binary=True` (frames)."""
    return msgspec.msgpack.encode(body) if binary else msgspec.json.encode(body)


def encode_envelope(device: str, epoch: int, seq: int, base: int, body: bytes) -> bytes:
    """Bytes to publish: `body` as spooled, wrapped at the moment of sending because `base` moves."""
    envelope = Envelope(device=device, epoch=epoch, seq=seq, base=base, body=msgspec.Raw(body))
    return msgspec.json.encode(envelope) if body[:1] == b"{" else msgspec.msgpack.encode(envelope)


def decode(payload: bytes, kind: type[T]) -> T:
    """JSON or MessagePack bytes as `kind`. Raises msgspec.DecodeError / ValidationError with the place."""
    if payload[:1] == b"{":
        return msgspec.json.decode(payload, type=kind)
    return msgspec.msgpack.decode(payload, type=kind)


# ---------------------------------------------------------------- log side


def encode_positions(batch: PositionBatch) -> bytes:
    """One log record: names, ticks, then each column's little-endian bytes."""
    columns = [getattr(batch, c).astype(POSITION_DTYPES[c], copy=False).tobytes() for c in POSITION_COLUMNS]
    return msgspec.msgpack.encode((VERSION, batch.units, batch.sources, batch.ticks, columns))


_POSITIONS = msgspec.msgpack.Decoder(
    tuple[int, tuple[str, ...], tuple[Source, ...], tuple[tuple[str, int], ...], list[bytes]]
)


def decode_positions(data: bytes) -> PositionBatch:
    """The inverse of `encode_positions`; columns are read-only views into `data`. ValueError if they disagree."""
    version, units, sources, ticks, blobs = _POSITIONS.decode(data)
    if version != VERSION or len(blobs) != len(POSITION_COLUMNS):
        raise ValueError(f"position record of version {version} with {len(blobs)} columns")
    columns: dict[str, Any] = {
        c: np.frombuffer(blob, POSITION_DTYPES[c]) for c, blob in zip(POSITION_COLUMNS, blobs, strict=True)
    }
    return PositionBatch(units=units, sources=sources, ticks=ticks, **columns)


_PACK = msgspec.msgpack.Encoder()
_FRAME = msgspec.msgpack.Decoder(FrameRecord)
_READINGS = msgspec.msgpack.Decoder(ReadingRecord)
_DEVICES = msgspec.msgpack.Decoder(DeviceRecord)
_SIGNAL = msgspec.msgpack.Decoder(Signal)
_REFUSAL = msgspec.msgpack.Decoder(Refusal)


def pack(record: msgspec.Struct) -> bytes:
    """Bytes of any single record (everything on the log but positions)."""
    return _PACK.encode(record)


def unpack_frame(data: bytes) -> FrameRecord:
    return _FRAME.decode(data)


def unpack_readings(data: bytes) -> ReadingRecord:
    return _READINGS.decode(data)


def unpack_devices(data: bytes) -> DeviceRecord:
    return _DEVICES.decode(data)


def unpack_signal(data: bytes) -> Signal:
    return _SIGNAL.decode(data)


def unpack_refusal(data: bytes) -> Refusal:
    return _REFUSAL.decode(data)


# ---------------------------------------------------------------- state of rules


def _encode_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    raise NotImplementedError(f"{type(value)} in a rule's state")


def _decode_array(kind: type, value: Any) -> Any:
    if kind is np.ndarray:
        dtype, shape, data = value
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
    raise NotImplementedError(f"{kind} in a rule's state")


def pack_state(state: Any) -> bytes:
    """MessagePack of a rule's state: msgspec structs, builtins and numpy arrays (annotated `np.ndarray`)."""
    return msgspec.msgpack.encode(state, enc_hook=_encode_array)


def unpack_state(data: bytes, kind: type[T]) -> T:
    """The inverse of `pack_state`. msgspec.ValidationError if the state is of another version of the rule."""
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_decode_array)


# ---------------------------------------------------------------- time at the borders


def rfc3339(at: int) -> str:
    """`2016-11-24T06:00:51Z`, with a fraction only when there is one."""
    seconds, micros = divmod(at, 1_000_000)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{at} us"
    return f"{text}.{micros:06d}".rstrip("0") + "Z" if micros else text + "Z"


def parse_rfc3339(text: str) -> int:
    """Microseconds of an RFC 3339 time. ValueError without an offset: local time is a guess."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no offset; write it like 2026-01-31T12:00:00Z")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def optional(value: float | None) -> float | None:
    """None for NaN, for JSON, which has no NaN."""
    return None if value is None or math.isnan(value) else float(value)
