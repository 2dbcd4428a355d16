"""Topics on JetStream: made once, bounded, and never with another number of partitions. Kafka: tests/live."""

import asyncio

import nats
import pytest

from pipeline import topics, wire
from pipeline.jetstream.connection import stream_name
from pipeline.ports import NotConnected, UserError
from pipeline.settings import Log, Settings
from tests.live.process import free_port
from tests.live.servers import Nats


def settings(url: str, **log: int) -> Settings:
    return Settings(log=Log(url=url, **log))  # type: ignore[arg-type]


async def streams(url: str) -> dict[str, int | None]:
    client = await nats.connect(url)
    infos = await client.jetstream().streams_info()
    await client.close()
    return {str(info.config.name): info.config.max_bytes for info in infos}


def test_all_topics_are_made_and_a_second_time_changes_nothing() -> None:
    with Nats(max_file=40 << 30) as server:
        for _ in range(2):
            asyncio.run(topics.ensure(settings(server.url)))
            found = asyncio.run(streams(server.url))
            assert set(found) == {
                *(stream_name(t, n) for t in (wire.POSITIONS, wire.FRAMES, wire.READINGS) for n in range(4)),
                *(stream_name(t, 0) for t in topics.SINGLE),
            }
            assert sum(size or 0 for size in found.values()) == topics.log_bytes(Log())


def test_limits_can_be_changed_but_not_the_number_of_partitions() -> None:
    with Nats(max_file=40 << 30) as server:
        asyncio.run(topics.ensure(settings(server.url)))
        asyncio.run(topics.ensure(settings(server.url, max_bytes=1 << 30)))
        assert asyncio.run(streams(server.url))["positions-0"] == 1 << 28
        for other, found in ((8, "4"), (2, "more")):
            with pytest.raises(UserError, match=rf"positions has {found} partitions, the settings say {other}"):
                asyncio.run(topics.ensure(settings(server.url, partitions=other)))


def test_a_start_cut_short_is_completed() -> None:
    async def half(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="positions-3", subjects=["log.positions.3"])
        await client.close()

    with Nats(max_file=40 << 30) as server:
        asyncio.run(half(server.url))
        asyncio.run(topics.ensure(settings(server.url)))
        assert "positions-0" in asyncio.run(streams(server.url))


def test_a_log_that_the_server_has_no_room_for_names_the_keys() -> None:
    with Nats(max_file=1 << 30) as server, pytest.raises(UserError, match=r"storage.*log\.max_bytes"):
        asyncio.run(topics.ensure(settings(server.url)))


@pytest.mark.parametrize("engine", ["jetstream", "kafka"])
def test_an_engine_that_is_away_is_not_connected(engine: str) -> None:
    url = f"{'nats' if engine == 'jetstream' else 'kafka'}://127.0.0.1:{free_port()}"
    away = Settings(log=Log(engine=engine, url=url))  # type: ignore[arg-type]
    with pytest.raises(NotConnected, match=r"127\.0\.0\.1"):
        asyncio.run(topics.ensure(away))


@pytest.mark.parametrize("topic", topics.SPREAD + topics.SINGLE)
def test_every_partition_has_room_for_the_largest_record(topic: str) -> None:
    assert topics.max_bytes(topic, Log(max_bytes=1, frames_max_bytes=1)) >= wire.MAX_PAYLOAD
