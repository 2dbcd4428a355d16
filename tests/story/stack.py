"""The whole system as separate processes on the embedded engine, each of which a test can kill and start again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pipeline.pulse import verdict
from pipeline.settings import Settings, load
from pipeline.state import open_state
from tests.live.process import Server, wait_until
from tests.live.servers import Nats

PARTS = ("bridge", "worker-telemetry", "worker-vision", "worker-alarms")


class Part(Server):
    """A process of ours. Ready when its pulse, younger than this start, says so."""

    ready_seconds = 90.0

    def __init__(self, name: str, settings: Settings, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.name = name
        self.settings = settings
        self.environment = {**os.environ, **environment}
        self.since = 0

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "pipeline", *self.name.replace("worker-", "worker ").split()]

    def spawn(self) -> None:
        self.since = time.time_ns() // 1000
        super().spawn()

    def ready(self) -> bool:
        state = open_state(self.settings)
        rows = [r for r in state.beats() if r["part"] == self.name and r["beaten"] > self.since]
        state.close()
        return not verdict(rows, time.time_ns() // 1000)


class Agent(Server):
    """An edge agent that plays a track file as fast as it can, and ends when all is confirmed."""

    def __init__(self, device: str, nats: Nats, tracks: Path, *, speed: float = 0) -> None:
        super().__init__()
        self.config = self.folder / "edge.toml"
        self.config.write_text(
            f'device = "{device}"\ndata = "spool"\nexit_when_done = true\n'
            f'[source]\nkind = "tracks"\nfiles = ["{tracks}"]\nspeed = {speed}\nbatch = 20\n'
            f"[mqtt]\nport = {nats.mqtt_port}\nback_off_max_s = 2.0\n"
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


class Stack:
    """nats-server, bridge and workers over one data folder."""

    def __init__(self, folder: Path, *, rules: Path, fleet: Path, parts: Sequence[str] = PARTS) -> None:
        self.nats = Nats()
        self.environment = {
            "VEDETTE_DATA_DIR": str(folder),
            "VEDETTE_MQTT_PORT": str(self.nats.mqtt_port),
            "VEDETTE_LOG_URL": self.nats.url,
            "VEDETTE_LOG_MAX_BYTES": "500000000",
            "VEDETTE_LOG_FRAMES_MAX_BYTES": "500000000",
            "VEDETTE_RULES_FILE": str(rules),
            "VEDETTE_FLEET_FILE": str(fleet),
        }
        self.settings = load(environ=self.environment)
        self.parts = {name: Part(name, self.settings, self.environment) for name in parts}

    def __enter__(self) -> Self:
        try:
            self.nats.start()
            for part in self.parts.values():
                part.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts.values():
            part.close()
        self.nats.close()

    def killable(self) -> dict[str, Server]:
        """Everything that may be killed and started again, by name."""
        return {"nats": self.nats, **self.parts}
