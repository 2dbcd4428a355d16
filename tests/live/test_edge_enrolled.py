"""From a bundle to confirmed messages and to a revocation: mosquitto with mutual TLS, a log, a bridge, an agent."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from edge import status
from pipeline.devices import bundle
from pipeline.devices.authority import DAY
from pipeline.settings import Settings
from tests.conftest import started
from tests.live.mutual import MutualMosquitto
from tests.live.process import die_with_parent, wait_until
from tests.live.servers import Nats
from tests.videos import video

MINUTE_S = 60
MQTT_KEYS = ("host", "port", "tls", "ca_file", "cert_file", "key_file")


class Site:
    """The server's side with its bridge, and one staged device: `vedette` and `edge` run commands of either."""

    def __init__(self, nats: Nats, broker: MutualMosquitto, folder: Path) -> None:
        self.broker, self.folder, self.root = broker, folder, folder / "root"
        settings = broker.settings
        self.env = os.environ | {
            "VEDETTE_DATA_DIR": str(broker.folder),
            "VEDETTE_LOG_URL": nats.url,
            "VEDETTE_LOG_MAX_BYTES": "100000000",
            "VEDETTE_LOG_FRAMES_MAX_BYTES": "100000000",
            "VEDETTE_DEVICES_REQUIRE_ENROLLED": "true",
            "VEDETTE_DEVICES_RELOAD": settings.devices.reload,
            **{f"VEDETTE_MQTT_{key.upper()}": str(getattr(settings.mqtt, key)) for key in MQTT_KEYS},
        }
        self.children = [self.spawn(["pipeline", "bridge"], "bridge.log")]

    def spawn(self, words: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *words], env=self.env, stderr=file, preexec_fn=die_with_parent
            )

    def vedette(self, *words: str | Path) -> str:
        return run(["pipeline", *map(str, words)], self.env)[1]

    def edge(self, *words: str | Path) -> tuple[int, str]:
        return run(["edge", *map(str, words)], None)

    def config(self, name: str) -> Path:
        return self.root / "etc/vedette/edge" / name / "edge.toml"

    def agent(self, name: str) -> subprocess.Popen[bytes]:
        self.children.append(self.spawn(["edge", "run", str(self.config(name))], f"{name}.log"))
        return self.children[-1]

    def row(self, name: str) -> dict[str, object]:
        return status.read(self.root / "var/lib/vedette-edge" / name)

    def close(self) -> None:
        for child in reversed(self.children):
            child.terminate()
            child.wait(20)


def run(words: list[str], env: dict[str, str] | None) -> tuple[int, str]:
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def broker() -> Iterator[MutualMosquitto]:
    yield from started(MutualMosquitto())


@pytest.fixture
def site(nats: Nats, broker: MutualMosquitto, tmp_path: Path) -> Iterator[Site]:
    one = Site(nats, broker, tmp_path)
    yield one
    one.close()


def states(output: str) -> dict[str, str]:
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {row["check"]: row["state"] for row in rows}


ROUND_TRIP = ("TLS handshake", "login", "right to hear receipts", "right to publish", "receipt comes back")


def test_enrol_install_confirm_revoke_rotate(site: Site) -> None:
    out = site.folder / "tower-7.vedette"
    site.vedette("devices", "enrol", "tower-7", "--kind", "camera", "--out", out)
    source = video(site.folder / "v.mp4", frames=600)
    code, said = site.edge("install", out, "--source", source, "--root", site.root)
    assert code == 0, said
    wait_until(lambda: "subscribed" in (site.folder / "bridge.log").read_text(), 30, "the bridge")
    _, said = site.edge("doctor", site.config("tower-7"), "--json")
    assert [states(said)[name] for name in ROUND_TRIP] == ["ok"] * 5, said
    agent = site.agent("tower-7")
    wait_until(lambda: (site.folder / "root/var/lib/vedette-edge/tower-7/status.json").exists(), 30, "the agent")
    wait_until(lambda: int(str(site.row("tower-7")["confirmed"])) > 1, 30, "confirmed messages")
    assert site.edge("status", site.config("tower-7"))[0] == 0
    code, said = site.edge("doctor", site.config("tower-7"), "--json")
    assert code == 0, said

    before = time.monotonic()
    site.vedette("devices", "revoke", "tower-7", "--reason", "stolen")
    wait_until(lambda: site.row("tower-7")["verdict"] == "refused", MINUTE_S, "the agent's word of its revocation")
    print(f"revoked: the agent says so after {time.monotonic() - before:.1f} s")
    confirmed = site.row("tower-7")["confirmed"]
    code, said = site.edge("status", site.config("tower-7"))
    assert code == 1 and "certificate is revoked" in said
    time.sleep(2)
    assert site.row("tower-7")["confirmed"] == confirmed
    _, said = site.edge("doctor", site.config("tower-7"), "--json")
    assert states(said)["TLS handshake"] == "fail"
    agent.terminate()
    agent.wait(20)

    again = site.folder / "again.vedette"
    site.vedette("devices", "enrol", "tower-7", "--kind", "camera", "--out", again)
    assert site.edge("install", again, "--root", site.root)[0] == 0
    site.agent("tower-7")
    wait_until(lambda: site.row("tower-7")["confirmed"] != confirmed, 60, "what waited goes out")


def test_a_device_that_nobody_enrolled_is_refused_by_the_bridge(site: Site) -> None:
    """It has a certificate of the authority, so the broker lets it in; the registry does not know it."""
    desk = site.broker.desk
    device, issued, ca = dataclasses.replace(desk, settings=broker_elsewhere(site)).enrol("ghost-1", "camera", None)
    out = site.folder / "ghost.vedette"
    bundle.write(out, bundle.text(device, issued, ca=ca, broker=("localhost", site.broker.port)))
    assert site.edge("install", out, "--source", video(site.folder / "v.mp4"), "--root", site.root)[0] == 0
    wait_until(lambda: "subscribed" in (site.folder / "bridge.log").read_text(), 30, "the bridge")
    _, said = site.edge("doctor", site.config("ghost-1"), "--json")
    assert [states(said)[name] for name in ROUND_TRIP] == ["ok"] * 4 + ["fail"], said


def broker_elsewhere(site: Site) -> Settings:
    """The same authority, another registry."""
    other = site.folder / "other"
    other.mkdir()
    for name in ("ca.key", "ca.crt"):
        shutil.copy(site.broker.folder / "devices" / name, other / name)
    settings = site.broker.settings
    devices = msgspec.structs.replace(settings.devices, path=str(other), broker_folder=str(other / "none"))
    return msgspec.structs.replace(settings, devices=devices)


def test_an_expired_certificate_is_told_in_words(site: Site) -> None:
    """Installed in time, expired since: written by hand, because `install` would refuse it."""
    out = site.folder / "old-1.vedette"
    site.vedette("devices", "enrol", "old-1", "--kind", "camera", "--out", out)
    assert (
        site.edge("install", out, "--source", video(site.folder / "v.mp4", frames=600), "--root", site.root)[0] == 0
    )
    then = dataclasses.replace(site.broker.desk, clock=lambda: time.time_ns() // 1000 - 800 * DAY)
    _, issued, _ = then.rotate("old-1", now=False)
    folder = site.config("old-1").parent
    (folder / "device.crt").write_text(issued.cert)
    (folder / "device.key").write_text(issued.key)
    site.agent("old-1")
    wait_until(lambda: (site.folder / "root/var/lib/vedette-edge/old-1/status.json").exists(), 30, "the agent")
    wait_until(lambda: site.row("old-1")["verdict"] == "refused", 30, "the refusal")
    code, said = site.edge("status", site.config("old-1"))
    assert code == 1 and "this device's certificate expired on 20" in said, said
    _, said = site.edge("doctor", site.config("old-1"), "--json")
    assert states(said)["certificate dates"] == states(said)["TLS handshake"] == "fail"
