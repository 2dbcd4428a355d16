"""Vedette's own certificate authority: elliptic-curve keys (P-256), made on first use, kept for their owner only.

The authority's certificate is valid for 20 years and so is each revocation list: a broker refuses everybody once
its list has run out, and a list that nobody renews must not stop the devices. Certificates begin a day before now,
because a device without a battery-backed clock may be behind.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.deployment import write_private
from pipeline.devices.registry import Certificate
from pipeline.message import SECOND
from pipeline.ports import UserError

CA_DAYS = 20 * 365
SLACK = dt.timedelta(days=1)
DAY = 86_400 * SECOND
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its certificate in PEM, and what the registry keeps of it."""

    key: str
    cert: str
    record: Certificate


class Authority:
    """Signs certificates and revocation lists. `open` makes the key and the certificate where there is none yet."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @classmethod
    def open(cls, folder: Path, now: int) -> Authority:
        """The authority of `folder`; the caller holds the folder's turn. UserError if its files cannot be read."""
        key_file, cert_file = folder / "ca.key", folder / "ca.crt"
        try:
            if not key_file.exists():
                _make(key_file, cert_file, now)
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"certificate authority in {folder}: {error}: restore ca.key and ca.crt") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UserError(f"{key_file}: not an elliptic-curve key: restore the one that Vedette made")
        return cls(key, certificate)

    @property
    def pem(self) -> str:
        """The authority's certificate, for whoever has to trust it."""
        return _pem(self._certificate)

    def client(self, name: str, now: int, *, days: int) -> Issued:
        """A client certificate with the common name `name`."""
        return self._issue(name, CLIENT, now, days=days)

    def server(self, hosts: Sequence[str], now: int, *, days: int) -> Issued:
        """A broker's certificate for these host names and addresses."""
        return self._issue(hosts[0], SERVER, now, days=days, hosts=hosts)

    def revocations(self, certificates: Iterable[Certificate], now: int) -> str:
        """The revocation list in PEM, newer than any before it."""
        start = _time(now)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(start).next_update(start + dt.timedelta(days=CA_DAYS))
        builder = builder.add_extension(x509.CRLNumber(now), critical=False)
        for certificate in certificates:
            if certificate.revoked is not None:
                entry = x509.RevokedCertificateBuilder().serial_number(int(certificate.serial, 16))
                builder = builder.add_revoked_certificate(entry.revocation_date(_time(certificate.revoked)).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _issue(
        self, name: str, use: x509.ObjectIdentifier, now: int, *, days: int, hosts: Sequence[str] = ()
    ) -> Issued:
        key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
        builder = _builder(name, self._certificate.subject, key.public_key(), now, days).serial_number(serial)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(_key_pem(key), _pem(certificate), Certificate(f"{serial:x}", now, now + days * DAY))


def _make(key_file: Path, cert_file: Path, now: int) -> None:
    """The certificate first: without its key it is made anew, a key without certificate would stay useless."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Vedette certificate authority")
    builder = _builder("Vedette certificate authority", subject, key.public_key(), now, CA_DAYS)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_ca_usage(), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    cert_file.write_text(_pem(builder.sign(key, hashes.SHA256())))
    write_private(key_file, _key_pem(key))


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: int, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(issuer).public_key(key)
    return builder.not_valid_before(_time(now) - SLACK).not_valid_after(_time(now) + dt.timedelta(days=days))


def _ca_usage() -> x509.KeyUsage:
    """Signs certificates and revocation lists, nothing else."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _time(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at // SECOND, dt.UTC)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
