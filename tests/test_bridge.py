"""The bridge between a real broker and a real log: nothing lost, receipts follow, outages heal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import faustapp, topics, wire
from pipeline.bridge import Bridge
from pipeline.log import Log
from pipeline.message import Fix, Fixes, Receipt
from pipeline.settings import Settings, load
from tests.live.servers import Nats

AT = 1_480_000_000_000_000


@pytest.fixture
def server() -> Iterator[Nats]:
    with Nats() as nats:
        yield nats


def settings_for(nats: Nats, tmp_path: Path) -> Settings:
    environ = {
        "VEDETTE_MQTT_PORT": str(nats.mqtt_port),
        "VEDETTE_LOG_URL": nats.url,
        "VEDETTE_LOG_PARTITIONS": "2",
        "VEDETTE_LOG_MAX_BYTES": "100000000",
        "VEDETTE_LOG_FRAMES_MAX_BYTES": "100000000",
        "VEDETTE_LOG_RECEIPT_DELAY_S": "0.1",
    }
    return load(data=tmp_path, environ=environ)


class Device:
    """A device by hand: publishes what it is told and keeps the receipts it is given."""

    def __init__(self, nats: Nats, name: str = "gps-1") -> None:
        self.name, self.receipts = name, list[Receipt]()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv311)
        self.client.on_message = lambda _c, _d, m: self.receipts.append(
            msgspec.json.decode(m.payload, type=Receipt)
        )
        self.client.connect("127.0.0.1", nats.mqtt_port)
        self.client.subscribe(wire.topic(name, "receipt"), 1)
        self.client.loop_start()

    def send(self, seq: int, *, base: int = 1) -> None:
        body = wire.encode_body(Fixes([Fix(unit=f"bus-{seq % 3}", at=AT + seq, lat=30.0, lon=-97.0)]))
        payload = wire.encode_envelope(self.name, 7, seq, base, body)
        self.client.publish(wire.topic(self.name, "position"), payload, 1).wait_for_publish(5)

    def confirmed(self) -> int:
        return max((r.seq for r in self.receipts), default=0)


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)


async def logged(settings: Settings) -> list[int]:
    """Numbers of all position rows on the log, partition by partition in order."""
    import nats

    connection = await nats.connect(settings.log.url)
    found: list[int] = []
    stream = connection.jetstream()
    for partition in range(settings.log.partitions):
        name = f"{wire.POSITIONS}-{partition}"
        last = (await stream.stream_info(name)).state.last_seq
        for number in range(1, last + 1):
            message = await stream.get_msg(name, number)
            found += wire.decode_positions(message.data or b"").seq.tolist()
    await connection.close()
    return found


def with_bridge(settings: Settings, body: Callable[[Bridge], Awaitable[None]]) -> None:
    async def main() -> None:
        await topics.ensure(settings)
        log = Log(faustapp.create(settings, "bridge"))
        await log.open()
        bridge = Bridge(settings, log)
        task = asyncio.ensure_future(bridge.run())
        try:
            await until(lambda: bool(bridge.figures()["ready"]))
            await body(bridge)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await log.close()

    asyncio.run(main())


def test_published_positions_are_logged_and_confirmed(server: Nats, tmp_path: Path) -> None:
    settings, device = settings_for(server, tmp_path), Device(server)

    async def body(_bridge: Bridge) -> None:
        for seq in range(1, 101):
            await asyncio.to_thread(device.send, seq)
        await until(lambda: device.confirmed() == 100)
        assert sorted(await logged(settings)) == list(range(1, 101))

    with_bridge(settings, body)


def test_a_receipt_waits_for_its_delay(server: Nats, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        settings_for(server, tmp_path),
        log=msgspec.structs.replace(settings_for(server, tmp_path).log, receipt_delay_s=1.0),
    )
    device = Device(server)

    async def body(_bridge: Bridge) -> None:
        await asyncio.to_thread(device.send, 1)
        await asyncio.sleep(0.6)
        assert device.receipts == []
        await until(lambda: device.confirmed() == 1)

    with_bridge(settings, body)


def test_a_hole_is_asked_for_and_filled(server: Nats, tmp_path: Path) -> None:
    settings, device = settings_for(server, tmp_path), Device(server)

    async def body(bridge: Bridge) -> None:
        for seq in (1, 3, 4):
            await asyncio.to_thread(device.send, seq)
        await until(lambda: Receipt(7, 1, resend=True) in device.receipts)
        for seq in (2, 3, 4):
            await asyncio.to_thread(device.send, seq)
        await until(lambda: device.confirmed() == 4)
        assert sorted(await logged(settings)) == [1, 2, 3, 4]
        assert bridge.figures()["beyond_hole"] == 2

    with_bridge(settings, body)


def test_messages_sent_while_the_bridge_is_down_are_taken_up(server: Nats, tmp_path: Path) -> None:
    settings, device = settings_for(server, tmp_path), Device(server)

    async def first(_bridge: Bridge) -> None:
        await asyncio.to_thread(device.send, 1)
        await until(lambda: device.confirmed() == 1)

    async def second(_bridge: Bridge) -> None:
        await until(lambda: device.confirmed() == 3)
        assert sorted(await logged(settings)) == [1, 2, 3]

    with_bridge(settings, first)
    device.send(2, base=2)
    device.send(3, base=2)
    with_bridge(settings, second)


def test_the_server_s_sudden_death_is_survived(server: Nats, tmp_path: Path) -> None:
    settings, device = settings_for(server, tmp_path), Device(server)

    async def body(bridge: Bridge) -> None:
        await asyncio.to_thread(device.send, 1)
        await until(lambda: device.confirmed() == 1)
        await asyncio.to_thread(server.kill)
        await until(lambda: not bridge.figures()["ready"])
        await asyncio.to_thread(server.start)
        await until(lambda: bool(bridge.figures()["ready"]), 30)
        await until(device.client.is_connected, 30)
        for seq in (2, 3):
            await asyncio.to_thread(device.send, seq, base=2)
        await until(lambda: bridge.figures()["accepted"] == 3)
        assert sorted(set(await logged(settings))) == [1, 2, 3]

    with_bridge(settings, body)
