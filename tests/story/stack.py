"""The whole system as separate processes, each of which a test can kill and start again.

A part named `worker-telemetry#2` is a second process of `worker-telemetry`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from pipeline.pulse import verdict
from pipeline.settings import Settings, load
from pipeline.state import open_state
from tests.live.process import Server, wait_until
from tests.live.servers import Nats

PARTS: Final = ("bridge", "worker-telemetry", "worker-vision", "worker-alarms")


class Part(Server):
    """A process of ours. Ready when its pulse, younger than this start, says so."""

    ready_seconds = 90.0

    def __init__(self, name: str, settings: Settings, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.environment = {**os.environ, **environment}

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "pipeline", *self.name.replace("worker-", "worker ").split()]

    def is_mine(self, instance: str) -> bool:
        return self.child is not None and instance.endswith(f":{self.child.pid}")

    def ready(self) -> bool:
        state = open_state(self.settings)
        rows = [r for r in state.beats() if r["part"] == self.name and self.is_mine(r["instance"])]
        state.close()
        return not verdict(rows, time.time_ns() // 1000)


class Agent(Server):
    """An edge agent over a recording, that ends when all of it is confirmed. `source` is its [source] table."""

    def __init__(self, device: str, mqtt_port: int, source: str) -> None:
        super().__init__()
        self.config = self.folder / "edge.toml"
        self.config.write_text(
            f'device = "{device}"\ndata = "spool"\nexit_when_done = true\n'
            f"[source]\n{source}\n"
            f"[mqtt]\nport = {mqtt_port}\nback_off_max_s = 2.0\n"
            f"[publish]\nreceipt_timeout_s = 3.0\n"
        )

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "edge", "run", str(self.config)]

    def ready(self) -> bool:
        return True

    def wait_done(self, seconds: float) -> None:
        """Until it has ended by itself, with everything confirmed."""
        child = self.child
        assert child is not None
        wait_until(lambda: child.poll() is not None, seconds, "the agent's end")
        assert child.returncode == 0, self.told(f"ended with {child.returncode}")


def played(tracks: Path, *, speed: float = 0) -> str:
    """The source of an agent that plays a track file, by default as fast as it can."""
    return f'kind = "tracks"\nfiles = ["{tracks}"]\nspeed = {speed}\nbatch = 20'


def filmed(video: Path, *, start: str, speed: float, interval_s: float) -> str:
    """The source of an agent that plays a video as if it were a camera; the first frame is of `start`."""
    return f'kind = "camera"\nurl = "{video}"\nstart = "{start}"\nspeed = {speed}\ninterval_s = {interval_s}'


class Stack:
    """Bridge and workers over one data folder, on `servers` that the environment's addresses lead to."""

    def __init__(
        self, environment: Mapping[str, str], *, servers: Mapping[str, Server], parts: Sequence[str] = PARTS
    ) -> None:
        self.settings = load(environ=environment)
        self.servers = dict(servers)
        names = [(name, name.rstrip("0123456789").rstrip("#")) for name in parts]
        self.parts = {name: Part(part, self.settings, environment) for name, part in names}

    def __enter__(self) -> Self:
        try:
            for server in self.killable().values():
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self.killable().values()):
            server.close()

    def killable(self) -> dict[str, Server]:
        """Everything that may be killed and started again, by name, in the order of the flow."""
        return {**self.servers, **self.parts}


def embedded(folder: Path, *, rules: Path, fleet: Path, parts: Sequence[str] = PARTS) -> Stack:
    """The default engine: nats-server is broker and log, SQLite the store."""
    nats = Nats()
    environment = {
        "VEDETTE_DATA_DIR": str(folder),
        "VEDETTE_MQTT_PORT": str(nats.mqtt_port),
        "VEDETTE_LOG_URL": nats.url,
        "VEDETTE_LOG_MAX_BYTES": "500000000",
        "VEDETTE_LOG_FRAMES_MAX_BYTES": "500000000",
        "VEDETTE_RULES_FILE": str(rules),
        "VEDETTE_FLEET_FILE": str(fleet),
    }
    return Stack(environment, servers={"nats": nats}, parts=parts)
