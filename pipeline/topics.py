"""Makes every topic of ours, on either engine; nothing relies on topics that create themselves.

Partitions: positions, frames and readings have `log.partitions`, the others one. Each topic keeps `log.max_bytes`
(frames: `log.frames_max_bytes`), spread over its partitions; the oldest records give way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import nats
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError

from pipeline import wire
from pipeline.jetstream.connection import TROUBLE, stream_name, subject_name
from pipeline.ports import NotConnected, UserError
from pipeline.settings import Log, Settings

SPREAD = (wire.POSITIONS, wire.FRAMES, wire.READINGS)
SINGLE = (wire.DEVICES, wire.SIGNALS, wire.ALARMS, wire.QUARANTINE, wire.COMPANY)
MAX_RECORD = wire.LOG_LIMIT
"""Bytes of the largest record, key and headers included."""
PATIENCE_S = 5.0
SPREADING_S = 0.1


def partitions(topic: str, log: Log) -> int:
    """How many partitions `topic` has."""
    return log.partitions if topic in SPREAD else 1


def max_bytes(topic: str, log: Log) -> int:
    """Bytes that one partition of `topic` may keep; the oldest records give way."""
    total = log.frames_max_bytes if topic == wire.FRAMES else log.max_bytes
    return max(total // partitions(topic, log), MAX_RECORD)


def log_bytes(log: Log) -> int:
    """Bytes that the whole log may keep."""
    return sum(partitions(t, log) * max_bytes(t, log) for t in SPREAD + SINGLE)


async def ensure(settings: Settings) -> None:
    """Make the topics that are missing; running it again changes nothing.

    Raises NotConnected while the engine cannot be reached, UserError when a topic has another number of partitions
    than the settings say: records of a unit would move to another partition, away from its state.
    """
    if settings.log.engine == "jetstream":
        await _ensure_jetstream(settings.log)
    else:
        await _ensure_kafka(settings.log)


# ---------------------------------------------------------------- JetStream


async def _ensure_jetstream(log: Log) -> None:
    try:
        client = await nats.connect(
            log.url,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(PATIENCE_S),
            error_cb=_quiet,
        )
    except TROUBLE as error:
        raise NotConnected(f"log {log.url}: {error or type(error).__name__}") from error
    try:
        for topic in SPREAD + SINGLE:
            await _ensure_streams(client.jetstream(timeout=PATIENCE_S), topic, log)
    except APIError as error:
        raise UserError(f"log {log.url}: {error.description}: see log.max_bytes, log.frames_max_bytes") from error
    except TROUBLE as error:
        raise NotConnected(f"log {log.url}: {error or type(error).__name__}") from error
    finally:
        await client.close()


async def _quiet(_error: Exception) -> None:
    """The caller raises what matters."""


async def _ensure_streams(context: JetStreamContext, topic: str, log: Log) -> None:
    """Partition 0 is made last: where it is, all are, and a start cut short in between can be repeated."""
    count = partitions(topic, log)
    if await _exists(context, stream_name(topic, count)):
        raise _changed(topic, "more", count)
    found = [await _exists(context, stream_name(topic, n)) for n in range(count)]
    if found[0] and not all(found):
        raise _changed(topic, str(found.index(False)), count)
    for n in reversed(range(count)):
        config = _stream(topic, n, log)
        await (context.update_stream(config) if found[n] else context.add_stream(config))


async def _exists(context: JetStreamContext, name: str) -> bool:
    try:
        await context.stream_info(name)
    except NotFoundError:
        return False
    return True


def _stream(topic: str, partition: int, log: Log) -> api.StreamConfig:
    return api.StreamConfig(
        name=stream_name(topic, partition),
        subjects=[subject_name(topic, partition)],
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_bytes=max_bytes(topic, log),
        max_age=log.retention_hours * 3600,
        num_replicas=log.replication,
    )


# ---------------------------------------------------------------- Kafka


async def _ensure_kafka(log: Log) -> None:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=log.url.partition("://")[2] or log.url, request_timeout_ms=int(PATIENCE_S * 1000)
    )
    try:
        await admin.start()
        await _create(admin, log)
        for description in await _described(admin, log):
            _check(description, log)
    except (KafkaError, OSError) as error:
        raise NotConnected(f"log {log.url}: {error or type(error).__name__}") from error
    finally:
        await admin.close()


async def _described(admin: AIOKafkaAdminClient, log: Log) -> list[dict[str, object]]:
    """The topics as the broker knows them; one just made shows no partitions until the news of it has spread."""
    for _ in range(int(PATIENCE_S / SPREADING_S)):
        found: list[dict[str, object]] = await admin.describe_topics([*SPREAD, *SINGLE])
        if all(description["partitions"] for description in found):
            return found
        await asyncio.sleep(SPREADING_S)
    raise NotConnected(f"log {log.url}: topics were made but have no partitions yet")


async def _create(admin: AIOKafkaAdminClient, log: Log) -> None:
    known = set(await admin.list_topics())
    missing = [_topic(topic, log) for topic in SPREAD + SINGLE if topic not in known]
    if not missing:
        return
    response = await admin.create_topics(missing, timeout_ms=int(PATIENCE_S * 1000))
    for topic, code, *detail in response.topic_errors:
        if code == TopicAlreadyExistsError.errno or not code:
            continue
        raise UserError(f"log {log.url}: topic {topic}: {for_code(code).__name__}: {detail}")


def _topic(topic: str, log: Log) -> NewTopic:
    configs = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(2 * MAX_RECORD),
        "retention.ms": str(log.retention_hours * 3_600_000),
        "retention.bytes": str(max_bytes(topic, log)),
    }
    return NewTopic(topic, partitions(topic, log), log.replication, topic_configs=configs)


def _check(description: Mapping[str, object], log: Log) -> None:
    topic, found = str(description["topic"]), description["partitions"]
    count = partitions(topic, log)
    if isinstance(found, list) and len(found) != count:
        raise _changed(topic, str(len(found)), count)


def _changed(topic: str, found: str, wanted: int) -> UserError:
    return UserError(
        f"topic {topic} has {found} partitions, the settings say {wanted}: set log.partitions back, "
        "or start with an empty log"
    )
