"""`latency`: from the moment a fix is handed to MQTT to the moment its alarm stands on the operator's event stream.

Each probe is a unit that nobody has seen before, inside a fence: one fix, one alarm. It is published by a client of
its own beside a background load; the stream is the api's, read over HTTP like an operator's console does.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire
from pipeline.bench.figure import Figure, NotMeasured, percentile
from pipeline.bench.mqtt import FLOOD
from pipeline.bench.options import FENCES, Options
from pipeline.bench.rig import Rig, rig
from pipeline.bench.world import World, probe_name
from pipeline.message import SECOND, Fix, Fixes

LOADS = (1_000, 10_000)
"""Positions/s in the background."""
FIXES = 50
"""Positions in a message of the background."""
TARGETS = {"p50": 100.0, "p99": 1000.0}
PROBE = "bench-probe"
EVERY_S = (0.1, 0.3)
"""Between two probes, at random, so that they do not fall into step with anything."""
SETTLE_S = 4.0
LEAST = 0.9
"""Part of the background load that must really have been there."""
PATIENCE_S = 30.0


class Stream:
    """The operator's alarm stream, read in a thread: when each subject's first event came."""

    def __init__(self, port: int, token: str) -> None:
        self.came: dict[str, float] = {}
        self.ready = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._token = token
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)
        self._stopped = False

    def start(self) -> None:
        self._thread.start()
        if not self.ready.wait(PATIENCE_S):
            raise NotMeasured("the api's alarm stream did not begin")

    def stop(self) -> None:
        """Cut the connection; the thread ends with it."""
        self._stopped = True
        if self._connection.sock is not None:
            self._connection.sock.close()
        self._connection.close()

    def _read(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "text/event-stream"}
        try:
            self._connection.request("GET", "/api/v1/alarms/stream", headers=headers)
            response = self._connection.getresponse()
            while not self._stopped and (line := response.readline()):
                self._take(line)
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            if not self._stopped:
                self.ready.clear()

    def _take(self, line: bytes) -> None:
        now = time.perf_counter()
        if line.startswith(b"event: ready"):
            self.ready.set()
        if not line.startswith(b"data: "):
            return
        said: dict[str, Any] = msgspec.json.decode(line[6:])
        subject = (said.get("current") or {}).get("subject")
        if subject:
            self.came.setdefault(subject, now)


class Prober:
    """Publishes one fix a message, numbered like any device's."""

    def __init__(self, port: int) -> None:
        self.sent: dict[str, float] = {}
        self._epoch = time.time_ns() // 1_000_000
        self._client = paho.Client(CallbackAPIVersion.VERSION2, PROBE)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, unit: str, lat: float, lon: float) -> None:
        seq = len(self.sent) + 1
        body = wire.encode_body(Fixes([Fix(unit, time.time_ns() // 1000, lat, lon, speed=10.0)]))
        payload = wire.encode_envelope(PROBE, self._epoch, seq, 1, body)
        self.sent[unit] = time.perf_counter()
        self._client.publish(wire.topic(PROBE, "position"), payload, qos=1)


def run(options: Options) -> Iterator[Figure]:
    for load in LOADS:
        waits = _waits(options, load)
        for part, share in (("p50", 0.5), ("p99", 0.99)):
            words = (
                f"the target; fix handed to MQTT to event on the api's stream, {len(waits)} probes, "
                f"{load:,} positions/s in the background; lower is better"
            )
            name = f"latency_{part}_{load // 1000}k"
            yield Figure(name, percentile(waits, share), "ms", TARGETS[part], words)


def _waits(options: Options, load: int) -> list[float]:
    """Milliseconds of each probe."""
    world = World(start=time.time_ns() // 1000, units=load)
    with rig(world.write, say=options.say) as system:
        for words in (("bridge",), ("worker", "telemetry"), ("worker", "alarms"), ("api",)):
            system.start(*words)
        with _background(system, load), _watched(system) as (stream, prober):
            _settled(system, load)
            before = _accepted(system)
            rng = random.Random(1)
            for number in range(options.scale.probes):
                prober.publish(probe_name(number), *world.centre(number % FENCES))
                time.sleep(rng.uniform(*EVERY_S))
            system.wait(lambda: len(_seen(stream, prober)) == len(prober.sent), PATIENCE_S, "the last alarms")
            _loaded(before, _accepted(system), load)
            return _seen(stream, prober)


def _seen(stream: Stream, prober: Prober) -> list[float]:
    return [1000 * (stream.came[unit] - sent) for unit, sent in prober.sent.items() if unit in stream.came]


@contextmanager
def _watched(system: Rig) -> Iterator[tuple[Stream, Prober]]:
    stream = Stream(system.settings.api.port, system.settings.api.token)
    prober = Prober(system.settings.mqtt.port)
    try:
        stream.start()
        yield stream, prober
    finally:
        prober.stop()
        stream.stop()


@contextmanager
def _background(system: Rig, load: int) -> Iterator[None]:
    """`load` units, a position each second, until the block ends."""
    about = {"port": system.settings.mqtt.port, "units": load, "fixes": FIXES, "rate": load / FIXES}
    system.spawn("background", FLOOD, {**about, "messages": load * 120 // FIXES, "start": time.time_ns() // 1000})
    yield
    system.supervisor.children["background"].process.terminate()


def _settled(system: Rig, load: int) -> None:
    """Every background unit has been seen, and what its first fix raised is done."""
    part, topic = "worker-telemetry", wire.POSITIONS
    system.wait(lambda: system.handled(part, topic)[0] > 0, PATIENCE_S, "the first positions of the load")
    deadline = time.monotonic() + SETTLE_S
    system.wait(lambda: time.monotonic() > deadline, SETTLE_S + 1, f"{load} units to be seen")


def _accepted(system: Rig) -> tuple[int, int]:
    """Messages that the bridge has accepted, and when it said so (microseconds)."""
    row = system.pulse("bridge")
    return int(row["accepted"]), int(row["beaten"])


def _loaded(before: tuple[int, int], after: tuple[int, int], load: int) -> None:
    """NotMeasured if less came through than was asked for: then the latency is that of a smaller load."""
    rate = (after[0] - before[0]) * FIXES * SECOND / max(1, after[1] - before[1])
    if rate < LEAST * load:
        raise NotMeasured(f"of {load:,} positions/s in the background only {rate:,.0f} were accepted")
