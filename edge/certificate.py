"""The device's certificate: whose it is, until when, and what a refused handshake means for a technician."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from edge.errors import SetupError
from pipeline.message import SECOND
from pipeline.wire import rfc3339

REFUSED = "refused: "
"""Begins every reason that waiting does not mend: a person has to act."""
NEW_BUNDLE = "ask for a new bundle (`vedette devices rotate`) and install it"
WORDS = {
    "certificate revoked": f"this device's certificate is revoked: {NEW_BUNDLE}",
    "certificate expired": f"this device's certificate has expired: {NEW_BUNDLE}",
    "certificate has expired": "the broker's certificate has expired, or this device's clock is ahead: check both",
    "certificate is not yet valid": "this device's clock is behind the broker's certificate: set the clock",
    "certificate required": "the broker wants a certificate and this device has none: install its bundle",
    "unknown ca": "the broker does not know who signed this device's certificate: install its bundle",
    "self-signed certificate": "the broker's certificate is not from the authority in ca_file: check both",
    "unable to get local issuer": "the broker's certificate is not from the authority in ca_file: check ca_file",
    "hostname mismatch": "the broker's certificate is for another name: use the name it was made for",
    "ip address mismatch": "the broker's certificate is for another address: use the name it was made for",
    "bad certificate": f"the broker does not take this device's certificate: {NEW_BUNDLE}",
    "wrong version number": "the broker does not speak TLS on this port: check port and tls",
}
"""OpenSSL's words, in lower case, to ours."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Times in microseconds since the Unix epoch, UTC."""

    name: str
    starts: int
    ends: int
    is_authority: bool


def read(path: Path) -> Facts:
    """The first certificate of a PEM file. SetupError naming the file when it cannot be read."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None


def parse(pem: bytes, where: str) -> Facts:
    """The same of what is in hand; `where` is named in the error."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise SetupError(f"{where}: is no certificate in PEM: install the bundle again") from None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    starts, ends = _micros(certificate.not_valid_before_utc), _micros(certificate.not_valid_after_utc)
    return Facts(str(names[0].value) if names else "", starts, ends, _is_authority(certificate))


def date_trouble(facts: Facts, now: int) -> str:
    """What is wrong with a device's own certificate at `now`; empty if nothing is."""
    if now >= facts.ends:
        return f"this device's certificate expired on {rfc3339(facts.ends)[:10]}: {NEW_BUNDLE}"
    if now < facts.starts:
        said = rfc3339(now)[:10]
        return f"this device's clock says {said}, before its certificate begins: set the clock"
    return ""


def in_words(text: str) -> str:
    """What OpenSSL's error means and what to do; empty if it is not about certificates."""
    low = text.lower().replace("_", " ")
    return next((words for sign, words in WORDS.items() if sign in low), "")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return found.value.ca


def _micros(moment: dt.datetime) -> int:
    return round(moment.timestamp()) * SECOND
