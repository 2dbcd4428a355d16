"""The rows of a sensor's table: each says where one channel's value comes from. See config/edge.sensor.toml.

raw value ──► invalid? ──► times scale, plus offset ──► Reading(channel, unit)
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.errors import SetupError

CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What the pipeline takes as a channel's name."""
UNIT_CHARACTERS = 32


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """One channel. `invalid`: raw values with which the sensor says that it has none."""

    channel: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    invalid: list[float] = []
    every_s: float = 10.0


class ModbusRow(Row, frozen=True, kw_only=True, tag="modbus"):
    """A register of a Modbus device; rows with the same `url` share a connection."""

    url: str
    register: int
    address: int = 1
    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    type: Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"] = "uint16"
    words: Literal["big", "little"] = "big"
    timeout_s: float = 1.0
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: int = 1


class MqttRow(Row, frozen=True, kw_only=True, tag="mqtt"):
    """A value in the messages of another system's MQTT broker. `every_s` is the least time between two."""

    url: str
    topic: str
    pointer: str = ""
    values: dict[str, float] = {}
    at: str = ""
    silent_s: float = 0.0
    every_s: float = 0.0


class CommandRow(Row, frozen=True, kw_only=True, tag="command"):
    """What a command prints."""

    argv: list[str]
    timeout_s: float = 10.0
    pointer: str = ""
    pattern: str = ""


class FileRow(Row, frozen=True, kw_only=True, tag="file"):
    """What stands in a file. With `max_age_s` the file's own time is the value's."""

    path: str
    max_age_s: float = 0.0
    pointer: str = ""
    pattern: str = ""


AnyRow = ModbusRow | MqttRow | CommandRow | FileRow
ROWS: dict[str, type[AnyRow]] = {"modbus": ModbusRow, "mqtt": MqttRow, "command": CommandRow, "file": FileRow}


def check(rows: Sequence[AnyRow]) -> None:
    """SetupError naming the row and the fix."""
    if not rows:
        raise SetupError("[source]: a sensor without rows: write at least one [[source.sensor]]")
    seen = set[str]()
    for row in rows:
        if trouble := "twice: give each row a channel of its own" if row.channel in seen else _trouble(row):
            raise SetupError(f"[[source.sensor]] of channel {row.channel!r}: {trouble}")
        seen.add(row.channel)


def _trouble(row: AnyRow) -> str:
    name = re.sub(r"\{\d\}", "x", row.channel) if isinstance(row, MqttRow) else row.channel
    if not CHANNEL.fullmatch(name):
        return "use 1 to 63 letters, digits, _ . or -, and begin with a letter or digit"
    if len(row.unit) > UNIT_CHARACTERS:
        return f"unit: {UNIT_CHARACTERS} characters at the most"
    if row.every_s < (0 if isinstance(row, MqttRow) else 0.1):
        return f"every_s = {row.every_s:g}: 0.1 at the least"
    match row:
        case ModbusRow():
            return _modbus_trouble(row)
        case MqttRow():
            return _mqtt_trouble(row)
        case CommandRow(argv=[]):
            return "argv: name the command, like ['/usr/bin/sensors', '-j']"
        case CommandRow() | FileRow():
            return _pattern_trouble(row.pattern, row.pointer)


def _modbus_trouble(row: ModbusRow) -> str:
    if not row.url.startswith(("modbus://", "rtu://", "serial://")):
        return f"url {row.url!r}: use modbus://HOST:502, rtu://HOST:PORT (RTU over TCP) or serial:///dev/ttyUSB0"
    if not 0 <= row.register <= 65_535 or not 0 <= row.address <= 255:
        return f"register {row.register}, address {row.address}: 0 to 65535 and 0 to 255; 40001 is register 0"
    return "" if row.timeout_s > 0 else "timeout_s: more than 0"


def _mqtt_trouble(row: MqttRow) -> str:
    if not row.url.startswith(("mqtt://", "mqtts://")):
        return f"url {row.url!r}: use mqtt://[USER:PASSWORD@]HOST[:1883] or mqtts://"
    if not row.topic:
        return "topic: must not be empty"
    return "".join(
        f"{key}: a JSON pointer begins with /" for key in ("pointer", "at") if _no_pointer(getattr(row, key))
    )


def _pattern_trouble(pattern: str, pointer: str) -> str:
    if pattern and pointer:
        return "give pointer (for JSON) or pattern, not both"
    if _no_pointer(pointer):
        return "pointer: a JSON pointer begins with /"
    try:
        return "" if not pattern or re.compile(pattern).groups else "pattern: put the number into (brackets)"
    except re.error as error:
        return f"pattern: {error}"


def _no_pointer(pointer: str) -> bool:
    return pointer != "" and not pointer.startswith("/")


def resolved(row: AnyRow, base: Path) -> AnyRow:
    """With its path taken from `base`."""
    if isinstance(row, FileRow):
        return msgspec.structs.replace(row, path=str(base / row.path))
    return row


def read(path: Path) -> list[dict[str, Any]]:
    """The [[sensor]] rows of a file, as they stand there. SetupError."""
    try:
        rows: list[dict[str, Any]] = tomllib.loads(path.read_text("utf-8")).get("sensor", [])
        check(msgspec.convert(rows, list[AnyRow]))
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SetupError(
            f"{path}: {error}: write rows like those of config/edge.sensor.toml, as [[sensor]]"
        ) from None
    return rows
