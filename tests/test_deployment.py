"""The files that `vedette up` writes, read back by those who will read them."""

import csv
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.settings import Camera, DemoCamera, Tracks
from edge.settings import load as load_edge
from pipeline.deployment import DEMO, Plan, agents, device_name, fleet_file, rules_file, write_private, write_toml
from pipeline.ports import UserError
from pipeline.rules.config import load as load_rules

TRACKS = "unit,at,lat,lon\nbus-1,2016-11-24T06:00:51Z,30.2,-97.7\ntruck_7,2016-11-24T06:00:52Z,30.3,-97.8\n"
FENCE = (
    '{"type": "Feature", "id": "yard", "properties": {}, "geometry": {"type": "Polygon", '
    '"coordinates": [[[30, 62], [31, 62], [31, 63], [30, 62]]]}}'
)


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(TRACKS)
    return path


def units(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["unit"]: row["group"] for row in csv.DictReader(file)}


def test_agents_are_configured_as_they_read_it(tmp_path: Path, tracks: Path) -> None:
    video = tmp_path / "Tower 3 (north).mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    plan = Plan(demo=True, tracks=(tracks,), videos=(video, video), speed=20)
    for device, tree in agents(plan, 1999).items():
        write_toml(tmp_path / f"{device}.toml", tree)
    read = {path.stem: load_edge(path, environ={}) for path in tmp_path.glob("*.toml")}
    assert set(read) == {"demo-fleet", "demo-tower", "tracks", "Tower-3-north", "Tower-3-north-2"}
    assert all(settings.mqtt.port == 1999 and settings.device == name for name, settings in read.items())
    assert isinstance(read["demo-tower"].source, DemoCamera)
    replay, camera = read["tracks"].source, read["Tower-3-north"].source
    assert isinstance(replay, Tracks)
    assert (replay.files, replay.speed) == ([str(tracks)], 20)
    assert isinstance(camera, Camera)
    assert (camera.url, camera.speed) == (str(video), 20)


@pytest.mark.parametrize(
    ("name", "device"),
    [("tower.mp4", "tower"), ("a.b c.mkv", "a-b-c"), ("_-_.mp4", "camera"), ("火.mp4", "camera")],
)
def test_a_device_is_named_after_its_video(name: str, device: str) -> None:
    assert device_name(Path(name), taken={}) == device


def test_a_file_that_is_no_video_is_refused_before_anything_starts(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + b"no video" * 100)
    with pytest.raises(UserError, match=r"broken\.mp4: cannot be read as video"):
        agents(Plan(videos=(broken,)), 1)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no video .*nowhere\.mp4"):
        agents(Plan(videos=(tmp_path / "nowhere.mp4",)), 1)
    with pytest.raises(UserError, match=r"no track file .*nowhere\.csv"):
        fleet_file(Plan(tracks=(tmp_path / "nowhere.csv",)), tmp_path, tmp_path / "fleet.csv")
    with pytest.raises(UserError, match=r"no rules file .*nowhere\.toml"):
        rules_file(Plan(rules=tmp_path / "nowhere.toml"), tmp_path, tmp_path / "rules.toml")


def test_units_of_tracks_and_demo_are_enrolled_beside_the_others_and_stay_so(tmp_path: Path, tracks: Path) -> None:
    usual, data = tmp_path / "usual.csv", tmp_path / "data"
    data.mkdir()
    usual.write_text("unit,group,operator,purpose\ntruck_7,hazmat,Halla Fuel,safety\n")
    assert fleet_file(Plan(), data, usual) == usual
    first = fleet_file(Plan(tracks=(tracks,)), data, usual)
    assert units(first) == {"truck_7": "hazmat", "bus-1": "bus"}
    second = units(fleet_file(Plan(demo=True), data, usual))
    assert second["truck_7"] == "hazmat"
    assert {"bus-1", "timber-2", "van-1"} <= set(second)
    assert fleet_file(Plan(), data, usual) == first, "what was enrolled here once is still so"


def test_without_a_fleet_there_is_an_empty_one_to_fill_in(tmp_path: Path) -> None:
    path = fleet_file(Plan(), tmp_path, tmp_path / "nowhere.csv")
    assert path.read_text() == "unit,group,operator,purpose\n"


def test_a_track_file_with_a_bad_line_is_refused_before_anything_starts(tmp_path: Path, tracks: Path) -> None:
    tracks.write_text(TRACKS + "bus-1,yesterday,30.2,-97.7\n")
    with pytest.raises(UserError, match=r"day\.csv, line 4: column 'at': 'yesterday'"):
        fleet_file(Plan(tracks=(tracks,)), tmp_path, tmp_path / "fleet.csv")


def test_the_demonstration_has_rules_that_load() -> None:
    rules = load_rules(DEMO / "rules.toml")
    assert {"keep-out", "overspeed", "fire", "smoke"} <= {spec.name for spec in rules.specs}


def test_fences_replace_the_geofences_and_leave_the_other_rules(tmp_path: Path) -> None:
    fences = tmp_path / 'ya"rd.geojson'
    fences.write_text(FENCE)
    path = rules_file(Plan(demo=True, fences=fences), tmp_path, tmp_path / "none.toml")
    rules = load_rules(path)
    names = {spec.name for spec in rules.specs}
    assert "keep-out" not in names
    assert {"enters-fence", "overspeed", "smoke"} <= names
    assert [fence.id for fence in rules.fences["enters-fence"]] == ["yard"]


def test_what_is_private_is_so_from_its_first_byte_on(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
