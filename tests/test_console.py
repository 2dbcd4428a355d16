"""The console's pure parts: rows, places, boxes, words."""

import msgspec
import pytest

from pipeline.alarms.merge import Merge
from pipeline.alarms.stage import SignalStage
from pipeline.api.console import words
from pipeline.api.console.devices_page import device_row, figures
from pipeline.api.console.frame import device_words
from pipeline.api.console.picture import boxes, overlay, pictures
from pipeline.api.console.place import script_json
from pipeline.api.console.rows import place, position, row
from pipeline.api.console.scene import views
from pipeline.api.explain import duration
from pipeline.api.health import judge
from pipeline.message import SECOND, Alarm, Change, Signal
from pipeline.wire import pack
from tests.desk import NOON, sighting, signal
from tests.doubles import MemoryBook
from tests.test_merge import CAMERAS, FIRE, seen


def alarm(*signals: Signal) -> Alarm:
    """The alarm that a fence signal makes, after more of its signals."""
    book = MemoryBook()
    book.apply([signal(), *signals])
    return book.alarms()[0]


def test_a_row_has_what_the_list_shows() -> None:
    found = row(alarm())
    assert found["at"] == NOON // 1000 and found["severity"] == "high" and found["unseen"] == "yes"
    assert found["about"] == "bus-1 · depot · geofence"


def test_an_alarm_that_is_over_is_unseen_until_somebody_acknowledges_it() -> None:
    book = MemoryBook()
    book.apply([signal(), signal(change=Change.ENDED, at=NOON + SECOND)])
    assert row(book.alarms()[0])["state_name"] == words.STATES["cleared"]
    book.act(signal().alarm, "acknowledge", by="anna")
    over = row(book.alarms()[0])
    assert over["state_name"] == "Over" and over["unseen"] == "no"


def test_only_an_alarm_that_stands_has_a_mark() -> None:
    standing = place(alarm())
    assert standing["shown"] and (standing["lat"], standing["lon"]) == (62.9, 30.9)
    assert not place(alarm(signal(change=Change.ENDED, at=NOON + SECOND)))["shown"]


@pytest.mark.parametrize(
    ("evidence", "where"),
    [
        ({"fix": {"lat": 1.5, "lon": 2}}, (1.5, 2.0)),
        ({"lat": 1, "lon": 2}, (1.0, 2.0)),
        ({"fix": {"lat": None, "lon": 2}}, None),
        ({"fix": "nowhere"}, None),
        ({}, None),
    ],
)
def test_where_an_alarm_is(evidence: dict[str, object], where: tuple[float, float] | None) -> None:
    assert position(evidence) == where


def test_an_unknown_severity_is_shown_as_a_warning() -> None:
    assert row(msgspec.structs.replace(alarm(), severity="purple"))["severity"] == "warning"


def test_boxes_come_from_the_evidence_of_a_sighting() -> None:
    assert list(boxes(sighting("").evidence)) == [("smoke", 0.81, (10.0, 20.0, 110.0, 220.0))]
    several = {"detections": [("fire", 0.5, [1, 2, 3, 4]), {"label": "smoke", "score": 0.4, "box": [5, 6, 7, 8]}]}
    assert [b[0] for b in boxes(several)] == ["fire", "smoke"]
    assert list(boxes({})) == []


def test_the_overlay_is_in_pixels_of_the_picture_and_escapes_labels() -> None:
    drawn = overlay([("<b>", 0.5, (10.0, 200.0, 110.0, 220.0))], 480.0)
    assert 'x="10.0" y="200.0" width="100.0" height="20.0"' in drawn
    assert "&lt;b&gt; 0.50" in drawn and "<b>" not in drawn


def test_a_box_at_the_upper_edge_keeps_its_label_inside_the_picture() -> None:
    drawn = overlay([("smoke", None, (10.0, 0.0, 110.0, 50.0))], 480.0)
    assert 'y="-' not in drawn


def test_json_for_a_script_cannot_end_it() -> None:
    assert "</script" not in script_json({"reason": "</script><script>x"})
    assert "\u2028" not in script_json("\u2028")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (200, "3 min 20 s"),
        (7320, "2 h 2 min"),
        (2 * 86_400 + 3600, "2 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds * SECOND) == text


def test_devices_in_the_header_and_in_the_table() -> None:
    rows = [
        {"device": "a", "received": NOON, "frame_scored": NOON - 200 * SECOND, "detail": "lens dirty"},
        {"device": "b", "received": NOON},
        {"device": "c", "received": NOON - 3600 * SECOND, "state": "finished"},
    ]
    health = judge([], rows, now=NOON)
    assert device_words(health) == "3 devices, 1 blind"
    assert device_words(judge([], rows, now=NOON, missed={"b"})) == "3 devices, 1 blind, 1 silent"
    shown = device_row(health.devices[0])
    assert shown["heard"] == "now" and shown["scored"] == "3 min 20 s ago"
    assert shown["why"] == "no fresh frame scored for 3 min 20 s; lens dirty"


def test_figures_of_a_worker_and_of_the_bridge() -> None:
    worker = {"ready": True, "positions": {"records": 12345, "behind": 2}}
    assert figures(worker) == "positions: 12,345 handled, 2 behind"
    assert figures({"accepted": 7, "waiting": 0, "ready": True}) == "7 accepted, 0 waiting"


def test_a_fire_is_drawn_while_it_goes_on_and_marked_where_its_lines_meet() -> None:
    one, both = place(sighted("north")), place(sighted("north", "south"))
    assert one["shown"] and one["lat"] is None and one["area"]["kind"] == "cone"
    assert both["area"]["kind"] == "ellipse" and both["lat"] == pytest.approx(FIRE[0], abs=2e-3)
    over = msgspec.structs.replace(sighted("north"), state="cleared")
    assert not place(over)["shown"] and place(over)["area"] is None


def test_a_fire_has_a_picture_of_each_camera() -> None:
    merge = Merge(CAMERAS)
    state, book = merge.initial(), MemoryBook()
    for name in ("north", "south"):
        said = seen(name)
        said = msgspec.structs.replace(said, evidence=said.evidence | {"frame": f"frame-of-{name}"})
        state, merged = merge.step(state, said)
        book.apply([merged])
    found = pictures(book.alarms()[0].evidence)
    assert {name: evidence["frame"] for name, evidence in found.items()} == {
        "north": "frame-of-north",
        "south": "frame-of-south",
    }
    assert list(boxes(found["south"])) == list(boxes(seen("south").evidence))
    assert pictures({}) == {} and list(pictures({"frame": "k"})) == [""]


def sighted(*names: str) -> Alarm:
    book = MemoryBook()
    stage = SignalStage(book, Merge(CAMERAS))
    stage.commit([stage.handle(stage.initial(), [pack(seen(n, after=i)) for i, n in enumerate(names)])[1]])
    return book.alarms()[0]


def test_cameras_with_a_pose_have_a_view_on_the_map() -> None:
    drawn = views(CAMERAS)["features"]
    assert [f["properties"]["name"] for f in drawn] == [name for name in CAMERAS if name != "bare"]
    assert drawn[0]["geometry"]["coordinates"][0][0][0] == [116.0, 40.0]
