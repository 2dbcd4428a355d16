"""Values in the messages of another system's MQTT broker: Zigbee2MQTT, Tasmota, a weather station."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import DeviceClock
from edge.errors import SourceError
from edge.rows import CHANNEL, MqttRow
from edge.sensor.value import calibrated, number_at, parsed, time_at
from edge.shot import without_password
from pipeline.message import Clock, Reading

MOST_BYTES = 1 << 20
KEEPALIVE_S = 30
RETRY_MOST_S = 60


class Listener:
    """One connection to one broker, kept up by paho. `tell` is called in its thread and must not block.

    A retained message says nothing about when it was true: it counts only for rows that know its time (`at`).
    """

    def __init__(self, rows: Sequence[MqttRow], clock: DeviceClock, tell: Callable[[Reading], None]) -> None:
        self._rows, self._clock, self._tell = rows, clock, tell
        self._down = "not connected yet"
        self._troubles: dict[str, str] = {}
        self._heard = {row.channel: time.monotonic() for row in rows}
        self._sent: dict[str, float] = {}
        self._lock = threading.Lock()
        self._url = urlsplit(rows[0].url)
        self._client = self._make_client()

    def start(self) -> None:
        """Never fails: what cannot be reached is tried again, later each time."""
        secure = self._url.scheme == "mqtts"
        self._client.connect_async(self._url.hostname or "127.0.0.1", self._url.port or (8883 if secure else 1883))
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def troubles(self) -> dict[str, str]:
        """By channel."""
        if self._down:
            return {row.channel: f"{without_password(row.url)}: {self._down}" for row in self._rows}
        now = time.monotonic()
        silent = {
            row.channel: f"nothing on {row.topic} for {now - self._heard[row.channel]:.0f} s"
            for row in self._rows
            if row.silent_s and now - self._heard[row.channel] > row.silent_s
        }
        with self._lock:
            return silent | self._troubles

    def _make_client(self) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(random.randint(1, 3), RETRY_MOST_S)
        if self._url.username:
            client.username_pw_set(unquote(self._url.username), unquote(self._url.password or ""))
        if self._url.scheme == "mqtts":
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    # ------------------------------------------------------------ callbacks, in paho's thread

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._down = f"the broker refuses: {code}"
            return
        client.subscribe([(topic, 1) for topic in sorted({row.topic for row in self._rows})])

    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._down = "cannot be reached"

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._down = self._down or f"connection lost: {code}"

    def _on_subscribe(self, _client: paho.Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        self._down = f"the broker refuses a topic: {refused[0]}" if refused else ""

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        for row in self._rows:
            if paho.topic_matches_sub(row.topic, message.topic) and (row.at or not message.retain):
                self._take(row, message.topic, bytes(message.payload))

    def _take(self, row: MqttRow, topic: str, payload: bytes) -> None:
        try:
            reading = reading_of(row, topic, payload, self._clock)
        except SourceError as error:
            with self._lock:
                self._troubles[row.channel] = f"{topic}: {error}"
            return
        with self._lock:
            self._troubles.pop(row.channel, None)
        now = self._heard[row.channel] = time.monotonic()
        if now - self._sent.get(reading.channel, -row.every_s) >= row.every_s:
            self._sent[reading.channel] = now
            self._tell(reading)


def reading_of(row: MqttRow, topic: str, payload: bytes, clock: DeviceClock) -> Reading:
    """A row's reading in a message. SourceError when it has none."""
    if len(payload) > MOST_BYTES:
        raise SourceError(f"a message of {len(payload):,} bytes")
    text = payload.decode("utf-8", "replace").strip()
    document = text if not row.pointer and text in row.values else parsed(text)
    value = calibrated(row, number_at(document, row.pointer, row.values))
    at, state = (time_at(document, row.at), Clock.UNKNOWN) if row.at else clock.now()
    return Reading(channel_of(row, topic), at, value, row.unit, state)


def channel_of(row: MqttRow, topic: str) -> str:
    """The row's channel; `{1}` is what stood for the topic's first wildcard, made fit for a name."""
    names = list[str]()
    levels = topic.split("/")
    for i, level in enumerate(row.topic.split("/")):
        if level in ("+", "#"):
            names.append(".".join(levels[i : i + 1] if level == "+" else levels[i:]))
    channel = row.channel
    for number, name in enumerate(names, 1):
        channel = channel.replace(f"{{{number}}}", re.sub(r"[^A-Za-z0-9_.-]", "_", name))
    if not CHANNEL.fullmatch(channel):
        raise SourceError(f"{channel[:80]!r} is no name for a channel")
    return channel
