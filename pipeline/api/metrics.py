"""/metrics: the pulse of the parts, the devices, the alarms and the refusals, as Prometheus text.

Every number of a pulse row becomes `vedette_part_<name>{part,instance,topic}`: a part adds a metric by beating it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from pipeline.api.desk import Desk
from pipeline.api.devices import look
from pipeline.api.health import DEVICE_STATES, Health
from pipeline.api.stream import Tail
from pipeline.message import SECOND

STATES = ("raised", "acknowledged", "cleared", "resolved", "corrected")
COUNTED = 10_000
"""Alarms of a state are counted up to here: an operator's desk has long stopped being one."""

NOT_NUMBERS = frozenset({"part", "instance", "beaten"})


class Fixed(Collector):
    """Hands out metrics made beforehand."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def routes(desk: Desk, tail: Tail) -> APIRouter:
    """/metrics over `desk`."""
    router = APIRouter()

    @router.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        health = await look(desk, tail)
        refused = await desk.call(desk.book.refusal_counts)
        states = {s: len(await desk.call(desk.book.alarms, state=s, limit=COUNTED)) for s in STATES}
        text = render(health, refused=refused, alarms=states, tail=tail, now=desk.clock())
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router


def render(health: Health, *, refused: dict[str, int], alarms: dict[str, int], tail: Tail, now: int) -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    families = [*_parts(health, now), *_devices(health), *_desk(refused, alarms, tail)]
    registry.register(Fixed(families))
    return generate_latest(registry)


def _parts(health: Health, now: int) -> Iterator[Metric]:
    sees = GaugeMetricFamily("vedette_sees", "1 if every part sees, else 0.")
    sees.add_metric([], float(health.ok))
    up = GaugeMetricFamily(
        "vedette_part_up", "1 if the part beats and is not in trouble.", labels=["part", "instance"]
    )
    age = GaugeMetricFamily("vedette_part_beat_age_seconds", "Since the last beat.", labels=["part", "instance"])
    for p in health.parts:
        up.add_metric([p.part, p.instance], float(p.ok))
        if p.beaten is not None:
            age.add_metric([p.part, p.instance], (now - p.beaten) / SECOND)
    yield from (sees, up, age, *_numbers(health))


def _numbers(health: Health) -> Iterable[Metric]:
    """One family for each name of a number in the pulse rows; a table in a row is a topic's."""
    families: dict[str, GaugeMetricFamily] = {}
    for p in health.parts:
        for topic, key, value in _flat(p.row):
            name = "vedette_part_" + re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
            labels = ["part", "instance", "topic"]
            family = families.setdefault(name, GaugeMetricFamily(name, f"{key} of the part.", labels=labels))
            family.add_metric([p.part, p.instance, topic], value)
    return families.values()


def _flat(row: dict[str, Any], topic: str = "") -> Iterator[tuple[str, str, float]]:
    """(topic, name, number) of each number in a pulse row."""
    for key, value in row.items():
        if isinstance(value, dict) and not topic:
            yield from _flat(value, key)
        elif key == "handled" and isinstance(value, int):
            yield topic, "handled_timestamp_seconds", value / SECOND
        elif isinstance(value, int | float) and key not in NOT_NUMBERS:
            yield topic, key, float(value)


def _devices(health: Health) -> Iterator[Metric]:
    states = GaugeMetricFamily("vedette_devices", "Devices by state.", labels=["state"])
    for state in reversed(DEVICE_STATES):
        states.add_metric([state], health.count(state))
    heard = GaugeMetricFamily("vedette_device_heard_age_seconds", "Since the last sign of life.", labels=["device"])
    scored = GaugeMetricFamily(
        "vedette_device_scored_age_seconds", "Since the last scored frame.", labels=["device"]
    )
    waiting = GaugeMetricFamily("vedette_device_waiting", "Messages in the device's spool.", labels=["device"])
    for d in health.devices:
        waiting.add_metric([d.device], float(d.row.get("waiting") or 0))
        if d.heard_s is not None:
            heard.add_metric([d.device], d.heard_s)
        if d.scored_s is not None:
            scored.add_metric([d.device], d.scored_s)
    yield from (states, heard, scored, waiting, *_frames(health))


def _frames(health: Health) -> Iterator[Metric]:
    """By camera, since the vision workers started."""
    for what, words in (("scored", "Frames scored."), ("shed", "Frames that gave way to newer ones unscored.")):
        family = CounterMetricFamily(f"vedette_camera_frames_{what}", words, labels=["device"])
        for camera, count in sorted(health.frames(what).items()):
            family.add_metric([camera], count)
        yield family


def _desk(refused: dict[str, int], alarms: dict[str, int], tail: Tail) -> Iterator[Metric]:
    refusals = CounterMetricFamily("vedette_refused", "Messages and rows refused, by reason.", labels=["reason"])
    for reason, count in sorted(refused.items()):
        refusals.add_metric([reason], count)
    by_state = GaugeMetricFamily("vedette_alarms", f"Alarms by state, counted up to {COUNTED}.", labels=["state"])
    for state, count in alarms.items():
        by_state.add_metric([state], count)
    number = CounterMetricFamily("vedette_alarm_events", "Changes of alarms ever recorded.", value=tail.position)
    clients = GaugeMetricFamily("vedette_stream_clients", "Listeners of the live stream.", value=tail.listeners)
    cut = CounterMetricFamily(
        "vedette_stream_cut_off", "Listeners cut off because they were slow.", value=tail.cut_off
    )
    yield from (refusals, by_state, number, clients, cut)
