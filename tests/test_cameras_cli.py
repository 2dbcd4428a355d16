"""`vedette cameras`: what a technician types at a mast."""

import json
from pathlib import Path

import msgspec
import pytest

from pipeline.rules.cameras import File
from tests.commandline import Done, vedette
from tests.test_bearing import SIZE
from tests.test_calibrate import TRUE, seen

CAMERAS = """
[[camera]]
name = "ridge-1"
pose = { lat = 44.0, lon = 5.0, alt = 600.0, azimuth = 10.0, tilt = -3.0, fov = 57.0, mast = "ridge" }

[[camera]]
name = "bare"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "cameras.toml").write_text(CAMERAS)
    file = tmp_path / "vedette.toml"
    file.write_text('[cameras]\nfile = "cameras.toml"\n')
    return file


def cameras(config: Path, *words: str) -> Done:
    return vedette("cameras", *words, "--config", config)


def marks(*offsets: float) -> list[str]:
    found = [seen(TRUE, TRUE.azimuth + a, 6000) for a in offsets]
    return [word for m in found for word in ("--landmark", f"{m.x},{m.y},{m.lat},{m.lon}")]


def test_the_list_shows_pose_and_its_absence(config: Path) -> None:
    header, ridge, bare = cameras(config, "list").stdout.splitlines()
    assert header.split() == ["CAMERA", "PLACE", "AZIMUTH", "FIELD", "OF", "VIEW", "TILT", "MAST"]
    assert "44.00000, 5.00000" in ridge and "10.0° ± 1°" in ridge and ridge.endswith("ridge")
    assert bare.split() == ["bare", "no", "pose"]
    rows = [json.loads(line) for line in cameras(config, "list", "--json").stdout.splitlines()]
    assert [(r["camera"], r["pose"] and r["pose"]["azimuth"]) for r in rows] == [("ridge-1", 10.0), ("bare", None)]


def test_a_pixel_has_a_bearing(config: Path) -> None:
    done = cameras(config, "bearing", "ridge-1", "640", "360")
    assert done.stdout == "bearing 10.00° ± 1°, elevation -3.00°\n"
    told = json.loads(cameras(config, "bearing", "ridge-1", "1280", "360", "--json").stdout)
    assert told["bearing"] == pytest.approx(38.53, abs=0.05)


def test_landmarks_give_a_line_that_the_file_takes(config: Path) -> None:
    done = cameras(config, "calibrate", "ridge-1", *marks(-15, 18), "--size", *map(str, SIZE))
    assert "residual 0.00°" in done.stdout and "fitted: azimuth;" in done.stdout
    text = f'[[camera]]\nname = "ridge-1"\n{done.stdout.splitlines()[-1]}\n'
    pose = msgspec.toml.decode(text, type=File).camera[0].pose
    assert pose is not None
    assert (pose.azimuth, pose.mast, pose.azimuth_error) == (pytest.approx(251.3, abs=0.02), "ridge", 0.1)


def test_a_camera_that_is_not_listed_yet(config: Path) -> None:
    done = cameras(config, "calibrate", "new", *marks(-20, 0, 21), "--at", "44.0,5.0", "--json")
    told = json.loads(done.stdout)
    assert told["fitted"] == ["azimuth", "fov"]
    assert told["pose"]["fov"] == pytest.approx(57, abs=0.2) and told["pose"]["alt"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bearing", "bare", "1", "2"), "has no pose"),
        (("bearing", "nobody", "1", "2"), "there are ridge-1, bare"),
        (("calibrate", "bare", "--landmark", "1,2,44,5"), "give --at LAT,LON"),
        (("calibrate", "ridge-1", "--landmark", "1,2,144,5"), "write it as X,Y,LAT,LON,ALT"),
        (("calibrate", "ridge-1", "--landmark", "1,2,44"), "write it as X,Y,LAT,LON,ALT"),
        (("calibrate", "ridge-1", "--landmark", "1,2,44,nan"), "write it as X,Y,LAT,LON,ALT"),
        (("calibrate", "new", "--at", "here", "--landmark", "1,2,44,5"), "write it as LAT,LON,ALT"),
        (("calibrate", "ridge-1", "--landmark", "1,2,44,5"), "less than 50 m"),
    ],
)
def test_what_cannot_be_is_one_line(config: Path, words: tuple[str, ...], said: str) -> None:
    done = cameras(config, *words)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_one_landmark_is_said_to_be_unchecked(config: Path) -> None:
    assert "cannot be checked" in cameras(config, "calibrate", "ridge-1", *marks(5)).stderr
