"""Masks, a camera's own scores, and when it is night there."""

from __future__ import annotations

import pytest

from pipeline.message import SECOND
from pipeline.rules.cameras import Camera, Mask, Pose
from pipeline.rules.views import Views, sun
from pipeline.wire import parse_rfc3339

GREENWICH = Pose(lat=51.4769, lon=0.0005, azimuth=0, fov=60)
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
SIZE = (640, 480)


def views(**about: object) -> Views:
    return Views({"tower": Camera(name="tower", **about)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ((10.0, 10.0, 50.0, 50.0), "tree"),
        ((280.0, 10.0, 350.0, 50.0), "tree"),
        ((290.0, 10.0, 370.0, 50.0), ""),
        ((400.0, 10.0, 450.0, 50.0), ""),
        ((10.0, 10.0, 10.0, 50.0), ""),
    ],
    ids=["inside", "more than half inside", "less than half", "outside", "empty"],
)
def test_a_detection_is_masked_by_the_share_of_its_area(box: tuple[float, float, float, float], name: str) -> None:
    assert views(masks=(Mask(polygon=LEFT_HALF, name="tree"),)).mask("tower", "fire", box, SIZE) == name


def test_two_masks_side_by_side_are_one_and_the_larger_part_gives_the_name() -> None:
    left, right = ((0.0, 0.0), (0.1, 0.0), (0.1, 1.0), (0.0, 1.0)), ((0.1, 0.0), (0.3, 0.0), (0.3, 1.0), (0.1, 1.0))
    both = views(masks=(Mask(polygon=left), Mask(polygon=right)))
    assert both.mask("tower", "fire", (32.0, 0.0, 160.0, 50.0), SIZE) == "mask 2"


def test_a_mask_is_for_its_labels_and_its_camera() -> None:
    masked = views(masks=(Mask(polygon=LEFT_HALF, name="chimney", labels=("smoke",)),))
    here = (10.0, 10.0, 50.0, 50.0)
    assert [masked.mask("tower", label, here, SIZE) for label in ("smoke", "fire")] == ["chimney", ""]
    assert masked.mask("yard", "smoke", here, SIZE) == ""


def test_a_mask_that_crosses_itself_is_its_odd_even_area() -> None:
    bow = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
    masked = views(masks=(Mask(polygon=bow),))
    assert masked.mask("tower", "fire", (2.0, 200.0, 60.0, 280.0), SIZE) == "mask 1"
    assert masked.mask("tower", "fire", (310.0, 2.0, 330.0, 60.0), SIZE) == ""


@pytest.mark.parametrize(
    ("at", "degrees"),
    [("2026-03-20T12:07:00Z", 38.5), ("2026-06-21T12:02:00Z", 62.0), ("2026-12-21T23:58:00Z", -61.9)],
)
def test_the_sun_stands_where_the_season_says(at: str, degrees: float) -> None:
    """At noon by 90 - latitude + declination: 0 at the equinox, 23.44 at the solstices."""
    assert sun(GREENWICH, parse_rfc3339(at)) == pytest.approx(degrees, abs=0.2)


def test_at_night_the_camera_has_other_scores() -> None:
    own = views(pose=GREENWICH, thresholds={"fire": 0.35}, night={"fire": 0.5})
    noon, midnight = parse_rfc3339("2026-06-21T12:00:00Z"), parse_rfc3339("2026-12-21T23:00:00Z")
    assert (own.threshold("tower", "fire", noon), own.threshold("tower", "fire", midnight)) == (0.35, 0.5)
    assert own.threshold("tower", "smoke", noon) is None
    assert own.threshold("yard", "fire", midnight) is None


def test_night_begins_at_six_degrees_below_the_horizon() -> None:
    own = views(pose=GREENWICH)
    minutes = [parse_rfc3339("2026-03-20T18:00:00Z") + m * 60 * SECOND for m in range(90)]
    dark = [own.dark("tower", at) for at in minutes]
    first = dark.index(True)
    assert all(dark[first:]) and not any(dark[:first])
    assert sun(GREENWICH, minutes[first]) < -6 <= sun(GREENWICH, minutes[first - 1])


def test_a_time_that_no_calendar_has_is_day() -> None:
    own = views(pose=GREENWICH, thresholds={"fire": 0.3}, night={"fire": 0.5})
    assert own.threshold("tower", "fire", 2**62) == 0.3
