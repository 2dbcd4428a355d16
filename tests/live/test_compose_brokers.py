"""The brokers of docker-compose.yml with the configuration that is shipped for them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import topics
from pipeline.settings import Log, Settings
from tests.conftest import started
from tests.live.process import wait_until
from tests.live.servers import Kafka
from tests.live.shipped import ShippedKafka, ShippedMosquitto, make_secrets


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder filled by make_secrets.py, with one device more."""
    return make_secrets(tmp_path_factory.mktemp("secrets"), "mast-7")


@pytest.fixture(scope="module")
def shipped_mosquitto(secrets: Path) -> Iterator[ShippedMosquitto]:
    yield from started(ShippedMosquitto(secrets))


@pytest.fixture(scope="module")
def shipped_kafka() -> Iterator[ShippedKafka]:
    yield from started(ShippedKafka())


class Device:
    """An MQTT client that logs in and remembers what it hears."""

    def __init__(self, broker: ShippedMosquitto, name: str, secret: str) -> None:
        self.heard: list[str] = []
        self.codes: list[str] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{name}")
        self.client.username_pw_set(name, (broker.secrets / secret).read_text())
        self.client.on_connect = lambda _c, _d, _f, code, _p: self.codes.append(str(code))
        self.answered = 0
        self.client.on_subscribe = lambda *_: setattr(self, "answered", self.answered + 1)
        self.client.on_message = lambda _c, _d, message: self.heard.append(message.topic)
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        wait_until(lambda: bool(self.codes), 10, "the CONNACK")

    def subscribe(self, *topics: str) -> None:
        """Returns when the broker has answered: what is published before that would be missed."""
        before = self.answered
        self.client.subscribe([(topic, 1) for topic in topics])
        wait_until(lambda: self.answered > before, 10, "the SUBACK")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def bridge(shipped_mosquitto: ShippedMosquitto) -> Iterator[Device]:
    device = Device(shipped_mosquitto, "vedette-bridge", "mqtt_bridge_password")
    yield device
    device.close()


@pytest.fixture
def mast(shipped_mosquitto: ShippedMosquitto) -> Iterator[Device]:
    device = Device(shipped_mosquitto, "mast-7", "mqtt_device_mast-7")
    yield device
    device.close()


def test_the_broker_admits_whom_it_knows(mast: Device, shipped_mosquitto: ShippedMosquitto) -> None:
    assert mast.codes == ["Success"]
    stranger = Device(shipped_mosquitto, "mast-8", "mqtt_device_mast-7")
    stranger.close()
    assert stranger.codes[0] == "Not authorized"


def test_a_device_speaks_under_its_own_name_only(bridge: Device, mast: Device) -> None:
    bridge.subscribe(*(f"vedette/v1/+/{kind}" for kind in ("position", "status")))
    for topic in ("mast-8/position", "mast-7/receipt", "mast-7/position", "mast-7/status"):
        mast.client.publish(f"vedette/v1/{topic}", b"{}", qos=1).wait_for_publish(10)
    wait_until(lambda: len(bridge.heard) >= 2, 10, "what the device may say")
    assert bridge.heard == ["vedette/v1/mast-7/position", "vedette/v1/mast-7/status"]


def test_a_device_hears_its_own_receipts_only(bridge: Device, mast: Device) -> None:
    mast.subscribe("vedette/v1/+/receipt", "vedette/v1/+/position")
    for topic in ("mast-8/receipt", "mast-7/receipt"):
        bridge.client.publish(f"vedette/v1/{topic}", b"{}", qos=1).wait_for_publish(10)
    wait_until(lambda: bool(mast.heard), 10, "the receipt")
    assert mast.heard == ["vedette/v1/mast-7/receipt"]


def test_the_broker_passes_three_megabytes_on(bridge: Device, mast: Device) -> None:
    """Too much for the pipeline, which must see it to be able to say so."""
    bridge.subscribe("vedette/v1/+/frame")
    mast.client.publish("vedette/v1/mast-7/frame", bytes(3_000_000), qos=1).wait_for_publish(10)
    wait_until(lambda: bridge.heard == ["vedette/v1/mast-7/frame"], 10, "the large message")


async def shipped(kafka: Kafka) -> tuple[set[str], dict[str, str]]:
    """Let the pipeline make its topics; returns the topics and the settings that the broker tells."""
    await topics.ensure(Settings(log=Log(engine="kafka", url=f"kafka://{kafka.bootstrap}")))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        return set(await admin.list_topics()), {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()


def test_the_log_takes_our_settings_and_topics(shipped_kafka: ShippedKafka) -> None:
    """Kafka passes over a key it does not know: each of ours must come back from the broker."""
    made, told = asyncio.run(shipped(shipped_kafka))
    assert made >= {*topics.SPREAD, *topics.SINGLE}
    lines = [line for line in shipped_kafka.properties().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)
    assert {key: told.get(key) for key in settings} == settings
