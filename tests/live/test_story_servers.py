"""The same day on the big engine: mosquitto, Apache Kafka, InfluxDB and PostgreSQL, two telemetry workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import started
from tests.live.servers import InfluxDB, Kafka, Mosquitto, PostgreSQL
from tests.story.day import Day, assert_same, make_day
from tests.story.stack import Agent, Stack, played

PARTS = ("bridge", "worker-telemetry", "worker-telemetry#2", "worker-alarms")


@pytest.fixture(scope="module")
def day(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Day:
    return make_day(data_dir, tmp_path_factory.mktemp("day"))


@pytest.fixture
def brokers() -> Iterator[tuple[Mosquitto, Kafka]]:
    """Not the shared ones: these are killed, and other tests make topics of our names in other shapes."""
    for mosquitto in started(Mosquitto()):
        for kafka in started(Kafka()):
            yield mosquitto, kafka


@pytest.fixture
def stack(
    day: Day, tmp_path: Path, brokers: tuple[Mosquitto, Kafka], influxdb: InfluxDB, postgres: PostgreSQL
) -> Iterator[Stack]:
    mosquitto, kafka = brokers
    environment = {
        "VEDETTE_DATA_DIR": str(tmp_path),
        "VEDETTE_MQTT_PORT": str(mosquitto.port),
        "VEDETTE_LOG_ENGINE": "kafka",
        "VEDETTE_LOG_URL": f"kafka://{kafka.bootstrap}",
        "VEDETTE_LOG_RECEIPT_DELAY_S": "0",
        "VEDETTE_STORE_ENGINE": "influxdb",
        "VEDETTE_STORE_URL": influxdb.url,
        "VEDETTE_STORE_ORG": influxdb.org,
        "VEDETTE_STORE_BUCKET": influxdb.bucket,
        "VEDETTE_STORE_TOKEN": influxdb.token,
        "VEDETTE_ALARMS_URL": postgres.url,
        "VEDETTE_STATE_URL": postgres.url,
        "VEDETTE_RULES_FILE": str(day.rules),
        "VEDETTE_FLEET_FILE": str(day.fleet),
    }
    with Stack(environment, servers={}, parts=PARTS) as running:
        running.servers = {"mosquitto": mosquitto, "kafka": kafka}
        yield running


PAUSES = {"worker-telemetry": 8.0, "bridge": 0.5, "mosquitto": 0.5, "kafka": 0.5, "worker-alarms": 0.5}


@pytest.mark.timeout(500, func_only=True)
def test_the_day_on_real_servers_with_kills_and_a_rebalance(stack: Stack, day: Day) -> None:
    """A telemetry worker is gone for a while: its partitions move to the other and back. Then all others die."""
    with Agent("buses", stack.settings.mqtt.port, played(day.tracks, speed=2000)) as agent:
        for name, pause in PAUSES.items():
            time.sleep(3)
            victim = stack.killable()[name]
            victim.kill()
            time.sleep(pause)
            victim.start()
        agent.wait_done(250)
    assert_same(stack.settings, day)
