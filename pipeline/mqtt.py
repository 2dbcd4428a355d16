"""A paho-mqtt client as the bridge needs it: persistent session, our limits, callbacks that cannot raise."""

from __future__ import annotations

import logging
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline import wire
from pipeline.ports import NotConnected, UserError
from pipeline.settings import Mqtt

logger = logging.getLogger(__name__)
BACKLOG = 20_000
"""Messages waiting for the bridge at the most; beyond it they are let go, and their devices send them again."""

BACKLOG_BYTES = 256 * 1024 * 1024


class Subscriber:
    """Receives all devices' messages into `inbox` as (topic, payload, received); `wake` is called after each.

    paho runs its own thread; nothing in a callback blocks or can raise. A message is acknowledged to the broker on
    receipt: the promise to our devices is the receipt, not the PUBACK.
    """

    def __init__(self, settings: Mqtt, wake: Callable[[], None]) -> None:
        self.inbox: deque[tuple[str, bytes, int]] = deque()
        self.connected = False
        self.trouble = "not connected to the broker yet"
        self.let_go = 0
        self._settings = settings
        self._bytes = 0
        self._wake = wake
        self._client = self._make_client()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._client.connect_async(self._settings.host, self._settings.port, self._settings.keepalive_s)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def alive(self) -> bool:
        """Whether paho's thread still runs; an exception in it would end it silently."""
        thread = self._client._thread
        return thread is not None and thread.is_alive()

    def drain(self, most: int) -> list[tuple[str, bytes, int]]:
        """Up to `most` messages in order of arrival."""
        messages: list[tuple[str, bytes, int]] = []
        while self.inbox and len(messages) < most:
            message = self.inbox.popleft()
            self._bytes -= len(message[1])
            messages.append(message)
        return messages

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1. Raises NotConnected when there is no connection: nothing is queued in memory for later."""
        if not self.connected:
            raise NotConnected(f"mqtt {self._settings.host}:{self._settings.port}: {self.trouble}")
        self._client.publish(topic, payload, qos=1)

    # -------------------------------------------------------------- paho's thread

    def _make_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2, settings.client_id, clean_session=False, protocol=paho.MQTTv311
        )
        client.reconnect_delay_set(1, 15)
        if settings.username:
            client.username_pw_set(settings.username, settings.password or None)
        if settings.tls:
            client.tls_set_context(_tls(settings))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        if code.is_failure:
            self.trouble = f"broker refused the connection: {code}"
            logger.error("mqtt %s:%s: %s", self._settings.host, self._settings.port, self.trouble)
            return
        client.subscribe([(f"{wire.PREFIX}/+/{kind}", 1) for kind in wire.KINDS])

    def _on_subscribe(self, _client: paho.Client, _data: Any, _mid: int, codes: Any, _props: Any) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        self.connected = not refused
        self.trouble = f"broker refused a subscription: {', '.join(refused)}" if refused else ""
        logger.log(logging.ERROR if refused else logging.INFO, "mqtt: %s", self.trouble or "subscribed")

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        self.connected = False
        self.trouble = f"connection lost: {code}"
        logger.warning("mqtt %s:%s: %s", self._settings.host, self._settings.port, self.trouble)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if len(self.inbox) >= BACKLOG or self._bytes >= BACKLOG_BYTES:
            self.let_go += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._bytes += len(message.payload)
        self.inbox.append((topic, bytes(message.payload), time.time_ns() // 1000))
        self._wake()


def _tls(settings: Mqtt) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"[mqtt] ca_file, cert_file or key_file: {error}") from None
    return context
