"""Checks of the settings, the certificate and the key."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from edge import certificate
from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, skip, warn
from pipeline.message import SECOND
from pipeline.wire import rfc3339

DAY = 86_400 * SECOND
SOON = 30 * DAY
NO_TLS = "the settings say tls = false"


def settings_valid(patient: Patient) -> Verdict:
    """They were read before any check; so this is what they say."""
    settings = patient.settings
    kind = str(settings.source.__struct_config__.tag)
    return ok(f"{patient.config}: {settings.device}, {kind}, to {settings.mqtt.host}:{settings.mqtt.port}")


def secrets_private(patient: Patient) -> Verdict:
    files = [path for path in (patient.config, Path(patient.settings.mqtt.key_file or "/nowhere")) if path.exists()]
    open_ones = [str(path) for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if not open_ones:
        return ok("only their owner reads settings and key")
    return warn(f"others may read {', '.join(open_ones)}", f"sudo chmod 600 {' '.join(open_ones)}")


def authority(patient: Patient) -> Verdict:
    mqtt = patient.settings.mqtt
    if not mqtt.tls:
        return skip(NO_TLS)
    if not mqtt.ca_file:
        return ok("the system's authorities are trusted")
    facts = certificate.read(Path(mqtt.ca_file))
    if not facts.is_authority:
        return fail(f"{mqtt.ca_file} is no authority's certificate", "install the bundle again")
    said = f"{facts.name}, until {rfc3339(facts.ends)[:10]}"
    return ok(said) if patient.now() < facts.ends else fail(said, "the whole system needs a new authority")


def certificate_dates(patient: Patient) -> Verdict:
    if not patient.settings.mqtt.cert_file:
        return skip("the settings name no certificate")
    facts = certificate.read(Path(patient.settings.mqtt.cert_file))
    if trouble := certificate.date_trouble(facts, patient.now()):
        what, _, fix = trouble.partition(": ")
        return fail(what, fix)
    left = facts.ends - patient.now()
    said = f"until {rfc3339(facts.ends)[:10]}, {left // DAY} days"
    return ok(said) if left > SOON else warn(said, certificate.NEW_BUNDLE)


def certificate_name(patient: Patient) -> Verdict:
    if not patient.settings.mqtt.cert_file:
        return skip("the settings name no certificate")
    name = certificate.read(Path(patient.settings.mqtt.cert_file)).name
    device = patient.settings.device
    if name == device:
        return ok(name)
    return fail(f"it is of {name}, the device is {device}", "install the bundle of this device")


def key_fits(patient: Patient) -> Verdict:
    mqtt = patient.settings.mqtt
    if not mqtt.cert_file:
        return skip("the settings name no certificate")
    Path(mqtt.key_file).read_bytes()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(mqtt.cert_file, mqtt.key_file)
    except ssl.SSLError as error:
        return fail(f"{mqtt.key_file}: {error.reason or error}", "install the bundle again")
    return ok("key and certificate belong together")


CHECKS = (
    Check("settings", settings_valid),
    Check("secrets private", secrets_private),
    Check("authority", authority),
    Check("certificate dates", certificate_dates),
    Check("certificate name", certificate_name),
    Check("key", key_fits),
)
