"""Topics on a real Apache Kafka: made once, checked, and big enough for a frame."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline import topics, wire
from pipeline.faustapp import FRAME_REQUEST
from pipeline.ports import UserError
from pipeline.settings import Log, Settings
from tests.live.servers import Kafka


@pytest.fixture
def settings(kafka: Kafka) -> Iterator[Settings]:
    """A Kafka without topics of ours, before and after."""

    async def remove() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        while mine := {*topics.SPREAD, *topics.SINGLE} & {*await admin.list_topics()}:
            await admin.delete_topics(sorted(mine))  # answers before the broker has forgotten them
            await asyncio.sleep(0.2)
        await admin.close()

    asyncio.run(remove())
    yield Settings(log=Log(engine="kafka", url=f"kafka://{kafka.bootstrap}"))
    asyncio.run(remove())


def test_topics_are_made_once_and_never_with_another_number_of_partitions(settings: Settings) -> None:
    for _ in range(2):
        asyncio.run(topics.ensure(settings))
    other = Settings(log=Log(engine="kafka", url=settings.log.url, partitions=7))
    with pytest.raises(UserError, match="has 4 partitions, the settings say 7"):
        asyncio.run(topics.ensure(other))


def test_the_largest_record_fits_there_and_back(settings: Settings) -> None:
    async def run() -> int:
        await topics.ensure(settings)
        server = settings.log.url.removeprefix("kafka://")
        producer = AIOKafkaProducer(bootstrap_servers=server, max_request_size=FRAME_REQUEST, acks="all")
        await producer.start()
        await producer.send_and_wait(wire.FRAMES, b"x" * topics.MAX_RECORD, partition=3)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=server, max_partition_fetch_bytes=FRAME_REQUEST, auto_offset_reset="earliest"
        )
        await consumer.start()
        consumer.assign([TopicPartition(wire.FRAMES, 3)])
        record = await asyncio.wait_for(consumer.getone(), 20)
        await consumer.stop()
        return len(record.value or b"")

    assert asyncio.run(run()) == topics.MAX_RECORD
