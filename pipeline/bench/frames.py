"""Cameras in a process of their own: JPEG frames over MQTT at a steady pace, each stamped as it is handed over.

`python -m pipeline.bench.frames '{"port": 1883, "frames": 100, "rate": 5}'` prints one JSON object at its end.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire
from pipeline.bench.picture import jpegs
from pipeline.message import Clock, Frame

GIVE_UP_S = 60.0
PICTURES = 16
"""Different pictures; they take turns."""


class Cameras(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to publish: `frames` of all `cameras` together, `rate` of them a second."""

    port: int
    frames: int
    rate: float
    cameras: int = 4
    host: str = "127.0.0.1"


def camera_name(number: int) -> str:
    return f"bench-camera-{number}"


def publish(order: Cameras) -> dict[str, Any]:
    """Everything, each frame when it is due; no frame is sent twice."""
    pictures, epoch = jpegs(PICTURES), time.time_ns() // 1_000_000
    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-cameras")
    client.connect(order.host, order.port)
    client.loop_start()
    begun = time.monotonic()
    for number in range(order.frames):
        time.sleep(max(0.0, begun + number / order.rate - time.monotonic()))
        device, seq = camera_name(number % order.cameras), number // order.cameras + 1
        frame = Frame(time.time_ns() // 1000, pictures[number % len(pictures)], Clock.SYNCED)
        payload = wire.encode_envelope(device, epoch, seq, 1, wire.encode_body(frame, binary=True))
        sent = client.publish(wire.topic(device, "frame"), payload, qos=1)
    sent.wait_for_publish(GIVE_UP_S)
    took = time.monotonic() - begun
    client.disconnect()
    client.loop_stop()
    return {"frames": order.frames, "rate": order.frames / took}


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Cameras)
    sys.stdout.write(msgspec.json.encode(publish(order)).decode() + "\n")


if __name__ == "__main__":
    main()
