"""docker-compose.yml without containers: every service by its own command, environment and health check.

Only host names, ports and folders are replaced. The simulated fleet and tower send, and the alarms they cause stand
on the API.
"""

import json
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S, skip_or_fail
from tests.live import install
from tests.live.process import free_port, wait_until
from tests.live.servers import InfluxDB, PostgreSQL
from tests.live.shipped import Part, ShippedKafka, ShippedMosquitto, make_secrets

ALARM_SECONDS = 240


@dataclass
class Stack:
    """The running system: its parts by name, and where its API is."""

    parts: dict[str, Part]
    api: str
    token: str

    def start(self) -> None:
        """Start what does not run yet, all at once."""
        others = [part for part in self.parts.values() if part.child is None]
        for part in others:
            part.begin()
        for part in others:
            part.await_ready()

    def end(self) -> None:
        """Ask all parts to end, before each is waited for."""
        for part in self.parts.values():
            part.signal(signal.SIGTERM)

    def get(self, path: str) -> Any:
        """GET from the API; returns the JSON."""
        request = urllib.request.Request(f"{self.api}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def kinds(self) -> set[str]:
        """The kinds of alarm that stand in the book."""
        return {alarm["kind"] for alarm in self.get("/api/v1/alarms")["alarms"]}

    def logs(self) -> str:
        """The end of every part's log, for a failure's message."""
        return "\n".join(part.told("so far") for part in self.parts.values())


class Servers:
    """The four servers that the parts need, and what stands for the containers' names."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.secrets = make_secrets(folder / "secrets")
        self.data = folder / "data"
        self.mosquitto = run(stack, ShippedMosquitto(self.secrets))
        self.kafka = run(stack, ShippedKafka())
        self.influxdb = run(stack, InfluxDB(token=(self.secrets / "influxdb_token").read_text()))
        self.postgres = run(stack, PostgreSQL())
        url = self.secrets / "database_url"
        url.chmod(0o600)
        url.write_text(url.read_text().replace("@postgres/", f"@127.0.0.1:{self.postgres.port}/"))

    def places(self) -> Mapping[str, str]:
        return {
            "/run/secrets": str(self.secrets),
            "/var/lib/vedette": str(self.data),
            "kafka:9092": self.kafka.bootstrap,
            "http://influxdb:8086": self.influxdb.url,
            "mosquitto": "127.0.0.1",
            "0.0.0.0": "127.0.0.1",  # a container has its interfaces to itself
        }


def run(stack: ExitStack, server: S) -> S:
    """Start the server for as long as the stack is open."""
    stack.enter_context(server)
    return server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that the Compose file starts, in its order."""
    with ExitStack() as stack:
        try:
            servers = Servers(stack, tmp_path_factory.mktemp("compose"))
        except install.Missing as missing:
            skip_or_fail(missing)
        port, mqtt = str(free_port()), str(servers.mosquitto.port)
        system = Stack({}, f"http://127.0.0.1:{port}", (servers.secrets / "api_token").read_text())
        also = {
            "bridge": {"VEDETTE_MQTT_PORT": mqtt},
            "worker-telemetry": {},
            "worker-vision": {},
            "worker-alarms": {},
            "api": {"VEDETTE_API_PORT": port},
            "edge-gps": {"VEDETTE_EDGE_MQTT_PORT": mqtt},
            "edge-camera": {"VEDETTE_EDGE_MQTT_PORT": mqtt},
        }
        for name, more in also.items():
            system.parts[name] = Part(name, servers.places(), {"VEDETTE_DATA_DIR": str(servers.data), **more})
            stack.callback(system.parts[name].close)
        system.parts["bridge"].start()  # it makes the topics
        system.start()
        yield system
        system.end()


@pytest.mark.timeout(ALARM_SECONDS + 60, func_only=True)
def test_alarms_of_both_kinds_come_through(system: Stack) -> None:
    def both() -> bool:
        return {"geofence", "sighting"} <= system.kinds()

    try:
        wait_until(both, ALARM_SECONDS, "an alarm of the fleet and one of the tower")
    except AssertionError as late:
        pytest.fail(f"{late}; there are {system.kinds()}\n{system.logs()}")


def test_every_part_is_still_well(system: Stack) -> None:
    unwell = [name for name, part in system.parts.items() if not part.ready()]
    assert not unwell, system.logs()


def test_a_part_writes_to_its_volumes_only(system: Stack) -> None:
    """A container's own file system is read-only; here, its working folder is watched."""
    pipeline = [part for name, part in system.parts.items() if not name.startswith("edge-")]
    written = {file.name for part in pipeline for file in part.folder.iterdir()}
    assert written == {"server.log"}


def test_a_worker_that_was_killed_is_unwell_until_it_is_back(system: Stack) -> None:
    worker = system.parts["worker-telemetry"]
    worker.kill()
    wait_until(lambda: not worker.ready(), 60, "the health check's no")
    worker.start()
    assert worker.ready()
