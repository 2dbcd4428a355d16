"""Fixtures for every test: the shared recordings, and real servers, each started once in a test run.

A server that is not on the machine is installed in CI or with `VEDETTE_INSTALL=1` (see tests/live/install.py), and
otherwise skips the tests that asked for it. A test that kills or fills a server should start its own, from
tests.live.servers, and leave the shared one alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.live import install
from tests.live.process import Server
from tests.live.servers import InfluxDB, Kafka, Mosquitto, Nats, PostgreSQL

ROOT = Path(__file__).resolve().parent.parent
SERVERS = frozenset({"nats", "mosquitto", "kafka", "influxdb", "postgres", "chromium"})
LIVE_SECONDS = 300
CHROMIUM_OPTIONS = (
    "--no-sandbox",  # it refuses to start as root with one
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

S = TypeVar("S", bound=Server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test by what it asks for, so that `-m 'not live'` needs no mark by hand.

    A live test's time limit leaves out its fixtures: they may install a server, and have limits of their own.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & SERVERS or "tests/live/" in item.nodeid:
            item.add_marker(pytest.mark.live)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIVE_SECONDS, func_only=True))
        if "data_dir" in asked:
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of shared recordings: `VEDETTE_DATA`, or shared/data beside the project."""
    named = os.environ.get("VEDETTE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "vehicles").is_dir():
        pytest.skip(f"needs the shared recordings: {folder} has no vehicles/ (set VEDETTE_DATA)")
    return folder


def started(server: S) -> Iterator[S]:
    """Start the server for as long as the fixture lives; skip where it is missing and may not be installed."""
    try:
        with server:
            yield server
    except install.Missing as missing:
        skip_or_fail(missing)


def skip_or_fail(missing: install.Missing) -> NoReturn:
    """A machine that installs what tests need must not skip in silence."""
    if install.wanted():
        raise missing
    pytest.skip(str(missing))


@pytest.fixture(scope="session")
def nats() -> Iterator[Nats]:
    """The embedded broker and log: `.url`, `.port`, `.mqtt_port`."""
    yield from started(Nats())


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """An open MQTT broker: `.host`, `.port`."""
    yield from started(Mosquitto())


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Apache Kafka: `.bootstrap`. Topics stay for the whole run: give yours names of their own."""
    yield from started(Kafka())


@pytest.fixture(scope="session")
def influxdb() -> Iterator[InfluxDB]:
    """InfluxDB 2: `.url`, `.token`, `.org`, `.bucket`."""
    yield from started(InfluxDB())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """PostgreSQL: `.url` for SQLAlchemy, one database for the whole run."""
    yield from started(PostgreSQL())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium, driven by playwright: `browser.new_page()`.

    It lives for one module only: while it does, its event loop counts as running, and `asyncio.run` would refuse.
    """
    try:
        path = install.debian("chromium", "chromium")  # playwright must not fetch a browser of its own
    except install.Missing as missing:
        skip_or_fail(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
