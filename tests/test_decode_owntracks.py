"""OwnTracks: locations and transitions have a place, a waypoint has none; units, topics, what is not kept."""

import json

import pytest

from edge.decode import DecodeError, Message
from edge.decode.owntracks import decode
from pipeline.message import SECOND

PLACE = {"_type": "location", "lat": 48.5, "lon": 2.25, "tst": 1_497_349_316}


def one(report: dict[str, object], topic: str = "") -> Message:
    (message,) = decode(f"{topic} {json.dumps(report)}".encode())
    return message


def refused(raw: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(raw)
    return caught.value.reason


def test_a_location_in_our_units() -> None:
    message = one(PLACE | {"vel": 36, "cog": 271, "alt": 167, "acc": 5, "batt": 67, "t": "u", "tid": "JJ"})
    (fix,) = message.positions
    assert (message.kind, message.device) == ("position", "JJ")
    assert (fix.at, fix.lat, fix.lon) == (1_497_349_316 * SECOND, 48.5, 2.25)
    assert fix.speed == pytest.approx(10.0)
    assert (fix.course, fix.alt, fix.accuracy) == (271.0, 167.0, 5.0)
    assert fix.fields == {"battery_percent": 67.0, "trigger": "u"}


def test_minus_one_is_not_known() -> None:
    (fix,) = one(PLACE | {"vel": -1, "cog": -1, "acc": -1, "alt": -12}).positions
    assert (fix.speed, fix.course, fix.accuracy, fix.alt) == (None, None, None, -12.0)


@pytest.mark.parametrize(
    ("report", "topic", "device"),
    [
        ({"topic": "owntracks/anna/car-7", "tid": "c7"}, "", "car-7"),
        ({"tid": "c7"}, "owntracks/anna/car-7", "car-7"),
        ({"tid": "c7"}, "owntracks/anna/car-7/event", "car-7"),
        ({"tid": "c7"}, "", "c7"),
        ({"topic": 7}, "", None),
    ],
)
def test_the_device_is_the_end_of_the_topic_and_the_user_is_not_kept(
    report: dict[str, object], topic: str, device: str | None
) -> None:
    message = one(PLACE | report, topic)
    assert message.device == device
    assert "anna" not in repr(message)


def test_what_tells_of_people_and_networks_is_not_kept() -> None:
    secrets = {"SSID": "home", "BSSID": "aa:bb", "inregions": ["school"], "image": "xyz", "poi": "flat"}
    assert not any(str(value) in repr(one(PLACE | secrets)) for value in ("home", "aa:bb", "school", "xyz", "flat"))


def test_a_transition_has_a_place_if_it_tells_one() -> None:
    moved = one(PLACE | {"_type": "transition", "event": "leave", "desc": "school"})
    assert (moved.kind, moved.fields, len(moved.positions)) == ("transition", {"event": "leave"}, 1)
    assert one({"_type": "transition", "tst": 1, "event": "enter"}).positions == ()


def test_a_waypoint_is_no_position() -> None:
    waypoint = one(PLACE | {"_type": "waypoint", "desc": "home", "rad": 50})
    assert (waypoint.kind, waypoint.positions) == ("waypoint", ())
    assert one({"_type": "lwt", "tst": 1}).kind == "offline"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"\xff", "text"),
        (b"[1]", "json"),
        (b'{"_type":"location"', "json"),
        (b"{}", "kind"),
        (b'{"_type":["location"]}', "kind"),
        (b'{"_type":"encrypted","data":"x"}', "encrypted"),
        (b'{"_type":"location","lat":"x","lon":1,"tst":1}', "coordinates"),
        (b'{"_type":"location","lat":1,"lon":1}', "time"),
        (b'{"_type":"location","lat":1,"lon":1,"tst":1e300}', "time"),
        (b'{"_type":"location","lat":NaN,"lon":1,"tst":1}', "coordinates"),
        (b"x" * 70_000, "length"),
    ],
)
def test_reasons_of_refusal(raw: bytes, reason: str) -> None:
    assert refused(raw) == reason
