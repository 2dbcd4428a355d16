"""`mqtt`: one position a message, QoS 1, from a bare publisher over broker, bridge, log and worker to the store."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from pipeline import wire
from pipeline.bench.figure import Figure, NotMeasured
from pipeline.bench.options import UNITS, Options
from pipeline.bench.rig import Rig, rig
from pipeline.bench.world import World, unit_name
from pipeline.message import SECOND
from pipeline.store import open_store

FLOOD, SINK = "pipeline.bench.flood", "pipeline.bench.sink"
SENDERS = 1000
"""Units that take turns in the messages."""
PACE = 1000.0
"""Messages/s while receipts are timed: at full speed they would only time the publisher's own window."""
PATIENCE_S = 300.0


class Speed(NamedTuple):
    """Messages by second of the clock, and by second of the subscribing process's CPU time."""

    by_clock: float
    by_cpu: float


def run(options: Options) -> list[Figure]:
    """The bare pair first, on a server of its own; then the pipeline, at full speed and paced."""
    bare = _bare(options)
    options.say(f"mqtt: bare pair {bare.by_clock:,.0f} messages/s")
    world = World(start=time.time_ns() // 1000, units=UNITS)
    with rig(world.write, say=options.say) as system:
        system.start("bridge")
        system.start("worker", "telemetry")
        ours = _stored(system, options.scale.messages)
        options.say(f"mqtt: {ours.by_clock:,.0f} messages/s stored; receipts at {PACE:g} messages/s")
        paced = _flood(system, "paced", round(options.scale.paced_s * PACE), rate=PACE, device="bench-paced")
        delay = system.settings.log.receipt_delay_s * 1000
    return [*_rates(ours, bare), *_receipts(paced, delay)]


def _rates(ours: Speed, bare: Speed) -> list[Figure]:
    words = "the same publisher and broker with a do-nothing paho subscriber; ours ends with the store's commit"
    core = "by CPU seconds of the process that subscribes: the bridge, against that do-nothing subscriber"
    return [
        Figure("mqtt", ours.by_clock, "messages/s", bare.by_clock, words),
        Figure("mqtt_bridge_per_core", ours.by_cpu, "messages/s", bare.by_cpu, core),
    ]


def _receipts(told: dict[str, Any], delay: float) -> list[Figure]:
    words = f"log.receipt_delay_s, which the embedded log's fsync asks for; at {PACE:g} messages/s; lower is better"
    return [
        Figure(f"mqtt_receipt_{part}", told[f"receipt_{part}_ms"], "ms", delay, words) for part in ("p50", "p99")
    ]


def _bare(options: Options) -> Speed:
    """Of the same publisher into a subscriber that only counts."""
    messages = options.scale.messages
    with rig(World(start=0, units=1).write, say=options.say) as system:
        system.spawn("sink", SINK, {"port": system.settings.mqtt.port, "messages": messages})
        system.wait(lambda: "subscribed" in system.supervisor.last_words("sink"), 30.0, "the subscriber")
        first = _flood(system, "flood", messages, receipts=False)["first"]
        told = system.result("sink", PATIENCE_S)
    return Speed(messages * SECOND / (told["last"] - first), messages / told["cpu"])


def _flood(system: Rig, name: str, messages: int, **more: Any) -> dict[str, Any]:
    about = {"port": system.settings.mqtt.port, "messages": messages, "units": SENDERS, **more}
    system.spawn(name, FLOOD, about)
    return system.result(name, PATIENCE_S)


def _stored(system: Rig, messages: int) -> Speed:
    """From the first publish to the commit of the last position."""
    start, idle = time.time_ns() // 1000, system.cpu_seconds("bridge")
    told = _flood(system, "flood", messages, start=start)
    used = system.cpu_seconds("bridge") - idle
    part = "worker-telemetry"
    system.wait(lambda: system.drained(part, wire.POSITIONS), 60.0, "the worker to store all")
    beaten = system.pulse(part)["beaten"]
    system.wait(lambda: system.pulse(part)["beaten"] > beaten, 30.0, "another pulse of the worker")
    _check(system, messages, start)
    _count, handled = system.handled(part, wire.POSITIONS)
    return Speed(messages * SECOND / (handled - int(told["first"])), messages / used)


def _check(system: Rig, messages: int, start: int) -> None:
    """Every position of a few units must be in the store."""
    store = open_store(system.settings)
    try:
        for unit in range(0, SENDERS, SENDERS // 10):
            found = len(store.track(unit_name(unit), start, start + messages * SECOND))
            wanted = len(range(unit, messages, SENDERS))
            if found != wanted:
                raise NotMeasured(f"{unit_name(unit)}: {found} of {wanted} positions are stored")
    finally:
        store.close()
