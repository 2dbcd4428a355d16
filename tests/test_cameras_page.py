"""The calibration page's pure parts: which picture it shows, and its marks."""

import msgspec

from pipeline.api.console.cameras_page import data_url, marks_svg, newest_pictures
from pipeline.message import Alarm
from pipeline.rules.calibrate import Landmark
from tests.desk import sighting
from tests.doubles import MemoryBook


def alarm(*pictures: dict[str, object]) -> Alarm:
    book = MemoryBook()
    book.apply([sighting("old")])
    (found,) = book.alarms()
    return msgspec.structs.replace(
        found, evidence=found.evidence | {"frames": [*found.evidence["frames"], *pictures]}
    )


def test_the_newest_picture_of_each_camera_is_found() -> None:
    assert newest_pictures([alarm()]) == {"tower-1": ("old", (640, 480))}
    later = {"at": 2**60, "frame": "new", "camera": "tower-1", "size": [1280, 720]}
    other = {"at": 5, "frame": "theirs", "camera": "tower-2", "size": [320, 240]}
    found = newest_pictures([alarm(later, other), alarm()])
    assert found == {"tower-1": ("new", (1280, 720)), "tower-2": ("theirs", (320, 240))}


def test_marks_are_numbered_and_the_pending_one_is_a_question() -> None:
    drawn = marks_svg([Landmark(10, 20, 1, 2), Landmark(30, 40, 1, 2)], (50, 60), 280)
    assert [drawn.count(f">{name}</text>") for name in ("1", "2", "?")] == [1, 1, 1]
    assert "M0.0 20H20.0M10 10.0V30.0" in drawn


def test_an_uploaded_picture_stays_in_the_page() -> None:
    assert data_url("image/png", b"\x89PNG") == "data:image/png;base64,iVBORw=="
