"""Preparing the all-in-one system: ports, settings, one system a folder. It is run in tests/live/test_up.py."""

import socket
import stat
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.cli.common import settings_for
from pipeline.deployment import DEMO, Plan
from pipeline.embedded import Lock, System, child_environment, prepare
from pipeline.ports import UserError
from pipeline.settings import Settings
from tests.live.process import free_port


def base(data: Path) -> Settings:
    data.mkdir(exist_ok=True)
    return settings.load(data=data, environ={})


def prepared(data: Path) -> System:
    return prepare(Plan(demo=True, port=0), base(data), {"PATH": "/usr/bin"})


def test_every_part_finds_its_settings_in_the_data_folder(tmp_path: Path) -> None:
    system = prepared(tmp_path)
    read = settings_for(tmp_path, None)
    assert read == system.settings
    assert read.data == str(tmp_path)
    assert (read.mqtt.port, read.log.url) == (system.server.mqtt_port, system.server.url)
    assert read.rules.file == str(DEMO / "rules.toml")
    assert read.store.path == str(tmp_path / "series")
    assert all(part.env["VEDETTE_CONFIG"] == str(tmp_path / "vedette.toml") for part in system.parts)


def test_the_server_starts_first_and_ends_last_agents_end_first(tmp_path: Path) -> None:
    parts = prepared(tmp_path).parts
    assert parts[0].name == "nats-server"
    assert [part.name for part in sorted(parts, key=lambda part: part.order)] == [
        "edge-demo-fleet",
        "edge-demo-tower",
        "bridge",
        "worker-telemetry",
        "worker-vision",
        "worker-alarms",
        "api",
        "nats-server",
    ]
    assert sum({part.order: part.grace for part in parts}.values()) < 10


def test_the_token_stays_and_is_only_for_its_owner(tmp_path: Path) -> None:
    first, second = prepared(tmp_path), prepared(tmp_path)
    assert first.console.partition("token=")[2] == second.settings.api.token
    assert len(second.settings.api.token) >= 32
    for name in ("token", "vedette.toml"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_token_of_the_settings_is_kept(tmp_path: Path) -> None:
    given = settings.load(data=tmp_path, environ={"VEDETTE_API_TOKEN": "mine"})
    assert prepare(Plan(port=0), given, {}).console.endswith("?token=mine")


def test_the_broker_keeps_its_ports_while_they_are_free(tmp_path: Path) -> None:
    log, mqtt = free_port(), free_port()
    (tmp_path / "vedette.toml").write_text(f'[log]\nurl = "nats://127.0.0.1:{log}"\n[mqtt]\nport = {mqtt}\n')
    first = prepared(tmp_path).server
    assert (first.port, first.mqtt_port) == (log, mqtt)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.mqtt_port))
        second = prepared(tmp_path).server
        assert second.port == first.port
        assert second.mqtt_port != first.mqtt_port
    assert prepared(tmp_path).server == second


def test_a_console_port_in_use_is_refused_when_asked_for_and_replaced_when_not(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} for the console .*--port"):
            prepare(Plan(port=port), base(tmp_path), {})
        usual = settings.load(data=tmp_path, environ={"VEDETTE_API_PORT": str(port)})
        assert prepare(Plan(), usual, {}).settings.api.port not in (port, 0)


def test_the_environment_does_not_lie_over_the_written_settings() -> None:
    environ = {
        "VEDETTE_LOG_URL": "nats://elsewhere",
        "VEDETTE_DATA_DIR": "/x",
        "PATH": "/bin",
        "VEDETTE_DATA": "/y",
    }
    assert child_environment(environ) == {"PATH": "/bin", "VEDETTE_DATA": "/y"}


def test_one_system_a_data_folder(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path)
    with pytest.raises(UserError, match="in use by another `vedette up`"):
        Lock.take(tmp_path)
    lock.release()
    Lock.take(tmp_path).release()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data folder .*file/data: Not a directory: name another with --data"):
        Lock.take(tmp_path / "file" / "data")


def test_settings_of_a_folder_without_a_system_are_the_defaults(tmp_path: Path) -> None:
    assert settings_for(tmp_path, None).data == str(tmp_path)
    with pytest.raises(UserError, match="no settings file"):
        settings_for(None, tmp_path / "nowhere.toml")
