"""The doctor's checks, each on a patient that is well and on one that is not."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from edge.__main__ import cli
from edge.clock import EARLIEST
from edge.doctor import agent, broker, machine, network, papers, source
from edge.doctor.rounds import CHECKS, examine
from edge.doctor.verdict import Check, Patient, Verdict, fail, go_through, ok, warn
from edge.errors import SetupError
from edge.settings import load
from edge.spool import Spool
from pipeline.devices.authority import DAY, Authority
from tests.live.process import free_port
from tests.live.servers import Nats
from tests.videos import video

NOW = time.time_ns() // 1000
GPS = 'kind = "gps"\nurl = "serial:///dev/ttyNONE"'


def patient(tmp_path: Path, mqtt: str = "port = 1", *, text: str = "", **change: Any) -> Patient:
    config = tmp_path / "edge.toml"
    config.write_text(f'device = "tower-7"\ndata = "data"\n[source]\n{text or GPS}\n[mqtt]\n{mqtt}\n')
    config.chmod(0o600)
    (tmp_path / "data").mkdir(exist_ok=True)
    return Patient(config, load(config, environ={}), change.pop("status", {}), **change)


def certified(tmp_path: Path, *, name: str = "tower-7", days: int = 365, mqtt: str = "") -> Patient:
    authority = Authority.open(tmp_path, NOW)
    issued = authority.client(name, NOW, days=days)
    for file, pem in (("d.crt", issued.cert), ("d.key", issued.key)):
        (tmp_path / file).write_text(pem)
        (tmp_path / file).chmod(0o600)
    files = 'ca_file = "ca.crt"\ncert_file = "d.crt"\nkey_file = "d.key"\ntls = true'
    return patient(tmp_path, f"{files}\n{mqtt or 'port = 1'}")


def test_two_dozen_checks_each_with_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names)) >= 24
    for number, check in enumerate(CHECKS):
        assert set(check.after) <= set(names[:number]), check.name


def test_what_depends_on_a_failure_is_left_out() -> None:
    said = [
        Check("a", lambda _: ok("")),
        Check("b", lambda _: fail("broken", "mend it"), ("a",)),
        Check("c", lambda _: ok(""), ("b",)),
        Check("d", lambda _: ok(""), ("c",)),
        Check("e", lambda _: warn("", ""), ("a",)),
    ]
    anyone: Any = None
    states = {name: verdict.state for name, verdict in go_through(said, anyone)}
    assert states == {"a": "ok", "b": "fail", "c": "skip", "d": "skip", "e": "warn"}


def test_errors_of_a_check_are_verdicts() -> None:
    def denied(_: Patient) -> Verdict:
        raise PermissionError(13, "Permission denied", "/etc/x")

    def wrong(_: Patient) -> Verdict:
        raise SetupError("do this")

    anyone: Any = None
    found = dict(go_through([Check("a", denied), Check("b", wrong)], anyone))
    assert found["a"] == fail("/etc/x: Permission denied", "run this with sudo")
    assert found["b"] == fail("do this", "")


@pytest.mark.parametrize(("now", "state"), [(NOW, "ok"), (EARLIEST - 1, "fail"), (NOW * 3, "fail")])
def test_clock(tmp_path: Path, now: int, state: str) -> None:
    assert machine.clock_plausible(patient(tmp_path, now=lambda: now)).state == state


def test_disk(tmp_path: Path) -> None:
    well = patient(tmp_path)
    assert machine.disk_space(well).state == "ok"
    greedy = msgspec.structs.replace(well.settings.spool, max_bytes=1 << 60)
    well.settings = msgspec.structs.replace(well.settings, spool=greedy)
    assert machine.disk_space(well).state == "warn"
    assert machine.spool_writable(well).state == "ok"
    (tmp_path / "data").rmdir()
    assert machine.spool_writable(well).state == "warn"
    assert list(tmp_path.glob("data/*")) == []


@pytest.mark.parametrize(("kib", "state"), [(4_000_000, "ok"), (60_000, "warn"), (10_000, "fail")])
def test_memory(tmp_path: Path, kib: int, state: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 8000000 kB\nMemAvailable: {kib} kB\n")
    assert machine.memory(patient(tmp_path, root=tmp_path)).state == state


@pytest.mark.parametrize(("milli", "state"), [("45000", "ok"), ("86000", "warn"), ("?", "ok")])
def test_heat(tmp_path: Path, milli: str, state: str) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text(milli)
    assert machine.heat(patient(tmp_path, root=tmp_path)).state == state


def test_versions(tmp_path: Path) -> None:
    assert "paho-mqtt 2" in machine.versions(patient(tmp_path)).what


def test_papers_in_order(tmp_path: Path) -> None:
    well = certified(tmp_path)
    assert {check.name: check.look(well).state for check in papers.CHECKS} == {
        "settings": "ok",
        "secrets private": "ok",
        "authority": "ok",
        "certificate dates": "ok",
        "certificate name": "ok",
        "key": "ok",
    }


def test_papers_that_are_not(tmp_path: Path) -> None:
    ill = certified(tmp_path, name="tower-8", days=10)
    assert papers.certificate_dates(ill).state == "warn"
    assert papers.certificate_name(ill) == fail(
        "it is of tower-8, the device is tower-7", "install the bundle of this device"
    )
    ill.now = lambda: NOW + 20 * DAY
    assert "expired on" in papers.certificate_dates(ill).what and "new bundle" in papers.certificate_dates(ill).fix
    (tmp_path / "d.key").write_text((tmp_path / "ca.key").read_text())
    assert papers.key_fits(ill).state == "fail"
    (tmp_path / "d.key").chmod(0o644)
    assert papers.secrets_private(ill) == warn(
        f"others may read {tmp_path}/d.key", f"sudo chmod 600 {tmp_path}/d.key"
    )
    (tmp_path / "ca.crt").write_text((tmp_path / "d.crt").read_text())
    assert papers.authority(ill).state == "fail"


def test_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = patient(tmp_path, f"port = {server.getsockname()[1]}", root=tmp_path)
        assert network.name_resolves(here).state == network.port_open(here).state == "ok"
        assert network.interface_up(here).what == "the broker is on this machine"
    away = patient(tmp_path, 'host = "broker.invalid"', root=tmp_path)
    assert network.name_resolves(away).state == "fail"
    assert network.interface_up(away).what == "no interface"
    for name, state in (("lo", "unknown"), ("wwan0", "down")):
        folder = tmp_path / "sys/class/net" / name
        folder.mkdir(parents=True)
        (folder / "operstate").write_text(state + "\n")
    assert network.interface_up(away) == fail(
        "wwan0 down", "plug the cable in, or look at the modem: antenna, SIM, power"
    )
    (tmp_path / "sys/class/net/wwan0/operstate").write_text("up\n")
    assert network.interface_up(away) == ok("wwan0")
    assert network.port_open(patient(tmp_path, f"port = {free_port()}")).state == "fail"


def test_a_broker_without_tls_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        verdict = network.handshake(patient(tmp_path, 'host = "192.0.2.1"'))
        assert verdict == warn(
            "the connection is not encrypted", "enrol the device on the server and install its bundle"
        )
        link = certified(tmp_path, mqtt=f"port = {server.getsockname()[1]}")
        server.close()
        assert network.handshake(link).state == "fail"


def test_a_broker_that_has_no_pipeline_behind_it(nats: Nats, tmp_path: Path) -> None:
    """The embedded broker speaks MQTT 3.1.1 only: the doctor falls back."""
    lonely = patient(tmp_path, f"port = {nats.mqtt_port}")
    assert broker.login(lonely) == ok("the broker lets this device in")
    assert broker.receipt_rights(lonely).state == broker.publish_rights(lonely).state == "ok"
    assert "bridge running" in broker.receipt_comes(lonely).fix


def test_camera(tmp_path: Path) -> None:
    def look_at(name: str, **how: Any) -> dict[str, str]:
        text = f'kind = "camera"\nurl = "{video(tmp_path / name, **how)}"'
        one = patient(tmp_path, text=text)
        return {check.name: check.look(one).state for check in source.CHECKS}

    rest = {"source device": "skip", "receiver talks": "skip", "receiver has a fix": "skip"}
    well = {"camera opens": "ok", "picture": "ok", "picture size": "ok", "picture rate": "ok"}
    assert look_at("a.mp4") == rest | well
    assert look_at("b.mp4", grey=0, size=(160, 120)) == rest | well | {"picture": "warn", "picture size": "warn"}


def test_receiver(tmp_path: Path) -> None:
    gone = patient(tmp_path)
    assert source.device_there(gone).state == "fail"
    held = patient(tmp_path, status={"running": True, "detail": "no fix for 40 s"})
    assert source.receiver_talks(held).what.endswith("no fix for 40 s")


STATUS = {"running": True, "verdict": "ok", "waiting": 0, "oldest_age_s": None, "dropped": 0, "detail": ""}
STATUS |= {"device": "tower-7", "sent": 9, "confirmed": 9, "connected": True, "written": "2026-01-31T12:00:00Z"}


def test_agent(tmp_path: Path) -> None:
    assert "never run" in agent.agent_runs(patient(tmp_path)).what
    assert agent.agent_runs(patient(tmp_path, status=STATUS)) == ok(
        "tower-7: 9 sent, 9 confirmed, 0 waiting, oldest -"
    )
    down = patient(tmp_path, status=STATUS | {"running": False, "verdict": "down"})
    assert agent.agent_runs(down).state == "fail"
    old = patient(tmp_path, status=STATUS | {"waiting": 4, "oldest_age_s": 7200.0, "dropped": 3})
    assert agent.spool_age(old).state == agent.nothing_dropped(old).state == "warn"


def test_spool(tmp_path: Path) -> None:
    one = patient(tmp_path)
    assert agent.spool_whole(one).state == "skip"
    spool = Spool(tmp_path / "data" / "spool.db")
    for _ in range(100):
        spool.append("frame", os.urandom(5000))
    spool.close()
    assert agent.spool_whole(one).state == "ok"
    raw = bytearray((tmp_path / "data/spool.db").read_bytes())
    raw[4096 : 4096 + 8000] = b"\x55" * 8000
    (tmp_path / "data/spool.db").write_bytes(raw)
    assert agent.spool_whole(one).state == "fail"


def test_the_command_says_what_to_do_and_fails(tmp_path: Path) -> None:
    config = patient(tmp_path, f"port = {free_port()}").config
    done = CliRunner().invoke(cli, ["doctor", str(config)])
    assert done.exit_code == 1 and "-> is the broker running" in done.output
    assert done.output.splitlines()[-1].endswith(" failed")
    done = CliRunner().invoke(cli, ["doctor", str(config), "--json"])
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert [row["check"] for row in rows] == [check.name for check in CHECKS]
    assert {row["check"]: row["state"] for row in rows}["login"] == "skip"


def test_settings_that_cannot_be_read_are_no_patient(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no settings file"):
        list(examine(tmp_path / "none.toml"))
