"""One MQTT connection after another, in a thread of its own.

Each connection gets a new paho client, so what an old one had queued in memory is gone with it: the spool is the
only queue. The thread drives paho's loop itself; so an exception in a callback ends up here, in the one place that
may catch anything, and costs a connection, not the network thread.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import certificate
from edge.errors import SetupError
from edge.settings import Mqtt
from edge.watch import BackOff
from pipeline import wire
from pipeline.message import Receipt

log = logging.getLogger(__name__)
TURN_S = 0.5
NOT_ADMITTED = (0x85, 0x86, 0x87, 0x8A)
"""MQTT's codes for: client id, user name or password, not authorised, banned. Waiting does not mend these."""


@dataclass(frozen=True, slots=True)
class Up:
    """Connected and subscribed to the receipts."""


@dataclass(frozen=True, slots=True)
class Down:
    """Not connected any more, or still not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The broker has acknowledged the publish `mid`."""

    mid: int


Event = Up | Down | Taken | Receipt


class Link:
    """Keeps a connection up. `tell` is called in the network thread and must not block."""

    def __init__(
        self, settings: Mqtt, device: str, *, will: bytes, tell: Callable[[Event], None], in_flight: int = 100
    ) -> None:
        self._settings = settings
        self._device = device
        self._will = will
        self._tell = tell
        self._in_flight = in_flight
        self._back_off = BackOff(1.0, settings.back_off_max_s)
        self._stop = threading.Event()
        self._client: paho.Client | None = None
        self._reason = self._said = ""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._make_client()  # a wrong certificate file is found now, not in the background

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye, so that the last will is not sent, and end the thread."""
        self._stop.set()
        if self._client is not None:
            self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(2)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def publish(self, kind: str, payload: bytes) -> int | None:
        """Hand over one message at QoS 1; its mid, or None when there is no connection."""
        client = self._client
        if client is None:
            return None
        info = client.publish(wire.topic(self._device, kind), payload, qos=1)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._one_connection()
            except Exception as error:  # process edge: whatever a callback did, the device goes on
                log.exception("the connection ended by an error of ours")
                self._reason = f"internal error: {error}"
            self._client = None
            if not self._stop.is_set():
                self._tell(Down(self._reason))
                wait = self._back_off.next()
                log.warning("%s; next try in %.1f s", self._reason, wait)
                self._stop.wait(wait)

    def _one_connection(self) -> None:
        settings, client = self._settings, self._make_client()
        self._reason = self._said = ""
        try:
            client.connect(settings.host, settings.port, settings.keepalive_s)
            self._client = client
            while (code := client.loop(TURN_S)) == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._reason:
                pass
        except (OSError, ValueError) as error:  # refused, unreachable, unknown name, bad certificate
            self._reason = self._refused(str(error)) or f"no connection to {settings.host}:{settings.port}: {error}"
            return
        lost = f"connection to {settings.host}:{settings.port} lost: {code.name}"
        self._reason = self._reason or self._refused(self._said) or lost
        client.disconnect()

    def _refused(self, text: str) -> str:
        """What a failed handshake means, if that is what it was."""
        words, own = certificate.in_words(text), ""
        if words and self._settings.cert_file:
            try:
                facts = certificate.read(Path(self._settings.cert_file))
                own = certificate.date_trouble(facts, time.time_ns() // 1000)
            except SetupError as error:
                own = str(error)
        return certificate.REFUSED + (own or words) if words else ""

    def _make_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"vedette-edge-{self._device}")
        client.max_inflight_messages_set(self._in_flight)
        # Without this hook paho writes to the socket in the thread that publishes, beside our loop, unlocked.
        client.on_socket_register_write = _leave_it_to_the_loop
        client.will_set(wire.topic(self._device, "status"), self._will, qos=1)
        if settings.username:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls:
            self._secure(client)
        client.on_log = self._on_log
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _secure(self, client: paho.Client) -> None:
        settings = self._settings
        try:
            client.tls_set(settings.ca_file or None, settings.cert_file or None, settings.key_file or None)
        except (OSError, ssl.SSLError, ValueError) as error:
            files = ", ".join(name for name in (settings.ca_file, settings.cert_file, settings.key_file) if name)
            raise SetupError(f"[mqtt]: cannot use {files}: {error}") from None

    # ------------------------------------------------------------ callbacks, in the network thread

    def _on_log(self, _client: paho.Client, _data: Any, level: int, text: str) -> None:
        """The one place where paho tells why TLS 1.3 refused: the alert comes after the handshake."""
        if level == paho.MQTT_LOG_ERR:
            self._said = text

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            for_good = certificate.REFUSED if code.value in NOT_ADMITTED else ""
            self._reason = f"{for_good}the broker refuses the connection: {code}"
            return
        client.subscribe(wire.topic(self._device, "receipt"), qos=1)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(code.is_failure for code in codes):
            self._reason = (
                f"the broker refuses the receipts: {codes[0]}; allow the topic vedette/v1/<device>/receipt"
            )
            return
        self._back_off.reset()
        self._tell(Up())

    def _on_publish(
        self, _client: paho.Client, _data: Any, mid: int, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._tell(Taken(mid))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            receipt = wire.decode(bytes(message.payload), Receipt)
        except msgspec.DecodeError as error:
            log.warning("a receipt that cannot be read: %s", error)
            return
        self._tell(receipt)


def _leave_it_to_the_loop(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """The packet is queued and the loop is awake already."""
