"""Enrolled devices on a real mosquitto with mutual TLS: who gets in, whose topic is whose, who is cut off."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.cli.devices import command
from pipeline.devices.authority import DAY, Issued
from tests.conftest import started
from tests.live.mutual import MutualMosquitto
from tests.live.process import wait_until

MINUTE_S = 60


@pytest.fixture(scope="module")
def broker() -> Iterator[MutualMosquitto]:
    yield from started(MutualMosquitto())


class Client:
    """A device by hand, with the certificate it is given or none."""

    def __init__(self, broker: MutualMosquitto, folder: Path, issued: Issued | None, name: str) -> None:
        self.log, self.got, self.up = list[str](), list[str](), threading.Event()
        self.down = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, f"vedette-edge-{name}")
        files: list[str | None] = [None, None]
        if issued:
            for i, (part, pem) in enumerate((("crt", issued.cert), ("key", issued.key))):
                path = folder / f"{name}.{issued.record.serial}.{part}"
                path.write_text(pem)
                files[i] = str(path)
        self.client.tls_set(str(broker.folder / "devices" / "ca.crt"), files[0], files[1])
        self.client.on_log = lambda _c, _d, _level, words: self.log.append(words)
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.down.set()
        self.client.on_message = lambda _c, _d, message: self.got.append(message.topic)
        self.client.connect("localhost", broker.port)
        self.client.loop_start()

    def _connected(self, _c: object, _d: object, _f: object, code: object, _p: object) -> None:
        if not getattr(code, "is_failure", True):
            self.down.clear()
            self.up.set()

    def said(self, words: str) -> bool:
        return any(words in line for line in self.log)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_an_enrolled_device_publishes_under_its_own_name_and_no_other(
    broker: MutualMosquitto, tmp_path: Path
) -> None:
    _, mine, _ = broker.desk.enrol("tower-1", "camera", None)
    _, theirs, _ = broker.desk.enrol("tower-2", "camera", None)
    bridge = Client(broker, tmp_path, bridge_files(broker), "vedette-bridge")
    one, two = Client(broker, tmp_path, mine, "tower-1"), Client(broker, tmp_path, theirs, "tower-2")
    try:
        assert bridge.up.wait(10) and one.up.wait(10) and two.up.wait(10)
        bridge.client.subscribe("vedette/v1/+/position", 1)
        two.client.subscribe("vedette/v1/tower-1/receipt", 1)
        time.sleep(0.3)
        two.client.publish("vedette/v1/tower-1/position", b"forged", 1).wait_for_publish(5)
        one.client.publish("vedette/v1/tower-1/position", b"mine", 1).wait_for_publish(5)
        two.client.publish("vedette/v1/tower-2/position", b"mine", 1).wait_for_publish(5)
        bridge.client.publish("vedette/v1/tower-1/receipt", b"{}", 1).wait_for_publish(5)
        wait_until(lambda: "vedette/v1/tower-2/position" in bridge.got, 10, "the messages")
        assert bridge.got == ["vedette/v1/tower-1/position", "vedette/v1/tower-2/position"], (
            "the forged is not there"
        )
        assert two.got == [], "another's receipts are not heard"
    finally:
        for client in (bridge, one, two):
            client.close()


def bridge_files(broker: MutualMosquitto) -> Issued:
    folder = broker.folder / "devices"
    record = broker.desk.enrol("unused-" + str(time.time_ns()), "sensor", None)[1].record
    return Issued((folder / "bridge.key").read_text(), (folder / "bridge.crt").read_text(), record)


def test_without_a_certificate_nobody_gets_in(broker: MutualMosquitto, tmp_path: Path) -> None:
    client = Client(broker, tmp_path, None, "stranger")
    try:
        wait_until(lambda: client.said("certificate required"), 10, "the refusal")
        assert not client.up.is_set()
    finally:
        client.close()


def test_an_expired_certificate_is_refused(broker: MutualMosquitto, tmp_path: Path) -> None:
    desk = broker.desk
    long_ago = dataclasses.replace(desk, clock=lambda: time.time_ns() // 1000 - 900 * DAY)
    _, issued, _ = long_ago.enrol("old-1", "gps", None)
    client = Client(broker, tmp_path, issued, "old-1")
    try:
        wait_until(lambda: client.said("expired"), 10, "the refusal")
        assert not client.up.is_set()
    finally:
        client.close()


def test_a_revoked_device_is_cut_off_within_a_minute_and_stays_out(broker: MutualMosquitto, tmp_path: Path) -> None:
    _, issued, _ = broker.desk.enrol("tower-9", "camera", None)
    client = Client(broker, tmp_path, issued, "tower-9")
    try:
        assert client.up.wait(10)
        before = time.monotonic()
        done = CliRunner().invoke(command, ["revoke", "tower-9", "--reason", "stolen"], obj=None, env=env(broker))
        assert done.exit_code == 0, done.output
        assert "its connection is ended" in done.output
        wait_until(client.down.is_set, MINUTE_S, "the end of the connection")
        wait_until(lambda: client.said("certificate revoked"), MINUTE_S, "the refusal of the next connection")
        assert time.monotonic() - before < MINUTE_S
        print(f"cut off after {time.monotonic() - before:.1f} s")
    finally:
        client.close()


def test_a_rotated_device_gets_in_with_the_new_key_and_not_with_the_old(
    broker: MutualMosquitto, tmp_path: Path
) -> None:
    _, old, _ = broker.desk.enrol("tower-5", "camera", None)
    _, new, _ = broker.desk.rotate("tower-5", now=True)
    assert broker.desk.reload() == ""
    first, second = Client(broker, tmp_path, old, "tower-5"), Client(broker, tmp_path, new, "tower-5")
    try:
        assert second.up.wait(10)
        wait_until(lambda: first.said("certificate revoked"), 10, "the refusal of the old one")
        assert not first.up.is_set()
    finally:
        first.close()
        second.close()


def env(broker: MutualMosquitto) -> dict[str, str]:
    """The pipeline's settings for a command."""
    settings = broker.settings
    return {
        "VEDETTE_DATA_DIR": str(broker.folder),
        "VEDETTE_MQTT_HOST": settings.mqtt.host,
        "VEDETTE_MQTT_PORT": str(settings.mqtt.port),
        "VEDETTE_DEVICES_RELOAD": settings.devices.reload,
    }
