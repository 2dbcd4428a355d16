"""A do-nothing subscriber in a process of its own: what the broker and paho can do without us.

`python -m pipeline.bench.sink '{"port": 1883, "messages": 10000}'` says `{"subscribed": true}`, counts what comes,
and prints one JSON object at its end.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire

GIVE_UP_S = 120.0


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many messages to count before it ends."""

    port: int
    messages: int
    host: str = "127.0.0.1"


def count(order: Order) -> dict[str, Any]:
    """When the last message had come (microseconds), and the CPU seconds that all of them took."""
    came = 0
    all_there = threading.Event()

    def on_message(*_: Any) -> None:
        nonlocal came
        came += 1
        if came == order.messages:
            all_there.set()

    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-sink")
    client.on_message = on_message
    client.on_subscribe = lambda *_: print('{"subscribed": true}', flush=True)
    client.connect(order.host, order.port)
    client.subscribe(f"{wire.PREFIX}/+/position", 1)
    client.loop_start()
    idle = time.process_time()
    complete = all_there.wait(GIVE_UP_S)
    last, used = time.time_ns() // 1000, time.process_time() - idle
    client.disconnect()
    client.loop_stop()
    if not complete:
        raise SystemExit(f"{came} of {order.messages} messages came within {GIVE_UP_S:g} s")
    return {"last": last, "messages": came, "cpu": used}


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    print(msgspec.json.encode(count(order)).decode())


if __name__ == "__main__":
    main()
