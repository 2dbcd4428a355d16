"""Enrolment without a broker: keys, registry, bundle, revocation list, access list, and the bridge's gate."""

import stat
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pipeline import wire
from pipeline.devices import broker, bundle, registry
from pipeline.devices.authority import DAY
from pipeline.devices.desk import Desk
from pipeline.devices.gate import Gate
from pipeline.intake import TOLD_EVERY, Intake
from pipeline.message import Fix, Fixes
from pipeline.ports import UserError
from pipeline.settings import load

NOW = time.time_ns() // 1000


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(load(data=tmp_path, environ={}), "tester", lambda: NOW)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_certificate_names_the_device_and_the_authority_vouches_for_it(desk: Desk) -> None:
    device, issued, ca = desk.enrol("tower-7", "camera", (47.0, 8.0))
    certificate, authority = (x509.load_pem_x509_certificate(pem.encode()) for pem in (issued.cert, ca))
    certificate.verify_directly_issued_by(authority)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "tower-7"
    assert certificate.not_valid_after_utc.timestamp() == pytest.approx(device.expires / 1e6, abs=1)
    assert device.expires - NOW == 730 * DAY
    assert (mode(desk.folder / "ca.key"), mode(desk.folder)) == (0o600, 0o700)


def test_the_authority_is_made_once(desk: Desk) -> None:
    first, second = desk.enrol("a", "gps", None), desk.enrol("b", "gps", None)
    assert first[2] == second[2]
    assert first[1].key != second[1].key


def test_the_bundle_holds_all_a_device_needs_and_only_its_owner_reads_it(desk: Desk, tmp_path: Path) -> None:
    device, issued, ca = desk.enrol("tower-7", "camera", (47.5, 8.25))
    path = tmp_path / "tower-7.vedette"
    bundle.write(path, bundle.text(device, issued, ca=ca, broker=("broker.example.org", 8883)))
    tree = tomllib.loads(path.read_text())
    assert (tree["device"], tree["kind"], tree["place"]) == ("tower-7", "camera", [47.5, 8.25])
    assert (tree["host"], tree["port"]) == ("broker.example.org", 8883)
    assert (tree["ca"], tree["cert"], tree["key"]) == (ca, issued.cert, issued.key)
    assert mode(path) == 0o600
    with pytest.raises(UserError, match="there already"):
        bundle.write(path, "")


@pytest.mark.parametrize("name", ["", "a b", "-a", "x" * 64, "a/b", "a.b", "vedette-bridge", 'a"b'])
def test_a_name_that_is_no_device_s_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(UserError, match="1 to 63 letters"):
        desk.enrol(name, "camera", None)
    assert not registry.read(desk.folder).devices


def test_enrolled_twice_is_a_mistake_but_after_a_revocation_it_is_not(desk: Desk) -> None:
    desk.enrol("a", "gps", None)
    with pytest.raises(UserError, match="rotate"):
        desk.enrol("a", "gps", None)
    desk.revoke("a", "stolen")
    with pytest.raises(UserError, match="admits it again"):
        desk.revoke("a", "again")
    device, _, _ = desk.enrol("a", "gps", None)
    assert device.revoked is None
    assert [one.revoked for one in device.certificates] == [NOW, None], "the stolen key stays refused"
    with pytest.raises(UserError, match="no device b"):
        desk.revoke("b", "")


def test_rotation_keeps_the_former_certificate_unless_told_otherwise(desk: Desk) -> None:
    desk.enrol("a", "gps", None)
    device, _, _ = desk.rotate("a", now=False)
    assert [one.revoked for one in device.certificates] == [None, None]
    device, _, _ = desk.rotate("a", now=True)
    assert [one.revoked for one in device.certificates] == [NOW, NOW, None]


def test_the_broker_s_lists_follow_the_registry(desk: Desk) -> None:
    desk.set_up_broker(("broker.example.org", "192.0.2.1"), 8884)
    folder = desk.broker_folder
    config = (folder / "mosquitto.conf").read_text()
    assert "/etc/mosquitto/vedette" not in config
    assert f"crlfile {folder}/crl.pem" in config and "listener 8884" in config
    for name in ("ca.crt", "broker.crt", "broker.key", "crl.pem", "acl"):
        assert (folder / name).is_file(), name
    assert mode(folder / "broker.key") == 0o600
    _, issued, ca = desk.enrol("a", "gps", None)
    desk.enrol("b", "gps", None)
    desk.revoke("a", "")
    crl = x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
    (entry,) = list(crl)
    assert f"{entry.serial_number:x}" == issued.record.serial
    key = x509.load_pem_x509_certificate(ca.encode()).public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]
    access = (folder / "acl").read_text()
    assert "user a\ntopic deny vedette/v1/a/#" in access
    assert "user b" not in access
    assert access.endswith((broker.SHIPPED / "acl").read_text())


def test_a_server_certificate_is_for_the_names_it_was_asked_for(desk: Desk) -> None:
    desk.set_up_broker(("broker.example.org", "192.0.2.1"), 8883)
    certificate = x509.load_pem_x509_certificate((desk.broker_folder / "broker.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example.org"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("command", "says"),
    [("", "yourself"), ("false", "exit 1"), ("/no/such/program", "No such file"), ("true", "")],
)
def test_what_went_wrong_with_the_reload_is_told(command: str, says: str) -> None:
    said = broker.reload(command)
    assert says in said and bool(said) == bool(says)


def test_a_registry_that_cannot_be_read_is_named(desk: Desk) -> None:
    desk.enrol("a", "gps", None)
    (desk.folder / registry.FILE).write_text("{")
    with pytest.raises(UserError, match=r"registry\.json"):
        registry.read(desk.folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("a file in the way")
    with pytest.raises(UserError, match=f"{tmp_path}/devices: "):
        Desk(load(data=tmp_path, environ={}), "tester", lambda: NOW).enrol("a", "gps", None)


def test_two_people_enrol_at_once(desk: Desk) -> None:
    names = [f"d-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as people:
        list(people.map(lambda name: desk.enrol(name, "gps", None), names))
    assert sorted(registry.read(desk.folder).devices) == sorted(names)


# ---------------------------------------------------------------- the gate


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_gate_follows_the_registry_within_two_seconds(desk: Desk) -> None:
    clock = Seconds()
    gate = Gate(desk.folder, require_enrolled=True, clock=clock)
    assert gate.refusal("a") == "device_unknown"
    desk.enrol("a", "gps", None)
    clock.now += 2
    assert gate.refusal("a") == ""
    desk.revoke("a", "")
    clock.now += 2
    assert gate.refusal("a") == "device_revoked"


def test_without_the_duty_to_enrol_only_the_revoked_are_refused(desk: Desk) -> None:
    desk.enrol("a", "gps", None)
    desk.revoke("a", "")
    gate = Gate(desk.folder, require_enrolled=False, clock=Seconds())
    assert (gate.refusal("stranger"), gate.refusal("a")) == ("", "device_revoked")


def test_a_damaged_registry_changes_nobody_s_right(desk: Desk) -> None:
    desk.enrol("a", "gps", None)
    clock = Seconds()
    gate = Gate(desk.folder, require_enrolled=True, clock=clock)
    assert gate.refusal("a") == ""
    (desk.folder / registry.FILE).write_text("{")
    clock.now += 2
    assert (gate.refusal("a"), gate.refusal("b")) == ("", "device_unknown")
    assert "registry.json" in gate.trouble


def position(device: str, seq: int) -> bytes:
    body = wire.encode_body(Fixes([Fix(unit="bus-1", at=NOW, lat=30.0, lon=-97.0)]))
    return wire.encode_envelope(device, 7, seq, 1, body)


def test_the_bridge_s_intake_turns_away_without_receipt_bytes_or_a_flood() -> None:
    def refusal(device: str) -> str:
        return "device_revoked" if device == "a" else ""

    intake = Intake(partitions=1, batch_rows=10, max_payload=4096, refusal=refusal)
    for seq in range(1, 51):
        intake.take("vedette/v1/a/position", position("a", seq), NOW)
    intake.take("vedette/v1/b/position", position("b", 1), NOW)
    intake.take("vedette/v1/a/position", position("a", 51), NOW + TOLD_EVERY)
    flush = intake.flush(NOW)
    assert [source.device for source in flush.receipts] == ["b"]
    told = [wire.unpack_refusal(one.value) for one in flush.records if one.topic == wire.QUARANTINE]
    assert [(one.device, one.reason, one.raw) for one in told] == [("a", "device_revoked", b"")] * 2
    assert (intake.accepted, intake.refused) == (1, 51)


def test_a_device_cannot_speak_for_another() -> None:
    intake = Intake(partitions=1, batch_rows=10, max_payload=4096)
    intake.take("vedette/v1/a/position", position("b", 1), NOW)
    (refused,) = [one for one in intake.flush(NOW).records if one.topic == wire.QUARANTINE]
    assert wire.unpack_refusal(refused.value).reason == "device_mismatch"
    assert msgspec.msgpack.decode(refused.value)
