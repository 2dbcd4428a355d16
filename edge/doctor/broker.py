"""Checks of what the broker and the pipeline behind it let the device do: one login, one empty message.

The message is an empty batch of positions in a stream of its own (its epoch is the time in milliseconds), so the
pipeline's receipt for it proves the whole way there and back, and the agent takes no notice of it. MQTT 5 is tried
first: only there a broker says that it refused a message.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge import certificate
from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, skip
from edge.errors import SetupError
from edge.settings import Settings
from edge.status import read
from pipeline import wire
from pipeline.message import Fixes, Receipt

PATIENCE_S = 10.0
AGENT_PATIENCE_S = 25.0
UNSUPPORTED = 0x84
ACCESS = "the broker's access list must allow vedette/v1/{}/"


@dataclass
class Visit:
    """What happened at the broker. Empty words: nothing went wrong; None: it was not got to."""

    login: str | None = None
    receipts: str | None = None
    publish: str | None = None
    receipt_s: float | None = None
    said: str = ""
    news: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, **change: Any) -> None:
        with self.news:
            for name, value in change.items():
                setattr(self, name, value)
            self.news.notify_all()


def visit(settings: Settings) -> Visit:
    """Log in, subscribe, publish one empty message, wait for its receipt. SetupError for unusable key files."""
    seen = _visit(settings, MQTTProtocolVersion.MQTTv5)
    old = seen.login is not None and str(UNSUPPORTED) in seen.said
    return _visit(settings, MQTTProtocolVersion.MQTTv311) if old or seen.login is None else seen


def _visit(settings: Settings, protocol: MQTTProtocolVersion) -> Visit:
    mqtt, seen, epoch = settings.mqtt, Visit(), time.time_ns() // 1_000_000
    client = paho.Client(CallbackAPIVersion.VERSION2, f"vedette-doctor-{settings.device}", protocol=protocol)
    if mqtt.username:
        client.username_pw_set(mqtt.username, mqtt.password)
    if mqtt.tls:
        _secure(client, settings)
    _listen(client, seen, settings.device, epoch)
    try:
        client.connect(mqtt.host, mqtt.port, 20)
    except (OSError, ValueError) as error:
        seen.tell(login=certificate.in_words(str(error)) or str(error))
        return seen
    client.loop_start()
    with seen.news:
        seen.news.wait_for(lambda: _over(seen), PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    return seen


def _over(seen: Visit) -> bool:
    return bool(seen.login or seen.receipts or seen.publish) or seen.receipt_s is not None


def _secure(client: paho.Client, settings: Settings) -> None:
    mqtt = settings.mqtt
    try:
        client.tls_set(mqtt.ca_file or None, mqtt.cert_file or None, mqtt.key_file or None)
    except (OSError, ValueError) as error:
        raise SetupError(f"[mqtt]: cannot use the certificate's files: {error}") from None


def _listen(client: paho.Client, seen: Visit, device: str, epoch: int) -> None:
    """Each step begins when the broker has answered the one before."""
    payload = wire.encode_envelope(device, epoch, 1, 1, wire.encode_body(Fixes()))
    start = time.monotonic()

    def connected(_c: Any, _d: Any, _f: Any, code: Any, _p: Any) -> None:
        seen.tell(login=str(code) if code.is_failure else "", said=f"{code.value}")
        if not code.is_failure:
            client.subscribe(wire.topic(device, "receipt"), qos=1)

    def subscribed(_c: Any, _d: Any, _m: Any, codes: Any, _p: Any) -> None:
        seen.tell(receipts=str(codes[0]) if codes[0].is_failure else "")
        if not codes[0].is_failure:
            client.publish(wire.topic(device, "position"), payload, qos=1)

    def published(_c: Any, _d: Any, _m: Any, code: Any, _p: Any) -> None:
        seen.tell(publish=str(code) if code.is_failure else "")

    def heard(_c: Any, _d: Any, message: paho.MQTTMessage) -> None:
        try:
            receipt = wire.decode(bytes(message.payload), Receipt)
        except msgspec.DecodeError:
            return
        if receipt.epoch == epoch and receipt.seq >= 1:
            seen.tell(receipt_s=time.monotonic() - start)

    def logged(_c: Any, _d: Any, level: int, text: str) -> None:
        if level == paho.MQTT_LOG_ERR and seen.login is None:
            words = certificate.in_words(text)
            seen.tell(login=words) if words else None

    client.on_connect, client.on_subscribe, client.on_publish = connected, subscribed, published
    client.on_message, client.on_log = heard, logged


# ---------------------------------------------------------------- checks


def login(patient: Patient) -> Verdict:
    """The session is the agent's while it has one: a second login would end the first."""
    if patient.running and patient.status.get("connected"):
        return ok("the agent is connected")
    seen = patient.found["visit"] = visit(patient.settings)
    if seen.login == "":
        return ok("the broker lets this device in")
    what, _, fix = (seen.login or f"no answer in {PATIENCE_S:g} s").partition(": ")
    return fail(what, fix or "check user name and password in [mqtt], or install the device's bundle")


def receipt_rights(patient: Patient) -> Verdict:
    seen: Visit | None = patient.found.get("visit")
    if seen is None:
        return ok("the agent hears receipts: it counts as connected only then")
    if seen.receipts == "":
        return ok(wire.topic(patient.settings.device, "receipt"))
    return fail(
        f"refused: {seen.receipts or 'no answer'}", ACCESS.format(patient.settings.device) + "receipt to be read"
    )


def publish_rights(patient: Patient) -> Verdict:
    seen: Visit | None = patient.found.get("visit")
    if seen is None:
        return skip("the next check tells")
    if seen.publish == "":
        return ok("the broker takes messages")
    return fail(
        f"refused: {seen.publish or 'no answer'}", ACCESS.format(patient.settings.device) + "+ to be written"
    )


def receipt_comes(patient: Patient) -> Verdict:
    seen: Visit | None = patient.found.get("visit")
    if seen is None:
        return _agent_confirmed(patient)
    if seen.receipt_s is not None:
        return ok(f"after {seen.receipt_s:.1f} s: the pipeline has it on disk")
    fix = (
        "is the pipeline's bridge running (console)? is the device enrolled and not revoked (vedette devices list)?"
    )
    return fail(f"none in {PATIENCE_S:g} s", fix)


def _agent_confirmed(patient: Patient) -> Verdict:
    """Wait until the running agent has something more confirmed."""
    before, start = patient.status["confirmed"], time.monotonic()
    while time.monotonic() - start < AGENT_PATIENCE_S:
        row = read(patient.data)
        if row["confirmed"] > before:
            return ok(f"{row['sent']} sent, {row['confirmed']} confirmed")
        time.sleep(0.5)
    if not row["waiting"]:
        return ok(f"{row['confirmed']} confirmed, nothing waits; nothing new in {AGENT_PATIENCE_S:g} s")
    return fail(
        f"{row['waiting']} wait, none confirmed in {AGENT_PATIENCE_S:g} s", "is the pipeline's bridge running?"
    )


CHECKS = (
    Check("login", login, ("port of the broker", "TLS handshake")),
    Check("right to hear receipts", receipt_rights, ("login",)),
    Check("right to publish", publish_rights, ("login",)),
    Check("receipt comes back", receipt_comes, ("login", "right to hear receipts")),
)
