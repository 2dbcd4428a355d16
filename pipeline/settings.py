"""The only reader of settings files and environment.

One TOML file (`config/vedette.toml` shows every key), overridden by `VEDETTE_<TABLE>_<KEY>`, e.g.
`VEDETTE_STORE_URL`. A secret may come from a file: `VEDETTE_STORE_TOKEN_FILE=/run/secrets/token`. An unknown key
is an error that names it. Relative paths in the file are taken from the file's folder; `{data}` stands for the
data folder.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.ports import UserError

PACKAGE = Path(__file__).resolve().parent.parent


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
    client_id: str = "vedette-bridge"
    keepalive_s: int = 20
    max_payload: int = 2_097_152


class Log(Table, frozen=True):
    engine: Literal["jetstream", "kafka"] = "jetstream"
    url: str = "nats://127.0.0.1:4222"
    partitions: int = 4
    replication: int = 1
    max_bytes: int = 2_147_483_648
    frames_max_bytes: int = 2_147_483_648
    retention_hours: int = 168
    batch_rows: int = 1000
    receipt_delay_s: float = 1.0


class StoreTable(Table, frozen=True):
    engine: Literal["sqlite", "influxdb"] = "sqlite"
    path: str = "{data}/series"
    url: str = "http://127.0.0.1:8086"
    org: str = "vedette"
    bucket: str = "vedette"
    token: str = ""


class Alarms(Table, frozen=True):
    url: str = "sqlite:///{data}/alarms.db"


class State(Table, frozen=True):
    url: str = "sqlite:///{data}/state.db"
    snapshot_interval_s: float = 1.0


class BlobsTable(Table, frozen=True):
    path: str = "{data}/evidence"


class Vision(Table, frozen=True):
    model: str = "{package}/models/fire-smoke"
    shadow: str = ""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 2
    batch_frames: int = 8
    max_age_s: float = 10.0


class Clean(Table, frozen=True):
    earliest: str = "2000-01-01T00:00:00Z"
    future_s: float = 300.0
    accuracy_m: float = 2000.0
    jump_mps: float = 150.0
    jump_m: float = 500.0
    settle_s: float = 5.0
    lookback_s: float = 1800.0
    reach_s: float = 86_400.0


class Fleet(Table, frozen=True):
    file: str = "{package}/config/fleet.csv"


class Rules(Table, frozen=True):
    file: str = "{package}/config/rules.toml"


class CamerasTable(Table, frozen=True):
    file: str = "{package}/config/cameras.toml"
    range_m: float = 30_000.0
    least_baseline_m: float = 200.0
    least_crossing: float = 10.0
    join_s: float = 7200.0


class Devices(Table, frozen=True):
    path: str = "{data}/devices"
    require_enrolled: bool = False
    certificate_days: int = 730
    broker: str = ""
    broker_folder: str = "{data}/broker"
    reload: str = ""


class Retention(Table, frozen=True):
    tracks_days: int = 90
    evidence_days: int = 365


class Api(Table, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8080
    public_host: str = ""
    token: str = ""


class Settings(Table, frozen=True):
    """Everything a deployment can set, by table."""

    data: str = "data"
    mqtt: Mqtt = Mqtt()
    log: Log = Log()
    store: StoreTable = StoreTable()
    alarms: Alarms = Alarms()
    state: State = State()
    blobs: BlobsTable = BlobsTable()
    vision: Vision = Vision()
    clean: Clean = Clean()
    fleet: Fleet = Fleet()
    rules: Rules = Rules()
    cameras: CamerasTable = CamerasTable()
    devices: Devices = Devices()
    retention: Retention = Retention()
    api: Api = Api()


PATHS = {("fleet", "file"), ("rules", "file"), ("blobs", "path"), ("store", "path"), ("vision", "model")}
PATHS |= {("vision", "shadow")}
LISTS = {("vision", "providers")}
"""In the environment words with commas between them."""

PATHS |= {("devices", "path"), ("devices", "broker_folder")}
PATHS |= {("cameras", "file"), ("mqtt", "ca_file"), ("mqtt", "cert_file"), ("mqtt", "key_file")}


def load(
    path: Path | None = None,
    *,
    data: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from `path` (default: `VEDETTE_CONFIG`, else built-in defaults), the environment, and `data`.

    Raises UserError naming the file, the key and the nearest known key.
    """
    path = path or (Path(environ["VEDETTE_CONFIG"]) if environ.get("VEDETTE_CONFIG") else None)
    tree = _read_toml(path) if path else {}
    _override(tree, environ)
    if data is not None:
        tree["data"] = str(data)
    settings = _convert(tree, str(path) if path else "settings")
    base = path.resolve().parent if path else Path.cwd()
    return _resolve(settings, base)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"no settings file {path}: name one with --config, or leave it out for defaults") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Lay VEDETTE_<TABLE>_<KEY> over the file's tree. Names that match no key are somebody else's or an error."""
    known = {f"VEDETTE_{t}_{k}".upper(): (t, k) for t, keys in _keys().items() for k in keys}
    for name, value in environ.items():
        direct, from_file = known.get(name), known.get(name.removesuffix("_FILE"))
        if direct:
            tree.setdefault(direct[0], {})[direct[1]] = value.split(",") if direct in LISTS else value
        elif from_file and name.endswith("_FILE"):
            tree.setdefault(from_file[0], {})[from_file[1]] = _secret(name, value)
        elif name == "VEDETTE_DATA_DIR":
            tree["data"] = value
        elif name.startswith(tuple(f"VEDETTE_{t.upper()}_" for t in _keys())):
            near = difflib.get_close_matches(name, known, 1)
            raise UserError(f"environment: no setting {name}" + (f"; did you mean {near[0]}?" if near else ""))


def _secret(name: str, value: str) -> str:
    try:
        return Path(value).read_text("utf-8").strip()
    except OSError as error:
        raise UserError(f"{name}={value}: cannot read the secret: {error.strerror}") from None


def _keys() -> dict[str, tuple[str, ...]]:
    """Keys by table, from the structs themselves."""
    return {
        f.name: tuple(f.type.__struct_fields__)
        for f in msgspec.structs.fields(Settings)
        if isinstance(f.type, type) and issubclass(f.type, Table)
    }


def _convert(tree: dict[str, Any], where: str) -> Settings:
    keys = _keys()
    for name, value in tree.items():
        if name not in Settings.__struct_fields__:
            raise UserError(f"{where}: unknown key {name!r}{_nearest(name, Settings.__struct_fields__)}")
        if not isinstance(value, dict) or name not in keys:
            continue
        for key in value:
            if key not in keys[name]:
                raise UserError(f"{where}: unknown key {key!r} in [{name}]{_nearest(key, keys[name])}")
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}") from None


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _resolve(settings: Settings, base: Path) -> Settings:
    """Fill in {data} and {package}, and make paths absolute."""
    data = str((base / settings.data).resolve())
    tables: dict[str, Any] = {}
    for table, keys in _keys().items():
        values = {}
        for key in keys:
            value = getattr(getattr(settings, table), key)
            if isinstance(value, str):
                value = value.replace("{data}", data).replace("{package}", str(PACKAGE))
                value = str((base / value).resolve()) if value and (table, key) in PATHS else value
            values[key] = value
        tables[table] = type(getattr(settings, table))(**values)
    return Settings(data=data, **tables)
