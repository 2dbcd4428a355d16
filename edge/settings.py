"""The agent's settings: one TOML file for one device. The files in config/edge.*.toml show every key.

An unknown key is an error that names it and the nearest known one. `VEDETTE_EDGE_MQTT_HOST`, `_PORT`, `_USERNAME`
and `_PASSWORD` (or `_PASSWORD_FILE`, the secret's file) lie over the file. Relative paths are taken from the file's
folder.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge import rows
from edge.errors import SetupError
from pipeline import wire

MOST_FIXES = 1000
"""In one message. The bridge takes five times as many, and refuses a message with more."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the tables: frozen, keyword-only, unknown keys refused."""


class Mqtt(Table, frozen=True):
    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive_s: int = 20
    back_off_max_s: float = 60.0


class SpoolTable(Table, frozen=True):
    max_bytes: int = 268_435_456


class Publish(Table, frozen=True):
    window: int = 2000
    window_bytes: int = 8_388_608
    in_flight: int = 100
    receipt_timeout_s: float = 5.0
    status_s: float = 10.0
    backlog_share: float = 0.5


class Camera(Table, frozen=True, tag_field="kind", tag="camera"):
    url: str
    interval_s: float = 1.0
    max_side: int = 1280
    jpeg_quality: int = 85
    stall_s: float = 15.0
    transport: Literal["tcp", "udp"] = "tcp"
    max_bytes: int = 1_500_000
    blank: list[list[tuple[float, float]]] = []
    busy_interval_s: float = 0.0
    busy_share: float = 0.02
    thin_when_full: bool = True
    hardware: bool = False
    start: str = ""
    speed: float = 1.0
    loop: bool = False
    run: str = ""


class Gps(Table, frozen=True, tag_field="kind", tag="gps"):
    url: str
    unit: str = ""
    baud: int = 9600
    date: str = ""
    interval_s: float = 0.0
    stall_s: float = 30.0
    run: str = ""


class Sensor(Table, frozen=True, tag_field="kind", tag="sensor"):
    sensor: list[rows.AnyRow]


class Tracks(Table, frozen=True, tag_field="kind", tag="tracks"):
    files: list[str]
    speed: float = 1.0
    batch: int = 200
    on_bad: Literal["raise", "skip"] = "raise"
    run: str = ""


class Gateway(Table, frozen=True, tag_field="kind", tag="gateway"):
    units: dict[str, str] = {}
    unknown: Literal["refuse", "pass"] = "refuse"
    bind: str = "127.0.0.1"
    jt808_port: int = 0
    jt808_udp_port: int = 0
    gt06_port: int = 0
    http_port: int = 0
    nmea_port: int = 0
    auth_secret: str = ""
    alarms: list[str] = msgspec.field(default_factory=lambda: ["sos", "collision", "rollover"])
    connections: int = 5000
    connections_per_address: int = 5000
    login_s: float = 30.0
    idle_s: float = 600.0
    late_s: float = 60.0


class DemoFleet(Table, frozen=True, tag_field="kind", tag="demo-fleet"):
    seed: int = 1


class DemoCamera(Table, frozen=True, tag_field="kind", tag="demo-camera"):
    seed: int = 1
    interval_s: float = 1.0
    width: int = 1280
    height: int = 720
    jpeg_quality: int = 88
    smoke_after_s: float = 10.0


Source = Camera | Gps | Gateway | Sensor | Tracks | DemoFleet | DemoCamera
SOURCES: dict[str, type[Table]] = {
    "camera": Camera,
    "gps": Gps,
    "gateway": Gateway,
    "sensor": Sensor,
    "tracks": Tracks,
    "demo-fleet": DemoFleet,
    "demo-camera": DemoCamera,
}


class Settings(Table, frozen=True):
    """Everything that one agent can be told."""

    device: str
    source: Source
    data: str = ""
    exit_when_done: bool = False
    mqtt: Mqtt = Mqtt()
    spool: SpoolTable = SpoolTable()
    publish: Publish = Publish()


POSITIVE = {
    "mqtt": ("keepalive_s", "back_off_max_s"),
    "spool": ("max_bytes",),
    "publish": ("window", "window_bytes", "in_flight", "receipt_timeout_s", "status_s", "backlog_share"),
    "source": (
        *("max_side", "jpeg_quality", "max_bytes", "busy_share", "stall_s", "baud", "batch", "width", "height"),
        *("connections", "connections_per_address", "login_s", "idle_s"),
    ),
}


def load(path: Path, *, data: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `path`, with the environment and `data` laid over. SetupError names file, key and fix."""
    tree = _read(path)
    _override(tree, environ)
    if data is not None:
        tree["data"] = str(data.resolve())
    settings = _convert(tree, path)
    _check(settings, path)
    return _resolve(settings, path.resolve().parent)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SetupError(f"no settings file {path}: see config/edge.*.toml for examples") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: not valid TOML: {error}") from None


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Lay VEDETTE_EDGE_MQTT_* over the file's [mqtt]; a name that matches no key is an error."""
    prefix, keys = "VEDETTE_EDGE_MQTT_", Mqtt.__struct_fields__
    for name, value in environ.items():
        if not name.startswith(prefix):
            continue
        key = name.removeprefix(prefix).lower()
        if key in keys:
            tree.setdefault("mqtt", {})[key] = value
        elif key.removesuffix("_file") in keys:
            tree.setdefault("mqtt", {})[key.removesuffix("_file")] = _secret(name, value)
        else:
            raise SetupError(f"environment: no setting {name}{_nearest(key, keys)}")


def _secret(name: str, value: str) -> str:
    try:
        return Path(value).read_text("utf-8").strip()
    except OSError as error:
        raise SetupError(f"{name}={value}: cannot read the secret: {error.strerror}") from None


def _convert(tree: dict[str, Any], path: Path) -> Settings:
    _refuse_unknown(tree, Settings, f"{path}")
    tables: dict[str, type[Table]] = {"mqtt": Mqtt, "spool": SpoolTable, "publish": Publish}
    for name, table in tables.items():
        _refuse_unknown(tree.get(name, {}), table, f"{path}, [{name}]")
    source = tree.get("source")
    if not isinstance(source, dict) or source.get("kind") not in SOURCES:
        kinds = ", ".join(repr(kind) for kind in SOURCES)
        raise SetupError(f"{path}, [source]: 'kind' must be one of {kinds}")
    _refuse_unknown(source, SOURCES[source["kind"]], f"{path}, [source] of kind {source['kind']!r}", "kind")
    for row in source.get("sensor", ()) if source["kind"] == "sensor" else ():
        if isinstance(row, dict) and row.get("kind") in rows.ROWS:
            where = f"{path}, [[source.sensor]] of channel {row.get('channel')!r}"
            _refuse_unknown(row, rows.ROWS[row["kind"]], where, "kind")
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(f"{path}: {error}") from None


def _refuse_unknown(tree: Any, table: type[msgspec.Struct], where: str, *also: str) -> None:
    known = (*table.__struct_fields__, *also)
    for key in tree if isinstance(tree, dict) else ():
        if key not in known:
            raise SetupError(f"{where}: unknown key {key!r}{_nearest(key, known)}")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _check(settings: Settings, path: Path) -> None:
    if not wire.DEVICE_NAME.fullmatch(settings.device):
        fix = "use 1 to 63 letters, digits, _ or -, and begin with a letter or digit"
        raise SetupError(f"{path}: device {settings.device!r}: {fix}")
    for name, keys in POSITIVE.items():
        for key in keys:
            value = getattr(getattr(settings, name), key, 1)
            if value <= 0:
                raise SetupError(f"{path}, [{name}]: {key} = {value}: must be more than 0")
    for key in ("interval_s", "busy_interval_s", "busy_share", "speed"):
        if getattr(settings.source, key, 0) < 0:
            raise SetupError(f"{path}, [source]: {key} must not be negative")
    if getattr(settings.source, "batch", 0) > MOST_FIXES:
        batch = getattr(settings.source, "batch", 0)
        raise SetupError(f"{path}, [source]: batch = {batch}: must be {MOST_FIXES:,} at the most")
    if bool(settings.mqtt.cert_file) != bool(settings.mqtt.key_file):
        raise SetupError(f"{path}, [mqtt]: cert_file and key_file belong together; give both or neither")


def _resolve(settings: Settings, base: Path) -> Settings:
    """Make paths absolute."""

    def absolute(text: str) -> str:
        return str((base / text).resolve()) if text else ""

    mqtt = settings.mqtt
    files = {key: absolute(getattr(mqtt, key)) for key in ("ca_file", "cert_file", "key_file")}
    source: Source = settings.source
    if isinstance(source, Tracks):
        source = msgspec.structs.replace(source, files=[absolute(name) for name in source.files])
    elif isinstance(source, Sensor):
        source = msgspec.structs.replace(source, sensor=[rows.resolved(row, base) for row in source.sensor])
    elif isinstance(source, Camera | Gps) and not is_address(source.url):
        source = msgspec.structs.replace(source, url=absolute(source.url))
    return msgspec.structs.replace(
        settings,
        data=absolute(settings.data or f"data/{settings.device}"),
        mqtt=msgspec.structs.replace(mqtt, **files),
        source=source,
    )


def is_address(url: str) -> bool:
    """Whether a source's url is an address (rtsp://, gpsd://, serial://), not a file or device path."""
    return "://" in url


def is_live(url: str) -> bool:
    """Whether a source's url is an address or a device of the machine, not a file."""
    return is_address(url) or url.startswith("/dev/")
