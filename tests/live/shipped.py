"""The services of docker-compose.yml as processes of this machine: their own commands, environments and files."""

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.live.process import Server
from tests.live.servers import Kafka, Mosquitto

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
PROGRAMS = Path(sys.executable).parent


def make_secrets(folder: Path, *devices: str) -> Path:
    """Fill `folder` as config/compose/make_secrets.py does, with passwords for `devices` too; returns it."""
    runpy.run_path(str(CONFIG / "compose" / "make_secrets.py"))["make"](folder, list(devices))
    return folder


class ShippedMosquitto(Mosquitto):
    """mosquitto with config/mosquitto, only its folders and its port replaced."""

    def __init__(self, secrets: Path) -> None:
        super().__init__()
        self.secrets = secrets

    def prepare(self) -> None:
        super().prepare()
        text = (CONFIG / "mosquitto" / "mosquitto.conf").read_text()
        text = text.replace("listener 1883", f"listener {self.port} {self.host}\nuser root")
        text = text.replace("/run/secrets", str(self.secrets)).replace("/mosquitto/data", str(self.folder))
        text = text.replace("/mosquitto/config", str(CONFIG / "mosquitto"))
        (self.folder / "mosquitto.conf").write_text(text)


class ShippedKafka(Kafka):
    """Kafka with config/kafka, only its folder, its ports and its advertised name replaced."""

    def properties(self) -> str:
        text = (CONFIG / "kafka" / "server.properties").read_text()
        text = text.replace("9092", str(self.port)).replace("9093", str(self.controller_port))
        text = text.replace("PLAINTEXT://kafka:", "PLAINTEXT://127.0.0.1:").replace("localhost", "127.0.0.1")
        text = text.replace("PLAINTEXT://:", "PLAINTEXT://127.0.0.1:")
        return text.replace("/var/lib/kafka/data", str(self.folder / "data"))


class Part(Server):
    """A service of ours. `places` says what stands on this machine for a host, folder or file of the containers;
    `also` is laid over the environment (ports, which containers have to themselves).

    It is ready when the health check of the Compose file says so.
    """

    ready_seconds = 120.0

    def __init__(self, name: str, places: Mapping[str, str], also: Mapping[str, str]) -> None:
        super().__init__()
        self.service: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]
        self.places = {**places, **self.mounts()}
        given = {key: self.here(value) for key, value in self.service["environment"].items()}
        self.environment = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": "/nonexistent", **given, **also}

    def here(self, text: str) -> str:
        """The text with every place of the containers replaced."""
        for there, place in self.places.items():
            text = text.replace(there, place)
        return text

    def mounts(self) -> dict[str, str]:
        """Where mounts are here: files in the project, an edge agent's own volume in `folder`."""
        places = {}
        for source, target in (volume.split(":")[:2] for volume in self.service["volumes"]):
            if source.startswith("./"):
                places[target] = str(ROOT / source)
            elif source != "vedette":
                places[target] = str(self.folder)
        return places

    def prepare(self) -> None:
        """Copy an edge agent's settings, whose data folder is another here."""
        for there, file in list(self.places.items()):
            if there.endswith(".toml"):
                copy = self.folder / Path(file).name
                copy.write_text(self.here(Path(file).read_text()))
                self.places[there] = str(copy)

    def command(self) -> Sequence[str]:
        program, *rest = self.service["command"]
        return [str(PROGRAMS / program), *map(self.here, rest)]

    def ready(self) -> bool:
        kind, *words = self.service["healthcheck"]["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        here = [self.here(word) for word in command]
        asked = subprocess.run(
            here, env=self.environment, cwd=self.folder, capture_output=True, check=False, timeout=60
        )
        return asked.returncode == 0
