"""The far side of an edge agent, in little: a real subscriber that takes streams in order and gives receipts."""

import threading
import time
from collections.abc import Callable

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire
from pipeline.message import Receipt, Status

Taken = tuple[int, int, str, bytes]


class FarSide:
    """Accepts of a stream only the number it needs next, as the bridge does.

    `taken` holds (epoch, seq, kind, body) in order; `twice` counts what came again. `lose(n)` says whether the n-th
    message that comes is to be overlooked; `mute` holds back receipts, and with them the agent.
    """

    def __init__(self, port: int, device: str, *, lose: Callable[[int], bool] = lambda n: False) -> None:
        self.taken: list[Taken] = []
        self.statuses: list[Status] = []
        self.problems: list[str] = []
        self.twice = self.came = 0
        self.mute = False
        self._lose = lose
        self._device = device
        self._next: dict[int, int] = {}
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"far-side-{device}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{wire.PREFIX}/{device}/+", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> "FarSide":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def restart(self) -> None:
        """Forget what number comes next, as a bridge does that was killed."""
        self._next.clear()

    def _hear(self, message: paho.MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind == "receipt":
            return
        envelope = wire.decode(bytes(message.payload), wire.Envelope)
        if envelope.device != self._device:
            self.problems.append(f"{message.topic} says {envelope.device}")
        if kind == "status":
            self.statuses.append(wire.decode(bytes(envelope.body), Status))
            return
        self.came += 1
        if not self._lose(self.came):
            self._take(envelope, kind)

    def _take(self, envelope: wire.Envelope, kind: str) -> None:
        epoch = envelope.epoch
        expected = max(self._next.get(epoch, envelope.base), envelope.base)
        if envelope.seq == expected:
            self.taken.append((epoch, envelope.seq, kind, bytes(envelope.body)))
            self._next[epoch] = expected + 1
            self._receipt(Receipt(epoch, expected))
        else:
            self.twice += envelope.seq < expected
            self._receipt(Receipt(epoch, expected - 1, resend=envelope.seq > expected))

    def _receipt(self, receipt: Receipt) -> None:
        if not self.mute:
            self._client.publish(wire.topic(self._device, "receipt"), msgspec.json.encode(receipt), qos=1)

    # ------------------------------------------------------------ for assertions

    def once(self) -> list[Taken]:
        """What a store keeps that drops repeated numbers: each (epoch, seq) once, in the order of first arrival."""
        seen: dict[tuple[int, int], Taken] = {}
        for row in self.taken:
            seen.setdefault(row[:2], row)
        return list(seen.values())

    def wait_for(self, number: int, seconds: float = 20) -> None:
        """Until `number` different messages have been taken."""
        deadline = time.monotonic() + seconds
        while len(self.once()) < number:
            assert time.monotonic() < deadline, f"{len(self.once())} of {number} messages came in {seconds} s"
            time.sleep(0.02)
