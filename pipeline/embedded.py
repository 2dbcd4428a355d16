"""The all-in-one system: which parts it has, the files they are given, and the order in which they start and end.

    nats-server ─► topics ─► bridge, workers, api, edge agents (all at once)
    agents end first, then the bridge, the workers and the api, nats-server last

Everything lies in the data folder: DATA/vedette.toml (settings of every part, so `--data DATA` finds the system),
token, fleet.csv, rules.toml, edge/, log/, nats/, and what the parts keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pipeline import natsserver, topics
from pipeline.deployment import DEMO, SETTINGS_FILE, Plan, agents, fleet_file, rules_file, write_private, write_toml
from pipeline.medic import Medic
from pipeline.natsserver import LOOPBACK, NatsServer
from pipeline.ports import NotConnected, Retryable, UserError
from pipeline.pulse import verdict
from pipeline.settings import Settings
from pipeline.supervisor import USER_ERROR, Part, Supervisor

READY_PATIENCE_S = 90.0
TEND_S, HEAL_S = 0.1, 5.0
BEATING = ("bridge", "worker-telemetry", "worker-vision", "worker-alarms")
"""Parts whose pulse says when they are ready; the api is when it answers."""
AGENTS, BRIDGE, WORKERS, SERVER = 0, 1, 2, 3
"""Order of the end: what sends first, what everything relies on last."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One system a data folder. The kernel lets go of it when the process ends, however that happens."""

    descriptor: int

    @classmethod
    def take(cls, data: Path) -> Lock:
        """Make the folder if need be, and claim it. UserError if it is in use or cannot be written."""
        try:
            data.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UserError(f"data folder {data}: {error.strerror}: name another with --data") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise UserError(
                f"data folder {data} is in use by another `vedette up`: stop that one, or name another with --data"
            ) from None
        return cls(descriptor)

    def release(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class System:
    """One all-in-one system, prepared but not started."""

    data: Path
    settings: Settings
    server: NatsServer
    parts: tuple[Part, ...]

    @property
    def console(self) -> str:
        """The operators' address, with the token."""
        return f"http://{LOOPBACK}:{self.settings.api.port}/?token={self.settings.api.token}"


def prepare(plan: Plan, base: Settings, environ: Mapping[str, str] = os.environ) -> System:
    """Choose ports, write every file. `base` gives what the plan does not say. UserError for what cannot be."""
    data = Path(base.data)
    server = NatsServer(data / "nats", *_broker_ports(data))
    settings = _settings(plan, base, server)
    for folder in ("log", "edge", "faust"):
        (data / folder).mkdir(exist_ok=True)
    server.write_config(settings.log)
    write_toml(data / SETTINGS_FILE, msgspec.to_builtins(settings))
    env = {**child_environment(environ), "VEDETTE_CONFIG": str(data / SETTINGS_FILE), "PYTHONUNBUFFERED": "1"}
    parts = [
        Part("nats-server", server.command(environ), env, SERVER, grace=2.0),
        Part("bridge", _vedette("bridge"), env, BRIDGE, grace=1.5),
        *(
            Part(f"worker-{kind}", _vedette("worker", kind), env, WORKERS)
            for kind in ("telemetry", "vision", "alarms")
        ),
        Part("api", _vedette("api"), env, WORKERS),
    ]
    for device, tree in agents(plan, server.mqtt_port).items():
        config = data / "edge" / f"{device}.toml"
        write_toml(config, tree)
        run = [sys.executable, "-m", "edge", "run", str(config), "--data", str(data / "edge" / device)]
        parts.append(Part(f"edge-{device}", run, env, AGENTS, grace=2.0))
    return System(data, settings, server, tuple(parts))


def _vedette(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", *arguments]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours without the settings in it: they are in the file already, and would lie over it."""
    tables = tuple(f"VEDETTE_{table.upper()}_" for table in Settings.__struct_fields__)
    return {name: value for name, value in environ.items() if not name.startswith(tables)}


def _broker_ports(data: Path) -> tuple[int, int]:
    """Ports of the log and of MQTT: those of the last time, else the usual ones, else any that are free."""
    log, mqtt = 4222, 1883
    if (data / SETTINGS_FILE).is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # it is written anew
            last = tomllib.loads((data / SETTINGS_FILE).read_text("utf-8"))
            log, mqtt = int(last["log"]["url"].rpartition(":")[2]), int(last["mqtt"]["port"])
    return free_or_any(log, "the log"), free_or_any(mqtt, "MQTT")


def free_or_any(port: int, what: str) -> int:
    """`port` if it is free, else one that is."""
    try:
        return natsserver.claim(port, what, "")
    except UserError:
        return natsserver.claim(0, what, "")


def _settings(plan: Plan, base: Settings, server: NatsServer) -> Settings:
    data = Path(base.data)
    change = msgspec.structs.replace
    if plan.port is None:
        port = free_or_any(base.api.port, "the console")
    else:
        port = natsserver.claim(plan.port, "the console", "choose another with --port, or 0 for any that is free")
    return change(
        base,
        mqtt=change(base.mqtt, host=LOOPBACK, port=server.mqtt_port, tls=False, username="", password=""),
        log=change(base.log, engine="jetstream", url=server.url, replication=1),
        api=change(base.api, host=LOOPBACK, port=port, token=base.api.token or _token(data)),
        fleet=change(base.fleet, file=str(fleet_file(plan, data, Path(base.fleet.file)))),
        rules=change(base.rules, file=str(rules_file(plan, data, Path(base.rules.file)))),
        cameras=change(base.cameras, file=str(DEMO / "cameras.toml")) if plan.demo else base.cameras,
        # Retention goes by event time: a recording from years ago would be deleted within the hour.
        retention=change(base.retention, tracks_days=0) if plan.tracks else base.retention,
    )


def _token(data: Path) -> str:
    """The same at every start, so that a bookmark of the console goes on working."""
    path = data / "token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text("utf-8").strip()


# ---------------------------------------------------------------- running


@dataclass(slots=True)
class Run:
    """A system from its first process to its last. `stopped` says when a person wants it to end."""

    system: System
    supervisor: Supervisor
    stopped: Callable[[], bool]
    say: Callable[[str], None]
    beats: Callable[[], list[dict[str, Any]]]
    started: float = field(default_factory=time.monotonic)
    medic: Medic = field(default_factory=Medic)
    healed: float = 0.0

    def until_stopped(self, seconds: float | None) -> None:
        """Start, wait until all is ready, go on for `seconds` (None: until stopped). Ends all parts in any case."""
        try:
            self._start()
            deadline = self._await_ready()
            end = time.monotonic() + seconds if seconds is not None else deadline
            while not self.stopped() and (seconds is None or time.monotonic() < end):
                self.supervisor.tend()
                self._heal()
                time.sleep(TEND_S)
        finally:
            self.say("stopping")
            self.supervisor.stop()
            self.say("all parts have ended")

    def _heal(self) -> None:
        """Every few seconds: does the server still take what the bridge brings?"""
        if time.monotonic() < self.healed + HEAL_S:
            return
        self.healed = time.monotonic()
        free = shutil.disk_usage(self.system.data).free
        if self.medic.orders_restart(self._rows(), now=time.time_ns() // 1000, free=free):
            self.supervisor.restart(self.system.parts[0].name, "it takes nothing from the bridge")

    def _start(self) -> None:
        server, *others = self.system.parts
        self.supervisor.start(server)
        try:
            self.system.server.wait_ready(lambda: self.supervisor.running(server.name))
            asyncio.run(topics.ensure(self.system.settings))
        except NotConnected as error:
            raise UserError(f"nats-server: {error}: see {self.supervisor.folder / 'nats-server.log'}") from None
        for part in others:
            self.supervisor.start(part)

    def _await_ready(self) -> float:
        """Until every part is well, or a person stops it, or patience ends: then it goes on all the same."""
        deadline = self.started + READY_PATIENCE_S
        missing = self._missing()
        while missing and not self.stopped() and time.monotonic() < deadline:
            self.supervisor.tend()
            self._refuse_hopeless()
            time.sleep(TEND_S)
            missing = self._missing()
        took = time.monotonic() - self.started
        if missing:
            self.say(f"after {took:.0f} s not ready: {', '.join(missing)}; see {self.supervisor.folder}")
        else:
            self.say(f"ready after {took:.1f} s")
        self.say(f"\nConsole: {self.system.console}\n")
        return deadline

    def _refuse_hopeless(self) -> None:
        """A part that ends with a person's mistake at its start would do so again."""
        for name in self.supervisor.children:
            if self.supervisor.status(name) == USER_ERROR:
                words = self.supervisor.last_words(name)
                raise UserError(f"{name}: {words.removeprefix('vedette: ').removeprefix('vedette-edge: ')}")

    def _missing(self) -> list[str]:
        """Parts that are not known to be well."""
        now = time.time_ns() // 1000
        rows = self._rows()
        missing = []
        for name, child in self.supervisor.children.items():
            beats = [row for row in rows if str(row.get("instance", "")).endswith(f":{child.process.pid}")]
            if name == "api":
                well = natsserver.accepts(self.system.settings.api.port)
            else:
                well = name not in BEATING or not verdict(beats, now)
            if not well:
                missing.append(name)
        return missing

    def _rows(self) -> list[dict[str, Any]]:
        try:
            return self.beats()
        except (NotConnected, Retryable):
            return []
