"""cameras.toml: what stands in it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.ports import UserError
from pipeline.rules.cameras import Camera, Mask, Pose, load_cameras

POSE = "pose = { lat = 40.4, lon = 116.0, azimuth = 214, fov = 62 }"


def load(folder: Path, *lines: str) -> dict[str, Camera]:
    path = folder / "cameras.toml"
    path.write_text("\n".join(["[[camera]]", 'name = "tower"', *lines]) + "\n")
    return dict(load_cameras(path))


def test_a_camera_with_all_it_can_have(tmp_path: Path) -> None:
    mask = 'masks = [ { name = "chimney", labels = ["smoke"], polygon = [[0.1, 0.2], [0.2, 0.2], [0.2, 0.4]] } ]'
    (camera,) = load(tmp_path, POSE, "thresholds = { fire = 0.35 }", "night = { fire = 0.5 }", mask).values()
    assert camera.pose == Pose(lat=40.4, lon=116.0, azimuth=214, fov=62, alt=camera.pose.alt if camera.pose else 0)
    assert (camera.thresholds, camera.night) == ({"fire": 0.35}, {"fire": 0.5})
    polygon = ((0.1, 0.2), (0.2, 0.2), (0.2, 0.4))
    assert camera.masks == (Mask(polygon=polygon, name="chimney", labels=("smoke",)),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["night = { fire = 0.5 }"], "camera tower: night: without a pose"),
        ([POSE, "night = { fire = 0.0 }"], "night.fire: 0 is not above 0"),
        (["thresholds = { fire = 1.5 }"], "thresholds.fire: 1.5 is not"),
        (["thresholds = { fire = nan }"], "thresholds.fire: nan is not"),
        (["masks = [ { polygon = [[0.1, 0.2], [0.2, 0.2]] } ]"], r"masks\[0\].polygon: 2 points"),
        (["masks = [ { polygon = [[0.1, 0.2], [0.2, 0.2], [20.0, 0.4]] } ]"], "shares of width and height"),
        ([POSE.replace("40.4", "140.4")], "pose.lat: 140.4 is not between -90 and 90"),
        (["colour = 3"], "colour"),
        (["[[camera]]", 'name = "tower"'], "camera tower is listed twice"),
        (["name ="], "cameras.toml"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_camera_and_key(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, *lines)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cameras file at"):
        load_cameras(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UserError, match=r"bytes\.toml"):
        load_cameras(tmp_path / "bytes.toml")


def test_the_shipped_file_is_read() -> None:
    assert load_cameras(Path(__file__).resolve().parent.parent / "config" / "cameras.toml") == {}
