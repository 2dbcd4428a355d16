"""Whose tracker it is, what is passed on, what is counted."""

import pytest

from edge.decode import Message, Position
from edge.errors import SetupError
from edge.gateway.desk import MOST_STRANGERS, Desk, judged
from edge.settings import Gateway
from pipeline.message import SECOND, Clock
from tests.gateways import NOW, clock, desk

HERE = Position(NOW - SECOND, 31.0, 121.5, 10.0, 90.0)


@pytest.mark.parametrize("said", ["13512345678", "013512345678", "00000000013512345678"])
def test_leading_zeros_do_not_matter(said: str) -> None:
    assert desk().unit(said) == "bus-1"
    assert desk(units={"00" + said: "bus-9"}).unit("13512345678") == "bus-9"


def test_another_name_of_the_device_may_be_in_the_table() -> None:
    assert desk(units={"865478070001047": "x"}).unit("4eb6fb4ad628", None, "865478070001047") == "x"


def test_strangers_pass_only_when_asked_to_and_only_with_names_that_can_be_units() -> None:
    assert desk(unknown="pass").unit("99") == "99"
    assert desk(unknown="pass").unit("a b/c") == ""
    assert desk().unit("99") == ""


def test_strangers_are_told_with_the_last_first_and_remembered_in_bounded_number() -> None:
    counting = desk()
    for number in range(7):
        counting.unit(f"s-{number}")
    counting.unit("s-0")
    assert counting.trouble == (
        "refused, not in [source] units: s-0 (2), s-6 (1), s-5 (1), s-4 (1), s-3 (1) and 2 more"
    )
    for number in range(1000):
        counting.unit(f"t-{number}")
    assert len(vars(counting)["_strangers"]) == MOST_STRANGERS
    assert counting.counts["unknown"] == 1008


def test_a_name_that_is_shown_is_short_and_printable() -> None:
    counting = desk()
    counting.unit("x\n\x1b[31m" + "y" * 60_000)
    assert counting.trouble == "refused, not in [source] units: x??[31m" + "y" * 33 + " (1)"


def test_what_is_no_place_or_has_no_time_is_counted_and_left_out() -> None:
    counting = desk()
    places = (
        HERE,
        Position(NOW, 91.0, 0.0),
        Position(NOW, 31.0, 121.5, valid=False),
        Position(NOW, float("nan"), 0.0),
        Position(None, 31.0, 121.5),
    )
    kept = counting.kept("bus-1", Message("positions", "x", places))
    assert [(fix.at, fix.course) for fix in kept.fixes] == [(HERE.at, 90.0)]
    assert (counting.counts["no_fix"], counting.counts["no_time"], counting.counts["fixes"]) == (3, 1, 1)


def test_a_report_without_a_time_is_of_its_arrival() -> None:
    (fix,) = desk().kept("u", Message("position", "x", (Position(None, 1.0, 2.0),)), arrival=True).fixes
    assert (fix.at, fix.clock) == (NOW, Clock.SYNCED)


@pytest.mark.parametrize(
    ("at", "state", "expected"),
    [
        (NOW - 86_400 * SECOND, Clock.SYNCED, Clock.SYNCED),
        (NOW + 86_400 * SECOND, Clock.SYNCED, Clock.IMPLAUSIBLE),
        (NOW + 86_400 * SECOND, Clock.UNSYNCED, Clock.SYNCED),
        (0, Clock.UNSYNCED, Clock.IMPLAUSIBLE),
    ],
)
def test_an_old_stamp_is_believed_and_one_of_the_future_is_not(at: int, state: Clock, expected: Clock) -> None:
    assert judged(at, NOW, state) is expected


def test_alarms_become_readings_when_they_begin_and_end() -> None:
    counting = Desk(Gateway(units={"1": "u"}, alarms=["sos", "fall"]), clock())
    told = []
    for names in ((), ("sos",), ("sos", "speed"), ("fall",)):
        place = Position(NOW, 1.0, 2.0, fields={"alarms": list(names)})
        readings = counting.kept("u", Message("position", "1", (place,))).readings
        told.append([(reading.channel, reading.value) for reading in readings])
    assert told == [
        [("u.sos", 0.0), ("u.fall", 0.0)],
        [("u.sos", 1.0)],
        [],
        [("u.sos", 0.0), ("u.fall", 1.0)],
    ]
    assert not counting.kept("u", Message("position", "1", (HERE,))).readings, "nothing said of alarms"


@pytest.mark.parametrize(
    ("units", "said"),
    [({"1": "a b"}, "unit 'a b'"), ({"1": "x", "01": "y"}, "stands twice"), ({"1": ""}, "unit ''")],
)
def test_a_wrong_table_is_named(units: dict[str, str], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        Desk(Gateway(units=units))
