"""Azimuths from landmarks: what was put in comes out, and what cannot be is said."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ports import UserError
from pipeline.rules.bearing import apart, moved, towards
from pipeline.rules.calibrate import REFRACTION, Landmark, calibrate, pose_line
from pipeline.rules.cameras import File, Pose
from pipeline.rules.ellipsoid import MEAN_RADIUS
from tests.test_bearing import SIZE, pixel

TRUE = Pose(lat=44.0, lon=5.0, alt=600.0, azimuth=251.3, tilt=-3.0, fov=57.0, mast="ridge")
GUESS = msgspec.structs.replace(TRUE, azimuth=10.0)


def seen(pose: Pose, azimuth: float, metres: float, *, height: float | None = None, off: float = 0.0) -> Landmark:
    """A landmark as the true camera shows it, `off` pixels to the right of where it should be."""
    at = moved(
        pose.lat, pose.lon, metres * math.sin(math.radians(azimuth)), metres * math.cos(math.radians(azimuth))
    )
    away = apart(pose.lat, pose.lon, *at)
    alt = pose.alt if height is None else height
    rise = alt - pose.alt - away**2 * (1 - REFRACTION) / (2 * MEAN_RADIUS)
    x, y = pixel(pose, towards(pose.lat, pose.lon, *at), math.degrees(math.atan2(rise, away)))
    return Landmark(x + off, y, *at, float("nan") if height is None else alt)


@settings(deadline=None)
@given(st.floats(0, 359.9), st.floats(-20, 20), st.floats(-20, 20), st.floats(1000, 20_000))
def test_two_landmarks_give_the_azimuth(azimuth: float, left: float, right: float, metres: float) -> None:
    true = msgspec.structs.replace(TRUE, azimuth=azimuth)
    found = calibrate(GUESS, SIZE, [seen(true, azimuth + left, metres), seen(true, azimuth + right, 4000)])
    assert math.cos(math.radians(found.pose.azimuth - azimuth)) == pytest.approx(1, abs=1e-8)
    assert found.fitted == ("azimuth",) and found.rms < 1e-3
    assert found.pose.azimuth_error == 0.1, "no finer than can be claimed"


def test_three_landmarks_give_the_field_of_view_too() -> None:
    guess = msgspec.structs.replace(GUESS, fov=80.0)
    found = calibrate(guess, SIZE, [seen(TRUE, TRUE.azimuth + a, 3000) for a in (-22, 3, 20)])
    assert found.fitted == ("azimuth", "fov")
    assert found.pose.azimuth == pytest.approx(251.3, abs=0.02) and found.pose.fov == pytest.approx(57, abs=0.02)


def test_heights_give_the_tilt_too() -> None:
    guess = msgspec.structs.replace(GUESS, fov=70.0, tilt=4.0)
    marks = [
        seen(TRUE, TRUE.azimuth + a, d, height=h) for a, d, h in ((-20, 3000, 500), (0, 9000, 900), (19, 5000, 300))
    ]
    found = calibrate(guess, SIZE, marks)
    assert found.fitted == ("azimuth", "fov", "tilt")
    assert (found.pose.azimuth, found.pose.fov, found.pose.tilt) == pytest.approx((251.3, 57, -3), abs=0.02)


def test_the_residual_is_what_the_clicks_were_off() -> None:
    marks = [seen(TRUE, TRUE.azimuth + a, 5000, off=off) for a, off in ((-5, 10), (5, -10))]
    found = calibrate(GUESS, SIZE, marks)
    degrees_a_pixel = math.degrees(1 / (SIZE[0] / 2 / math.tan(math.radians(57 / 2))))
    assert found.pose.azimuth == pytest.approx(251.3, abs=0.02)
    assert np.abs(found.residuals) == pytest.approx([10 * degrees_a_pixel] * 2, rel=0.03)
    assert found.pose.azimuth_error == pytest.approx(math.sqrt(2) * 10 * degrees_a_pixel, abs=0.02)


def test_one_landmark_leaves_the_error_as_it_was() -> None:
    found = calibrate(msgspec.structs.replace(GUESS, azimuth_error=3.0), SIZE, [seen(TRUE, TRUE.azimuth, 5000)])
    assert found.pose.azimuth == pytest.approx(251.3, abs=0.02) and found.pose.azimuth_error == 3.0


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ([], "no landmark"),
        ([Landmark(10, 10, 44.0001, 5.0)], "landmark 1 is less than 50 m"),
        (
            [Landmark(640, 10, 44.1, 5.0), Landmark(640, 10, 43.9, 5.0), Landmark(640, 10, 44.0, 5.1)],
            "no pose fits",
        ),
    ],
)
def test_what_cannot_be_fitted_is_said(marks: list[Landmark], words: str) -> None:
    with pytest.raises(UserError, match=words):
        calibrate(GUESS, SIZE, marks)


def test_the_line_for_the_file_reads_back() -> None:
    text = f'[[camera]]\nname = "n"\n{pose_line(TRUE)}\n'
    assert msgspec.toml.decode(text, type=File).camera[0].pose == TRUE
    bare = Pose(lat=1, lon=2, azimuth=3, fov=4)
    assert "alt" not in pose_line(bare) and "mast" not in pose_line(bare)
