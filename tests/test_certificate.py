"""What a certificate says, and OpenSSL's words in ours."""

import ssl
import time
from pathlib import Path

import pytest

from edge import certificate
from edge.errors import SetupError
from pipeline.devices.authority import DAY, Authority

NOW = time.time_ns() // 1000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path, NOW)


def test_the_facts(authority: Authority, tmp_path: Path) -> None:
    facts = certificate.parse(authority.client("tower-7", NOW, days=10).cert.encode(), "x")
    assert (facts.name, facts.is_authority) == ("tower-7", False)
    assert abs(facts.ends - NOW - 10 * DAY) < 2_000_000
    assert certificate.read(tmp_path / "ca.crt").is_authority


@pytest.mark.parametrize(
    ("days", "says"), [(0, ""), (9, ""), (11, "expired on"), (-30, "before its certificate begins: set the clock")]
)
def test_dates(authority: Authority, days: int, says: str) -> None:
    facts = certificate.parse(authority.client("a", NOW, days=10).cert.encode(), "x")
    said = certificate.date_trouble(facts, NOW + days * DAY)
    assert says in said and bool(says) == bool(said)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no")
    for name in ("a", "b"):
        with pytest.raises(SetupError, match=str(tmp_path / name)):
            certificate.read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked (_ssl.c:2580)", "is revoked"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", "this device's certificate has"),
        (
            "certificate verify failed: certificate has expired (_ssl.c:1006)",
            "the broker's certificate has expired",
        ),
        ("certificate verify failed: certificate is not yet valid", "set the clock"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "install its bundle"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'x'", "for another name"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "does not speak TLS"),
        ("[Errno 111] Connection refused", ""),
        ("timed out", ""),
    ],
)
def test_openssl_in_words(text: str, says: str) -> None:
    said = certificate.in_words(text)
    assert says in said and bool(says) == bool(said)


def test_the_words_are_those_that_openssl_really_says(authority: Authority, tmp_path: Path) -> None:
    """A handshake in memory: first the client does not know the authority, then the name is another."""
    server = authority.server(["localhost"], NOW, days=1)
    for name, pem in (("s.crt", server.cert), ("s.key", server.key)):
        (tmp_path / name).write_text(pem)
    there, here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    there.load_cert_chain(tmp_path / "s.crt", tmp_path / "s.key")
    assert "not from the authority" in certificate.in_words(handshake(here, there, "localhost"))
    here.load_verify_locations(tmp_path / "ca.crt")
    assert "for another name" in certificate.in_words(handshake(here, there, "elsewhere"))
    assert handshake(here, there, "localhost") == ""


def handshake(here: ssl.SSLContext, there: ssl.SSLContext, name: str) -> str:
    """What the client's side complains of; empty when both are content."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = here.wrap_bio(down, up, server_hostname=name)
    server = there.wrap_bio(up, down, server_side=True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return str(error)
    return ""
