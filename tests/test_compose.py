"""docker-compose.yml and Dockerfile: whole, pinned, without secrets, and in agreement with the code they start."""

import re
import runpy
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import edge.settings
from edge.demo.fleet import units
from pipeline import settings
from pipeline.__main__ import COMMANDS
from pipeline.cli.health import PARTS
from pipeline.cli.worker import command as worker
from pipeline.rules.fleet import load_fleet
from tests.conftest import ROOT, skip_or_fail
from tests.live import install

Service = dict[str, Any]
COMPOSE = ROOT / "docker-compose.yml"
SERVICES: dict[str, Service] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("vedette:")}
PIPELINE = {name: service for name, service in OURS.items() if service["command"][0] == "vedette"}
EDGES = {name: service for name, service in OURS.items() if service["command"][0] == "vedette-edge"}

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_part = pytest.mark.parametrize("service", PIPELINE.values(), ids=PIPELINE)


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder filled by make_secrets.py."""
    folder = tmp_path_factory.mktemp("secrets")
    make = runpy.run_path(str(ROOT / "config" / "compose" / "make_secrets.py"))["make"]
    make(folder, [])
    return folder


def environment(service: Service, secrets: Path) -> dict[str, str]:
    """The service's environment with its secrets found in a local folder."""
    values: Mapping[str, str] = service.get("environment", {})
    return {key: value.replace("/run/secrets", str(secrets)) for key, value in values.items()}


def bind_mounts(service: Service) -> Iterator[Path]:
    """Folders and files of the project that the service mounts."""
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        if source.startswith("."):
            yield (ROOT / source).resolve()


def test_the_file_has_the_whole_flow() -> None:
    assert set(SERVICES) - set(EDGES) == {"mosquitto", "kafka", "influxdb", "postgres", *PARTS}
    assert EDGES


@each_service
def test_images_are_pinned_by_version(service: Service) -> None:
    assert re.fullmatch(r"[a-z0-9/-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", service["image"])


@each_service
def test_a_service_is_watched_restarted_and_bounded(service: Service) -> None:
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["restart"] == "unless-stopped"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]


@each_service
def test_a_service_may_do_little(service: Service) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in {"", "0", "root"}


@each_service
def test_ports_are_published_on_loopback_only(service: Service) -> None:
    ports = service.get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert ("outside" in service["networks"]) == bool(ports)


@each_service
def test_secrets_come_from_files(service: Service) -> None:
    given = set(service.get("secrets", []))
    for key, value in service.get("environment", {}).items():
        assert not re.search(r"://[^/]*:[^/]*@", value), f"{key} holds a password"
        if re.search("PASSWORD|TOKEN|SECRET|(ALARMS|STATE)_URL", key):
            assert key.endswith("_FILE"), f"{key} is given in the file"
            assert Path(value).parent == Path("/run/secrets")
            assert Path(value).name in given
    assert not re.search(r"(password|token)[=: ]+[\w-]{8}", str(service.get("command", "")))


def test_every_secret_is_declared_made_and_used(secrets: Path) -> None:
    declared = yaml.safe_load(COMPOSE.read_text())["secrets"]
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == set(declared)
    assert used <= {path.name for path in secrets.iterdir()}
    assert all(Path(secret["file"]).parent == Path("config/compose/secrets") for secret in declared.values())


def test_secrets_once_made_are_kept(secrets: Path) -> None:
    make = runpy.run_path(str(ROOT / "config" / "compose" / "make_secrets.py"))["make"]
    before = {path.name: path.read_text() for path in secrets.iterdir() if path.name != "mqtt_passwords"}
    make(secrets, ["mast-7"])
    after = {path.name: path.read_text() for path in secrets.iterdir()}
    assert before.items() <= after.items()
    assert "\nmast-7:$7$" in after["mqtt_passwords"]


def test_git_leaves_the_secrets_out() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "config/compose/secrets/api_token"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0


@each_service
def test_what_is_mounted_exists_and_is_read_only(service: Service) -> None:
    assert all(path.exists() for path in bind_mounts(service))
    assert all(v.endswith(":ro") for v in service.get("volumes", []) if v.startswith("."))


@each_part
def test_the_settings_load(service: Service, secrets: Path) -> None:
    loaded = settings.load(environ={"VEDETTE_DATA_DIR": "/var/lib/vedette", **environment(service, secrets)})
    assert loaded.log.engine == "kafka"
    assert loaded.alarms.url.startswith("postgresql+psycopg://vedette:")
    assert loaded.alarms.url == loaded.state.url
    assert loaded.data == "/var/lib/vedette"


def test_the_simulated_fleet_is_enrolled() -> None:
    """Nobody else's tracks are kept."""
    assert load_fleet(ROOT / "config" / "compose" / "fleet.csv").units == set(units())


@each_part
def test_hosts_are_services(service: Service, secrets: Path) -> None:
    """And the service is on a network with each of them."""
    loaded = settings.load(environ=environment(service, secrets))
    hosts = {urlsplit(loaded.log.url).hostname, urlsplit(loaded.alarms.url).hostname}
    if loaded.store.engine == "influxdb":
        hosts.add(urlsplit(loaded.store.url).hostname)
    if "VEDETTE_MQTT_HOST" in service["environment"]:
        hosts.add(loaded.mqtt.host)
    for host in hosts:
        assert host is not None
        assert set(SERVICES[host]["networks"]) & set(service["networks"])


@pytest.mark.parametrize("name", PIPELINE)
def test_commands_exist(name: str) -> None:
    command = PIPELINE[name]["command"]
    assert command[1] in COMMANDS
    if command[1] == "worker":
        assert worker.make_context("worker", command[2:]).params["kind"] == command[2]
    assert PIPELINE[name]["healthcheck"]["test"] == ["CMD", "vedette", "health", name]


@pytest.mark.parametrize("service", EDGES.values(), ids=EDGES)
def test_the_edge_settings_load(service: Service, secrets: Path) -> None:
    """The name it logs in with is the device's: the broker's rules tie topics to it."""
    (file,) = bind_mounts(service)
    assert service["command"][2] == f"/etc/vedette/{file.name}"
    loaded = edge.settings.load(file, environ=environment(service, secrets))
    assert loaded.mqtt.username == loaded.device
    assert loaded.mqtt.host == "mosquitto"
    assert loaded.data == "/var/lib/vedette"
    assert f"{loaded.device}:$7$" in (secrets / "mqtt_passwords").read_text()


# ---------------------------------------------------------------- the specification's own word


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """Let the Compose Specification's loader read the file."""
    try:
        tool = install.compose_check()
    except install.Missing as missing:
        skip_or_fail(missing)
    return subprocess.run([tool, file], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.timeout(install.BUILD_SECONDS)
def test_the_file_follows_the_compose_specification() -> None:
    done = check(COMPOSE)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ("restart: unless-stopped", "restarts: unless-stopped"),
        ("retries: 6", "retries: [6]"),
        ("condition: service_healthy", "condition: service_happy"),
        ("networks: [inside, outside]", "networks: [inside, nowhere]"),
        ("secrets: [postgres_password]", "secrets: [no_such_secret]"),
        ("- mosquitto:/mosquitto/data", "- nothing:/mosquitto/data"),
        ("postgres: { condition", "postgresql: { condition"),
    ],
)
def test_a_broken_file_is_refused(sound: str, broken: str, tmp_path: Path) -> None:
    text = COMPOSE.read_text()
    assert sound in text
    file = tmp_path / "docker-compose.yml"
    file.write_text(text.replace(sound, broken))
    assert check(file).returncode != 0


# ---------------------------------------------------------------- the image


def dockerfile() -> list[list[str]]:
    """The Dockerfile's instructions, each split into words."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_image_is_pinned_and_not_root() -> None:
    bases = [words[1] for words in dockerfile() if words[0] == "FROM"]
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in bases)
    assert [words[1] for words in dockerfile() if words[0] == "USER"][-1] == "vedette"


def test_what_the_image_copies_exists_and_is_sent_to_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [w[1:-1] for w in dockerfile() if w[0] == "COPY" and not w[1].startswith("--from")]
    for source in (name for names in copied for name in names):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore
    assert "config/compose/secrets" in ignore
