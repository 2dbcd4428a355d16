"""Installing from a bundle into a staging folder: files, modes, what an upgrade keeps, what is refused."""

import stat
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import install, settings, unit
from edge.errors import SetupError
from edge.install import Order, to_toml
from edge.installing import go
from edge.places import Places, installed, the_one
from pipeline.devices import bundle
from pipeline.devices.authority import DAY
from pipeline.devices.desk import Desk
from pipeline.settings import load
from tests.conftest import ROOT
from tests.videos import video

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Bundles of one authority."""

    def one(name: str = "tower-7", kind: str = "camera", *, days_ago: int = 0, again: bool = False) -> Path:
        now = time.time_ns() // 1000 - days_ago * DAY
        desk = Desk(load(data=tmp_path / "server", environ={}), "tester", lambda: now)
        device, issued, ca = desk.rotate(name, now=False) if again else desk.enrol(name, kind, None)
        path = tmp_path / f"{name}.{issued.record.serial[:6]}.vedette"
        bundle.write(path, bundle.text(device, issued, ca=ca, broker=("broker.example.org", 8883)))
        return path

    return one


def run(order: Order, *, check: bool = False) -> tuple[int, list[str]]:
    said = list[str]()
    return go(order, check=check, start=True, say=said.append), said


def test_everything_is_in_its_place_and_readable_by_its_owner_only(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "root"
    status, said = run(Order(make(), str(video(tmp_path / "v.mp4")), root=root), check=True)
    assert status == 0
    places = Places(root, "tower-7")
    assert sorted(path.name for path in places.folder.iterdir()) == [
        "ca.crt",
        "device.crt",
        "device.key",
        "edge.toml",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in places.folder.iterdir()} == {0o600}
    found = settings.load(places.config, environ={})
    assert (found.device, found.mqtt.host, found.mqtt.port, found.mqtt.tls) == (
        "tower-7",
        "broker.example.org",
        8883,
        True,
    )
    assert Path(found.mqtt.key_file) == places.folder / "device.key"
    assert isinstance(found.source, settings.Camera) and found.source.url == str(tmp_path / "v.mp4")
    assert found.data == str(places.data)
    assert "640 x 480" in said[1]
    assert said[-1] == "not started; on the device: sudo systemctl enable --now vedette-edge@tower-7"
    assert f"ExecStart={install.program()} run /etc/vedette/edge/%i/edge.toml" in places.unit.read_text()


def test_again_changes_nothing_and_an_upgrade_keeps_what_a_person_has_set(make: Make, tmp_path: Path) -> None:
    root, first = tmp_path / "root", make()
    run(Order(first, "rtsp://192.0.2.1/a", root=root))
    assert "nothing has changed" in run(Order(first, root=root))[1]
    config = Places(root, "tower-7").config
    tree = tomllib.loads(config.read_text())
    tree |= {"source": {**tree["source"], "interval_s": 7.0}, "spool": {"max_bytes": 1_000_000}}
    config.write_text("# my remark\n" + to_toml(tree))
    before = config.with_name("device.key").read_text()
    _, said = run(Order(make(again=True), root=root))
    found = settings.load(config, environ={})
    assert isinstance(found.source, settings.Camera)
    assert (found.source.interval_s, found.source.url, found.spool.max_bytes) == (
        7.0,
        "rtsp://192.0.2.1/a",
        1_000_000,
    )
    assert config.with_name("device.key").read_text() != before
    assert not [line for line in said if "edge.toml" in line], "only certificate and key are new"
    assert "# my remark" in config.read_text()
    run(Order(make("other"), "rtsp://192.0.2.2/b", root=root))
    with pytest.raises(SetupError, match="several devices"):
        the_one(None, root)


def test_a_receiver_becomes_a_receiver(make: Make, tmp_path: Path) -> None:
    run(Order(make("bus-1", "gps"), "serial:///dev/ttyUSB0", root=tmp_path))
    assert isinstance(settings.load(Places(tmp_path, "bus-1").config, environ={}).source, settings.Gps)
    assert the_one(None, tmp_path) == Places(tmp_path, "bus-1").config == installed(tmp_path)[0]


def test_a_source_that_shows_nothing_is_refused_before_anything_is_written(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--no-check"):
        run(Order(make(), str(tmp_path / "none.mp4"), root=tmp_path / "root"), check=True)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("BEGIN CERTIFICATE", "BEGIN NOTHING"), "no certificate"),
        (lambda text: text.replace('device = "tower-7"', 'device = "tower-8"'), "is of tower-7, not of tower-8"),
        (lambda text: text.replace('device = "tower-7"', 'device = "../x"'), "no device name"),
        (lambda text: text.replace("version = 1", "version = 2"), "no device bundle"),
        (lambda text: text[:200], "no device bundle"),
        (lambda _: "\xff", "no device bundle"),
    ],
)
def test_a_damaged_bundle_is_named(make: Make, tmp_path: Path, change: Callable[[str], str], says: str) -> None:
    path = make()
    path.write_text(change(path.read_text()), "latin-1")
    with pytest.raises(SetupError, match=says):
        run(Order(path, "rtsp://192.0.2.1/a", root=tmp_path / "root"))
    assert not (tmp_path / "root").exists()


def test_an_expired_bundle_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="expired on"):
        run(Order(make(days_ago=800), "rtsp://192.0.2.1/a", root=tmp_path / "root"))


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ("", "", "no source: say --source"),
        ("x", "toaster", "use --kind with one of"),
        ("x", "tracks", "has no address"),
        ("", "gateway", "no source: say --source FILE"),
        ("/no/such/file", "gateway", "no such file with a"),
    ],
)
def test_what_is_missing_is_said(make: Make, tmp_path: Path, source: str, kind: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        run(Order(make(), source, kind, tmp_path / "root"))


def test_a_gateway_takes_its_table_from_a_file(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('device = "x"\n[source]\nkind = "gateway"\ngt06_port = 5023\nunits = { "a.b c" = "u-1" }\n')
    run(Order(make(), str(file), "gateway", tmp_path / "root"))
    source = settings.load(Places(tmp_path / "root", "tower-7").config, environ={}).source
    assert isinstance(source, settings.Gateway)
    assert (source.gt06_port, source.units) == (5023, {"a.b c": "u-1"})


def test_nowhere_installed(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="name its CONFIG"):
        the_one(None, tmp_path)


def test_the_shipped_unit_is_the_one_that_install_writes() -> None:
    shipped = (ROOT / "config" / "systemd" / "vedette-edge@.service").read_text()
    assert shipped == unit.text("/opt/vedette/.venv/bin/vedette-edge")


def test_settings_survive_their_own_writing() -> None:
    tree = {
        "a": 'quo"te \\ \x7f',
        "n": 1.5,
        "on": True,
        "t": {"x": [1, 2], "rows": [{"k": "v", "deep": [{"z": 1}]}], "below": {"y": "ü"}},
    }
    assert tomllib.loads(to_toml(tree)) == tree


def test_rows_of_sensors_are_taken_from_a_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows.toml"
    rows.write_text('[[sensor]]\nkind = "file"\nchannel = "load"\npath = "/proc/loadavg"\npattern = "([0-9.]+)"\n')
    tree = install._source(install.Order(tmp_path / "b", str(rows)), "sensor", {})
    path = tmp_path / "edge.toml"
    path.write_text(install.to_toml({"device": "w-1", "source": tree}))
    source = settings.load(path, environ={}).source
    assert isinstance(source, settings.Sensor)
    assert [(row.channel, type(row).__name__) for row in source.sensor] == [("load", "FileRow")]
