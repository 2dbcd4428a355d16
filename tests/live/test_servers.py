"""Every real server starts, does its work, and keeps it over kill -9."""

import asyncio
import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nats as nats_client
import paho.mqtt.client as mqtt
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Browser
from sqlalchemy import create_engine, text

from tests.conftest import started
from tests.live import install
from tests.live.process import Server, ServerFailed, accepts, alive, wait_until
from tests.live.servers import InfluxDB, Kafka, Mosquitto, Nats, PostgreSQL


@pytest.fixture
def own_nats() -> Iterator[Nats]:
    yield from started(Nats())


@pytest.fixture
def own_mosquitto() -> Iterator[Mosquitto]:
    yield from started(Mosquitto())


@pytest.fixture
def secure_mosquitto() -> Iterator[Mosquitto]:
    yield from started(Mosquitto(users={"mast-7": "a word"}, tls=True))


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    yield from started(Kafka())


@pytest.fixture
def own_influxdb() -> Iterator[InfluxDB]:
    yield from started(InfluxDB())


@pytest.fixture
def own_postgres() -> Iterator[PostgreSQL]:
    yield from started(PostgreSQL())


def retain(port: int, payload: bytes) -> None:
    """Publish a retained QoS 1 message and wait for its PUBACK."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="writer")
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("vedette/v1/mast-7/status", payload, qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def retained(port: int) -> list[bytes]:
    """What a subscriber finds retained.

    It subscribes until it hears something: nats-server, just started, was seen to answer a first subscription
    before it had read back its retained messages.
    """
    found: list[bytes] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="reader")
    client.on_message = lambda _client, _data, message: found.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    for _ in range(20):
        client.subscribe("vedette/v1/mast-7/status", qos=1)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: bool(found), 1, "the retained message")
            break
    client.disconnect()
    client.loop_stop()
    return found[:1]


def test_nats_keeps_mqtt_and_log_over_kill(own_nats: Nats) -> None:
    async def append() -> None:
        connection = await nats_client.connect(own_nats.url)
        log = connection.jetstream()
        await log.add_stream(name="positions-0", subjects=["positions.0"])
        assert (await log.publish("positions.0", b"one batch")).seq == 1
        await connection.close()

    async def read() -> bytes | None:
        connection = await nats_client.connect(own_nats.url)
        message = await connection.jetstream().get_msg("positions-0", 1)
        await connection.close()
        return message.data

    asyncio.run(append())
    retain(own_nats.mqtt_port, b"on watch")
    own_nats.kill()
    assert not accepts(own_nats.port)
    own_nats.start()
    assert asyncio.run(read()) == b"one batch"
    assert retained(own_nats.mqtt_port) == [b"on watch"]


def test_mosquitto_keeps_retained_over_kill(own_mosquitto: Mosquitto) -> None:
    retain(own_mosquitto.port, b"on watch")
    database = own_mosquitto.folder / "mosquitto.db"
    wait_until(lambda: database.exists() and b"on watch" in database.read_bytes(), 10, "the autosave")
    own_mosquitto.kill()
    own_mosquitto.start()
    assert retained(own_mosquitto.port) == [b"on watch"]


def connect_code(broker: Mosquitto, name: str, word: str) -> str:
    """The broker's answer to a TLS connection with these credentials."""
    codes: list[str] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda _client, _data, _flags, code, _properties: codes.append(str(code))
    client.tls_set(ca_certs=str(broker.ca))
    client.username_pw_set(name, word)
    client.connect(broker.host, broker.port)
    client.loop_start()
    wait_until(lambda: bool(codes), 10, "the CONNACK")
    client.loop_stop()
    return codes[0]


def test_mosquitto_with_tls_and_passwords(secure_mosquitto: Mosquitto) -> None:
    assert connect_code(secure_mosquitto, "mast-7", "a word") == "Success"
    assert connect_code(secure_mosquitto, "mast-7", "another") == "Not authorized"


def test_kafka_keeps_records_over_kill(own_kafka: Kafka) -> None:
    where = TopicPartition("positions", 1)

    async def append() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("positions", num_partitions=2, replication_factor=1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all") as producer:
            await producer.send_and_wait("positions", b"one batch", partition=1)

    async def read() -> bytes | None:
        async with AIOKafkaConsumer(bootstrap_servers=own_kafka.bootstrap) as consumer:
            consumer.assign([where])
            consumer.seek(where, 0)
            value: bytes | None = (await asyncio.wait_for(consumer.getone(), 30)).value
            return value

    asyncio.run(append())
    own_kafka.kill()
    own_kafka.start()
    assert asyncio.run(read()) == b"one batch"


def influx(server: InfluxDB, path: str, body: bytes, kind: str) -> bytes:
    """POST to the v2 API with the token; returns the answer's body."""
    headers = {"Authorization": f"Token {server.token}", "Content-Type": kind, "Accept": "application/csv"}
    request = urllib.request.Request(f"{server.url}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: bytes = response.read()
        return answer


def test_influxdb_keeps_points_over_kill(own_influxdb: InfluxDB) -> None:
    place = f"org={own_influxdb.org}&bucket={own_influxdb.bucket}&precision=us"
    line = b"position,unit=bus-12 speed=13.5 1767225600000000"
    influx(own_influxdb, f"/api/v2/write?{place}", line, "text/plain")
    own_influxdb.kill()
    own_influxdb.start()
    query = f'from(bucket: "{own_influxdb.bucket}") |> range(start: 2025-12-31T00:00:00Z)'
    answer = influx(own_influxdb, f"/api/v2/query?org={own_influxdb.org}", query.encode(), "application/vnd.flux")
    assert b",13.5," in answer
    assert b",bus-12" in answer


def test_postgres_keeps_rows_over_kill(own_postgres: PostgreSQL) -> None:
    engine = create_engine(own_postgres.url)
    with engine.begin() as session:
        session.execute(text("create table alarm (id text primary key)"))
        session.execute(text("insert into alarm values ('a1')"))
    engine.dispose()
    own_postgres.kill()
    own_postgres.start()
    with engine.begin() as session:
        assert session.execute(text("select id from alarm")).scalar_one() == "a1"
    engine.dispose()


def test_chromium_runs_a_page(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content("<p id=count>1</p><button onclick='count.textContent++'>more</button>")
    page.get_by_role("button").click()
    assert page.locator("#count").text_content() == "2"
    page.close()


def test_a_server_dies_with_the_tests() -> None:
    """Even a test run that is killed leaves nothing behind."""
    code = "import time; from tests.live.servers import Nats; print(Nats().start().pid, flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
    wait_until(lambda: not alive(pid), 10, "the server's end")


class Broken(Server):
    """A server that ends at once, with a reason."""

    def command(self) -> list[str]:
        return ["sh", "-c", "echo no such disk; exit 3"]

    def ready(self) -> bool:
        return False


class Mute(Broken):
    """A server that never answers."""

    ready_seconds = 0.3

    def command(self) -> list[str]:
        return ["sleep", "60"]


@pytest.mark.parametrize(("server", "said"), [(Broken, "no such disk"), (Mute, "not ready after")])
def test_a_server_that_fails_says_why(server: type[Server], said: str) -> None:
    with pytest.raises(ServerFailed, match=said), server():
        pass


def test_nothing_is_installed_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    monkeypatch.setenv("VEDETTE_INSTALL", "")
    with pytest.raises(install.Missing, match="VEDETTE_INSTALL=1"):
        install.debian("vedette-no-such-program", "no-such-package")
