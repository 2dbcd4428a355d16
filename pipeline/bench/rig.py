"""A system to measure: nats-server and parts of ours as processes, over a folder that goes with them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipeline import settings as config
from pipeline import topics
from pipeline.bench.figure import NotMeasured
from pipeline.bench.options import silent
from pipeline.deployment import SETTINGS_FILE, write_toml
from pipeline.embedded import AGENTS, BRIDGE, SERVER, WORKERS, child_environment
from pipeline.natsserver import LOOPBACK, NatsServer, accepts, claim
from pipeline.ports import NotConnected, Retryable
from pipeline.pulse import verdict
from pipeline.settings import Settings
from pipeline.state import State, open_state
from pipeline.supervisor import Part, Supervisor

POLL_S = 0.02
READY_S = 60.0
LOG_BYTES = 8 << 30
"""The log of a bench may hold all it is filled with; nothing is trimmed in the middle."""

Say = Callable[[str], None]


def settings_in(folder: Path, **tables: Any) -> Settings:
    """Settings over `folder` with the fleet.csv and rules.toml written there; `tables` replace whole tables."""
    plain = config.load(data=folder, environ={})
    return msgspec.structs.replace(
        plain,
        fleet=config.Fleet(file=str(folder / "fleet.csv")),
        rules=config.Rules(file=str(folder / "rules.toml")),
        **tables,
    )


@dataclass(frozen=True, slots=True)
class Rig:
    """What runs. Parts end with the block of `rig`, whatever happens in it."""

    folder: Path
    settings: Settings
    supervisor: Supervisor
    state: State
    env: dict[str, str]

    def start(self, *words: str) -> None:
        """Start `vedette WORDS`, e.g. `worker telemetry`, and wait until its pulse says that it is well."""
        name = "-".join(words)
        order = BRIDGE if name == "bridge" else WORKERS
        self._spawn(name, ["-m", "pipeline", *words], order)
        ready = self._api_answers if name == "api" else lambda: self._well(name)
        self.wait(ready, READY_S, f"{name} to be ready")

    def spawn(self, name: str, module: str, about: dict[str, Any]) -> None:
        """Start a process of the bench's own: a module that takes one JSON object and prints one at its end."""
        self._spawn(name, ["-m", module, json.dumps(about)], AGENTS)

    def _spawn(self, name: str, arguments: list[str], order: int) -> None:
        self.supervisor.start(Part(name, [sys.executable, *arguments], self.env, order))

    def result(self, name: str, seconds: float) -> dict[str, Any]:
        """What a process started by `spawn` has printed at its end."""
        self.wait(lambda: self.supervisor.status(name) is not None, seconds, f"{name} to end", ending=name)
        words = self.supervisor.last_words(name)
        if self.supervisor.status(name) != 0:
            raise NotMeasured(f"{name} failed: {words}")
        told: dict[str, Any] = json.loads(words)
        return told

    def wait(self, done: Callable[[], bool], seconds: float, what: str, *, ending: str = "") -> None:
        """Poll `done`. NotMeasured when it takes longer, or when a part that should run has ended."""
        deadline = time.monotonic() + seconds
        while not done():
            for name in self.supervisor.children:
                if name != ending and self.supervisor.status(name) not in (None, 0):
                    raise NotMeasured(f"{name} ended by itself: {self.supervisor.last_words(name)}")
            if time.monotonic() > deadline:
                raise NotMeasured(f"waited {seconds:.0f} s for {what}")
            time.sleep(POLL_S)

    def cpu_seconds(self, name: str) -> float:
        """CPU time that a part has used, all its threads together, by the kernel's account."""
        stat = Path(f"/proc/{self.supervisor.children[name].process.pid}/stat").read_text("utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    # -------------------------------------------------------------- pulses

    def pulse(self, part: str) -> dict[str, Any]:
        """The newest beat of `part`; empty before its first."""
        try:
            rows = [row for row in self.state.beats() if row["part"] == part]
        except (NotConnected, Retryable):
            return {}
        return max(rows, key=lambda row: int(row["beaten"]), default={})

    def handled(self, part: str, topic: str) -> tuple[int, int]:
        """Records of `topic` that `part` has handled, and when the last of them was (microseconds)."""
        row = self.pulse(part).get(topic, {})
        return int(row.get("records", 0)), int(row.get("handled", 0))

    def drained(self, part: str, topic: str) -> bool:
        """Whether the last beat of `part` says that nothing on the log waits for it."""
        row = self.pulse(part).get(topic, {})
        return bool(row) and not row["behind"] and not row["waiting"] and row["records"] > 0

    def _well(self, part: str) -> bool:
        row = self.pulse(part)
        return bool(row) and not verdict([row], time.time_ns() // 1000)

    def _api_answers(self) -> bool:
        return accepts(self.settings.api.port)


@contextlib.contextmanager
def rig(write: Callable[[Path], None], *, say: Say = silent, **tables: Any) -> Iterator[Rig]:
    """A folder that `write` fills, the log's server (unless `tables` name Kafka), and the topics."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vedette-bench-")))
        write(folder)
        server = NatsServer(folder / "nats", claim(0, "the log", ""), claim(0, "MQTT", ""))
        settings = _settings(folder, server, tables)
        write_toml(folder / SETTINGS_FILE, msgspec.to_builtins(settings))
        env = {**child_environment(os.environ), "VEDETTE_CONFIG": str(folder / SETTINGS_FILE)}
        env["PYTHONUNBUFFERED"] = "1"
        (folder / "log").mkdir()
        supervisor = Supervisor(folder / "log", say)
        stack.callback(supervisor.stop)
        state = open_state(settings)
        stack.callback(state.close)
        server.write_config(settings.log)
        supervisor.start(Part("nats-server", server.command(), env, SERVER))
        server.wait_ready(lambda: supervisor.running("nats-server"))
        asyncio.run(topics.ensure(settings))
        yield Rig(folder, settings, supervisor, state, env)


def _settings(folder: Path, server: NatsServer, tables: dict[str, Any]) -> Settings:
    log = config.Log(url=server.url, max_bytes=LOG_BYTES)
    usual = {
        "log": log,
        "mqtt": config.Mqtt(host=LOOPBACK, port=server.mqtt_port),
        "api": config.Api(port=claim(0, "the api", ""), token=secrets.token_urlsafe(24)),
    }
    return settings_in(folder, **{**usual, **tables})
