"""The one place that knows how a Faust app of ours is set up; every value answers a line of known behaviour.

Commits follow our snapshots (pipeline/engine.py); tables, windowing, `exactly_once` and the web server stay off.
"""

from __future__ import annotations

from pathlib import Path

import faust

from pipeline.settings import Settings

FRAME_REQUEST = 4 * 1024 * 1024
"""Bytes of one request to the log: a 2 MiB frame with room to spare; Faust's default refuses it at 1 MB."""


def broker_url(settings: Settings) -> str:
    """Faust's URL of the log: `jetstream://host:port` or `kafka://host:port[;host:port]`."""
    scheme = "jetstream" if settings.log.engine == "jetstream" else "kafka"
    return f"{scheme}://{settings.log.url.partition('://')[2] or settings.log.url}"


def create(settings: Settings, name: str, *, buffer: int = 256) -> faust.App:
    """A Faust app that connects to nothing yet. `buffer` bounds the records read ahead."""
    return faust.App(
        f"vedette-{name}",
        broker=broker_url(settings),
        datadir=str(Path(settings.data) / "faust" / name),
        store="memory://",
        value_serializer="raw",
        key_serializer="raw",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        stream_buffer_maxsize=buffer,
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=6.0,
        broker_request_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FRAME_REQUEST,
        producer_acks=-1,
        producer_linger=0,
        producer_max_batch_size=262_144,
        producer_max_request_size=FRAME_REQUEST,
        producer_request_timeout=30.0,
    )
