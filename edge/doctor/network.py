"""Checks from the cable to the broker's handshake."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time

from edge import certificate
from edge.discover import line_of
from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, skip, warn

PATIENCE_S = 10.0
SLOW_S = 2.0


def interface_up(patient: Patient) -> Verdict:
    """The loopback counts only where the broker is on this machine."""
    entries = (patient.root / "sys/class/net").glob("*")
    states = {entry.name: line_of(entry / "operstate") or "unknown" for entry in entries if entry.name != "lo"}
    up = sorted(name for name, state in states.items() if state in ("up", "unknown"))
    if up:
        return ok(", ".join(up))
    if _is_here(patient.settings.mqtt.host):
        return ok("the broker is on this machine")
    said = ", ".join(f"{name} {state}" for name, state in sorted(states.items())) or "no interface"
    return fail(said, "plug the cable in, or look at the modem: antenna, SIM, power")


def name_resolves(patient: Patient) -> Verdict:
    mqtt, start = patient.settings.mqtt, time.monotonic()
    try:
        found = socket.getaddrinfo(mqtt.host, mqtt.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return fail(
            f"{mqtt.host}: {error}", "check the name in [mqtt] host, and the name server: resolvectl status"
        )
    took = time.monotonic() - start
    said = f"{mqtt.host} is {found[0][4][0]}"
    return ok(said) if took < SLOW_S else warn(f"{said}, after {took:.1f} s", "the name server is slow")


def port_open(patient: Patient) -> Verdict:
    mqtt, start = patient.settings.mqtt, time.monotonic()
    try:
        socket.create_connection((mqtt.host, mqtt.port), PATIENCE_S).close()
    except OSError as error:
        fix = "is the broker running, its port right, and open in the firewall between?"
        return fail(f"{mqtt.host}:{mqtt.port}: {error}", fix)
    took = time.monotonic() - start
    said = f"{mqtt.host}:{mqtt.port} answers in {took * 1000:.0f} ms"
    return ok(said) if took < SLOW_S else warn(said, "the connection is slow: look at the antenna")


def handshake(patient: Patient) -> Verdict:
    """TLS with the broker, and the first word after it: a broker that refuses our certificate says so only then."""
    mqtt = patient.settings.mqtt
    if not mqtt.tls:
        return skip("the settings say tls = false") if _is_here(mqtt.host) else _open_air()
    context = ssl.create_default_context(cafile=mqtt.ca_file or None)
    if mqtt.cert_file:
        context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
    try:
        with (
            socket.create_connection((mqtt.host, mqtt.port), PATIENCE_S) as link,
            context.wrap_socket(link, server_hostname=mqtt.host) as secure,
        ):
            said = f"{secure.version()}, {(secure.cipher() or ('?',))[0]}"
            _hear_refusal(secure)
    except (ssl.SSLError, OSError) as error:
        what, _, fix = certificate.in_words(str(error)).partition(": ")
        return fail(what or str(error), fix)
    return ok(said)


def _hear_refusal(secure: ssl.SSLSocket) -> None:
    """An alert comes within moments; silence is consent, for the broker waits for us to speak."""
    secure.settimeout(1.0)
    try:
        secure.recv(1)
    except TimeoutError:
        return


def _open_air() -> Verdict:
    return warn("the connection is not encrypted", "enrol the device on the server and install its bundle")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


CHECKS = (
    Check("network interface", interface_up),
    Check("name of the broker", name_resolves),
    Check("port of the broker", port_open, ("name of the broker",)),
    Check("TLS handshake", handshake, ("port of the broker", "key", "authority")),
)
