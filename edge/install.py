"""`vedette-edge install`: from a bundle and a source's address to a service that runs.

    /etc/vedette/edge/NAME/edge.toml, ca.crt, device.crt, device.key      0600, of the service's own user
    /etc/systemd/system/vedette-edge@.service                             see edge/unit.py
    /var/lib/vedette-edge/NAME                                            the spool

Run again it is an upgrade: what stands in edge.toml beside device, source and broker is kept, the spool is left
alone, and the service is started anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import bundle as bundles
from edge import certificate, rows, settings, unit
from edge.bundle import Bundle
from edge.errors import SetupError
from edge.places import Places

PRIVATE = 0o600
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for. `source` empty: the one of the former installation."""

    bundle: Path
    source: str = ""
    kind: str = ""
    root: Path = Path("/")


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done: the places, and which files are new or changed."""

    places: Places
    changed: tuple[Path, ...]
    settings: settings.Settings


def plan(order: Order) -> tuple[Bundle, Places, dict[str, Any]]:
    """The bundle, the places, and the settings to be written. Writes nothing. SetupError."""
    bundle = bundles.read(order.bundle)
    places = Places(order.root, bundle.device)
    return bundle, places, _tree(bundle, order, _former(places.config))


def put(bundle: Bundle, places: Places, tree: Mapping[str, Any]) -> Installed:
    """Write everything that differs, all of it readable by the service's user only. SetupError."""
    files = {"ca.crt": bundle.ca, "device.crt": bundle.cert, "device.key": bundle.key}
    try:
        places.folder.mkdir(parents=True, exist_ok=True)
        places.folder.chmod(0o700)
        places.unit.parent.mkdir(parents=True, exist_ok=True)
        written = [_put(places.folder / name, text) for name, text in files.items()]
        if _former(places.config) != tree:  # else a person's remarks in it stay
            written.append(_put(places.config, to_toml(tree)))
        written.append(_put(places.unit, unit.text(program()), mode=0o644))
    except OSError as error:
        raise SetupError(f"{error.filename or places.folder}: {error.strerror}: run this with sudo") from None
    changed = tuple(path for path in written if path is not None)
    return Installed(places, changed, settings.load(places.config, environ={}))


def hand_over(places: Places) -> None:
    """Make the service's user if there is none, and give it its files. SetupError when that fails."""
    try:
        if _run(["id", unit.USER]):
            shell = ["--shell", "/usr/sbin/nologin", "--home-dir", "/nonexistent", "--no-create-home"]
            trouble = _run(["useradd", "--system", "--user-group", *shell, unit.USER])
            if trouble:
                raise SetupError(f"no user {unit.USER} could be made: {trouble}")
        for path in (places.folder, *places.folder.iterdir()):
            shutil.chown(path, unit.USER, unit.USER)
    except (OSError, LookupError) as error:
        raise SetupError(f"{places.folder}: cannot be given to {unit.USER}: {error}: run this with sudo") from None


def start(places: Places) -> str:
    """Enable the service and start it anew; what went wrong, empty if nothing did."""
    for words in (["daemon-reload"], ["enable", places.service], ["restart", places.service]):
        if trouble := _run(["systemctl", *words]):
            return f"systemctl {' '.join(words)}: {trouble}"
    return ""


def has_systemd(root: Path = Path("/")) -> bool:
    """Whether systemd runs this machine now, not only lies on its disk."""
    return (root / "run/systemd/system").is_dir()


def program() -> str:
    """The path of the command that runs now: the unit starts the same one."""
    beside = Path(sys.executable).with_name("vedette-edge")
    found = str(beside) if beside.is_file() else shutil.which("vedette-edge")
    return found or f"{sys.executable} -m edge"


def trust_trouble(bundle: Bundle, now: int) -> str:
    """What is wrong with the bundle's certificate today; empty if nothing is."""
    facts = certificate.parse(bundle.cert.encode(), "the bundle's certificate")
    if facts.name != bundle.device:
        return f"the bundle's certificate is of {facts.name}, not of {bundle.device}: ask for a new bundle"
    return certificate.date_trouble(facts, now)


# ---------------------------------------------------------------- settings


def _tree(bundle: Bundle, order: Order, former: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as written: the bundle's and the order's words lie over the former ones."""
    mqtt = {key: value for key, value in former.get("mqtt", {}).items() if key not in ("username", "password")}
    files = {"ca_file": "ca.crt", "cert_file": "device.crt", "key_file": "device.key"}
    rest = {key: value for key, value in former.items() if key not in ("device", "data", "source", "mqtt")}
    return {
        "device": bundle.device,
        "data": str(order.root / "var/lib/vedette-edge" / bundle.device),
        **{key: value for key, value in rest.items() if not isinstance(value, dict)},
        "source": _source(order, bundle.kind, former.get("source", {})),
        "mqtt": {**mqtt, "host": bundle.host, "port": bundle.port, "tls": True, **files},
        **{key: value for key, value in rest.items() if isinstance(value, dict)},
    }


def _source(order: Order, enrolled_as: str, former: Mapping[str, Any]) -> dict[str, Any]:
    """The [source] table. Another kind or address than before begins a new one."""
    kind = order.kind or str(former.get("kind") or enrolled_as)
    if kind not in settings.SOURCES:
        raise SetupError(f"kind {kind!r}: use --kind with one of {', '.join(settings.SOURCES)}")
    same = former if former.get("kind") == kind else {}
    if kind == "sensor" and order.source:
        return {**same, "kind": kind, "sensor": rows.read(Path(order.source))}
    if kind == "gateway" and order.source:
        return {**_table_of(Path(order.source)), "kind": kind}
    if kind == "gateway" and not same:
        raise SetupError(
            "no source: say --source FILE, a copy of config/edge.gateway.toml with your units and ports"
        )
    if not order.source and not same:
        raise SetupError("no source: say --source rtsp://..., /dev/video0, gpsd://..., serial:///dev/ttyUSB0")
    if not order.source:
        return dict(same)
    if "url" not in settings.SOURCES[kind].__struct_fields__:
        keys = ", ".join(settings.SOURCES[kind].__struct_fields__)
        raise SetupError(f"a source of kind {kind} has no address; write its [source] yourself: {keys}")
    return {**same, "kind": kind, "url": order.source}


def _table_of(path: Path) -> dict[str, Any]:
    """The [source] of another settings file. SetupError."""
    found = _former(path).get("source")
    if not isinstance(found, dict):
        raise SetupError(f"{path}: there is no such file with a [source]")
    return dict(found)


def _former(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}: run this with sudo") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: not valid TOML: {error}: mend it, or delete it for a new one") from None


def to_toml(tree: Mapping[str, Any]) -> str:
    """Scalars, lists, and tables at any depth; lists of tables as inline tables."""
    head = "# Written by `vedette-edge install`; every key is explained in config/edge.*.toml.\n"
    return head + "".join(_lines(tree, ""))


def _lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    if name:
        yield f"\n[{name}]\n"
    yield from (f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if not isinstance(value, dict))
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{name}.{_key(key)}" if name else _key(key))


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON's words for scalars are TOML's too, when DEL is escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------- files and commands


def _put(path: Path, text: str, *, mode: int = PRIVATE) -> Path | None:
    """Replace the file if its content differs; the path if so."""
    if path.is_file() and path.read_bytes() == text.encode():
        path.chmod(mode)
        return None
    part = path.with_name(path.name + ".new")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
    return path


def _run(command: list[str]) -> str:
    """What a command said when it failed; empty when it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"exit {done.returncode}") if done.returncode else ""
