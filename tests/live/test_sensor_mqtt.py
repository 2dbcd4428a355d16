"""Rows of a sensor that take values from another system's broker: a real mosquitto."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.outlet import Outlet
from edge.rows import MqttRow
from edge.sensor.source import SensorSource
from edge.settings import Sensor
from edge.spool import Spool
from pipeline import wire
from pipeline.message import Clock, Reading, Readings
from tests.live import install
from tests.live.process import wait_until
from tests.live.servers import Mosquitto


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    try:
        with Mosquitto(users={"reader": "s@cret"}) as server:
            yield server
    except install.Missing as missing:
        if install.wanted():
            raise
        pytest.skip(str(missing))


def say(broker: Mosquitto, topic: str, said: object, *, retain: bool = False) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("reader", "s@cret")
    client.connect(broker.host, broker.port)
    client.loop_start()
    text = said if isinstance(said, str) else json.dumps(said)
    client.publish(topic, text, qos=1, retain=retain).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def rows(broker: Mosquitto, word: str = "s%40cret") -> list[MqttRow]:
    url = f"mqtt://reader:{word}@{broker.host}:{broker.port}"
    return [
        MqttRow(channel="{1}.temp", url=url, topic="zigbee2mqtt/+", pointer="/temperature", unit="degC"),
        MqttRow(channel="valve", url=url, topic="tasmota/stat/POWER", values={"ON": 1, "OFF": 0}),
        MqttRow(channel="rain", url=url, topic="station/last", pointer="/rain/0", at="/time", unit="mm"),
        MqttRow(channel="quiet", url=url, topic="nobody/speaks", silent_s=1.0),
    ]


def start(source: SensorSource, folder: Path, stop: threading.Event) -> Callable[[], dict[str, Reading]]:
    spool = Spool(folder / "spool.db")
    threading.Thread(target=source.run, args=(Outlet(spool, lambda: None), stop), daemon=True).start()

    def readings() -> dict[str, Reading]:
        messages = [wire.decode(m.body, Readings) for m in spool.pending(0, 10_000)]
        return {reading.channel: reading for message in messages for reading in message.readings}

    return readings


def test_values_come_by_mapping_rows_and_again_after_the_broker_was_gone(broker: Mosquitto, tmp_path: Path) -> None:
    told = "2026-01-31T12:00:00Z"
    say(broker, "zigbee2mqtt/porch", {"temperature": 99}, retain=True)  # of nobody knows when: passed over
    say(broker, "station/last", {"time": told, "rain": [1.5]}, retain=True)
    source, stop = SensorSource(Sensor(sensor=rows(broker))), threading.Event()
    readings = start(source, tmp_path, stop)
    wait_until(lambda: "rain" in readings(), 20, "the retained message that knows its time")
    assert (readings()["rain"].at, readings()["rain"].clock) == (wire.parse_rfc3339(told), Clock.UNKNOWN)
    say(broker, "zigbee2mqtt/front door", {"temperature": 21.5})
    say(broker, "tasmota/stat/POWER", "ON")
    say(broker, "zigbee2mqtt/cellar", {"humidity": 40})
    wait_until(lambda: {"front_door.temp", "valve"} <= set(readings()), 20, "both values")
    assert readings()["front_door.temp"].value == 21.5 and readings()["valve"].value == 1
    assert "porch.temp" not in readings()
    wait_until(lambda: "no /temperature in" in source.troubles().get("{1}.temp", ""), 20, "the row's trouble")
    wait_until(lambda: "nothing on nobody/speaks" in source.trouble, 20, "the silence")

    broker.kill()
    wait_until(lambda: "connection lost" in source.trouble or "cannot be" in source.trouble, 20, "the loss")
    assert "s%40cret" not in source.trouble
    broker.start()
    wait_until(lambda: "valve" not in source.troubles(), 30, "the connection")
    say(broker, "tasmota/stat/POWER", "OFF")
    wait_until(lambda: readings()["valve"].value == 0, 20, "the value after it")
    stop.set()


def test_a_wrong_password_is_said_by_row(broker: Mosquitto, tmp_path: Path) -> None:
    source, stop = SensorSource(Sensor(sensor=rows(broker, "wrong"))), threading.Event()
    start(source, tmp_path, stop)
    wait_until(lambda: "valve: mqtt://reader:***@" in source.trouble, 20, "the trouble")
    wait_until(lambda: "the broker refuses: Not authorized" in source.trouble, 20, "the reason")
    assert "wrong" not in source.trouble
    stop.set()
