"""A publisher in a process of its own: a bare paho loop that numbers its messages and, if asked, heeds receipts.

`python -m pipeline.bench.flood '{"port": 1883, "messages": 10000}'` prints one JSON object at its end. The same
loop feeds the pipeline and the do-nothing subscriber it is compared with.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import Any

import msgspec
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire
from pipeline.bench.figure import percentile
from pipeline.bench.world import unit_name
from pipeline.message import SECOND, Fix, Fixes, Receipt

IN_FLIGHT = 100
"""Publishes without a PUBACK, as an edge agent allows."""
WINDOW = 15_000
"""Messages without a receipt: fewer than the bridge holds back at the most, so that none is let go."""
GIVE_UP_S = 60.0


class Flood(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to publish. `rate` in messages/s, 0: as fast as it goes. `start` is event time in microseconds.

    `units` take turns; unit u is at a place of its own and says so in message after message, a second apart.
    """

    port: int
    messages: int
    host: str = "127.0.0.1"
    device: str = "bench-flood"
    fixes: int = 1
    units: int = 1000
    rate: float = 0.0
    receipts: bool = True
    start: int = 0


class Publisher:
    """One device's stream of messages over one connection."""

    def __init__(self, order: Flood) -> None:
        self.order = order
        self.confirmed = self.resends = 0
        self.next = 1
        self.trouble = ""
        self.changed = threading.Condition()
        self.in_flight = 0
        self.epoch = time.time_ns() // 1_000_000
        self.start = order.start or time.time_ns() // 1000
        rng = random.Random(1)
        self.places = [(50.0 + rng.random(), 10.0 + 1.5 * rng.random()) for _ in range(order.units)]
        self.sent_at = np.zeros(order.messages + 1, np.int64)
        self.waited = np.zeros(order.messages + 1, np.int64)
        self.client = paho.Client(CallbackAPIVersion.VERSION2, order.device)
        self.client.max_inflight_messages_set(IN_FLIGHT)
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_receipt
        self.client.on_disconnect = self._on_disconnect
        self.subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: self.subscribed.set()

    def run(self) -> dict[str, Any]:
        """Publish everything, and wait for what is to be waited for. At full speed bodies are made beforehand."""
        bodies = [] if self.order.rate else [self._body(n) for n in range(self.order.messages)]
        self.client.connect(self.order.host, self.order.port)
        self.client.loop_start()
        self.client.subscribe(wire.topic(self.order.device, "receipt"), 1)
        if not self.subscribed.wait(GIVE_UP_S):
            raise SystemExit("the broker does not answer")
        first = time.time_ns() // 1000
        while not self._done():
            self._send_next(bodies)
        self.client.disconnect()
        self.client.loop_stop()
        return {"first": first, "last": int(self.sent_at.max()), "resends": self.resends, **self._waits()}

    def _body(self, number: int) -> bytes:
        """Body of the `number`-th message, counted from 0."""
        order, fixes = self.order, []
        for row in range(number * order.fixes, (number + 1) * order.fixes):
            unit, at = row % order.units, self.start + row // order.units * SECOND
            lat, lon = self.places[unit]
            fixes.append(Fix(unit_name(unit), at, lat, lon, speed=0.0, course=90.0, accuracy=5.0))
        return wire.encode_body(Fixes(fixes))

    def _done(self) -> bool:
        """Waits while nothing may be sent; True when all is sent and, with receipts, confirmed."""
        order = self.order
        with self.changed:
            if not self.changed.wait_for(self._may_go_on, GIVE_UP_S):
                raise SystemExit(f"no answer for {GIVE_UP_S:g} s: {self.confirmed} of {self.next - 1} confirmed")
            if self.trouble:
                raise SystemExit(self.trouble)
            return self.next > order.messages

    def _may_go_on(self) -> bool:
        if self.trouble:
            return True
        order = self.order
        if self.next > order.messages:
            return self.in_flight == 0 and (not order.receipts or self.confirmed >= order.messages)
        return self.in_flight < IN_FLIGHT and (not order.receipts or self.next - self.confirmed <= WINDOW)

    def _send_next(self, bodies: list[bytes]) -> None:
        order = self.order
        with self.changed:
            seq, base = self.next, self.confirmed + 1
            self.next += 1
            self.in_flight += 1
        if order.rate:
            due = (self.sent_at[1] or time.time_ns() // 1000) + (seq - 1) / order.rate * SECOND
            time.sleep(max(0.0, due / SECOND - time.time()))
        body = bodies[seq - 1] if bodies else self._body(seq - 1)
        payload = wire.encode_envelope(order.device, self.epoch, seq, min(base, seq), body)
        self.sent_at[seq] = self.sent_at[seq] or time.time_ns() // 1000
        self.client.publish(wire.topic(order.device, "position"), payload, qos=1)

    def _waits(self) -> dict[str, float]:
        if not self.order.receipts:
            return {}
        waits = self.waited[1:] / 1000
        return {"receipt_p50_ms": percentile(waits, 0.5), "receipt_p99_ms": percentile(waits, 0.99)}

    # -------------------------------------------------------------- paho's thread

    def _on_publish(self, *_: Any) -> None:
        with self.changed:
            self.in_flight -= 1
            self.changed.notify()

    def _on_receipt(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        receipt = wire.decode(bytes(message.payload), Receipt)
        if receipt.epoch != self.epoch:
            return
        now = time.time_ns() // 1000
        with self.changed:
            newly = slice(self.confirmed + 1, receipt.seq + 1)
            self.waited[newly] = now - self.sent_at[newly]
            self.confirmed = max(self.confirmed, receipt.seq)
            if receipt.resend and receipt.seq + 1 < self.next:
                self.next, self.resends = receipt.seq + 1, self.resends + 1
            self.changed.notify()

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        with self.changed:
            if self.next <= self.order.messages or self.confirmed < self.order.messages * self.order.receipts:
                self.trouble = f"connection lost: {code}"
            self.changed.notify()


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Flood)
    sys.stdout.write(msgspec.json.encode(Publisher(order).run()).decode() + "\n")


if __name__ == "__main__":
    main()
