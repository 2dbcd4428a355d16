"""A fire and the fleet: who is inside, heading in, free; for a purpose, audited, of enrolled units only."""

import math

import msgspec
import pytest

from pipeline.alarms.merge import Merge
from pipeline.alarms.stage import SignalStage
from pipeline.api.explain import explain, spelled_units
from pipeline.api.fires import Nearby, drawn, nearby, read_nearby, where
from pipeline.message import SECOND, Alarm, Signal
from pipeline.ports import Position
from pipeline.rules.area import Area
from pipeline.rules.bearing import Bearing, Place, moved
from pipeline.wire import pack
from tests.desk import NOON, Office, client, signal
from tests.test_merge import CAMERAS, FIRE, T0, seen

PLACE = Place(62.9, 30.9, 800.0, 400.0, 90.0, 60.0)
AREA = Area(PLACE, (), 30_000)
GROUPS = {"bus-1": "bus", "bus-2": "bus", "engine-1": "fire-engine", "engine-2": "fire-engine"}


def at(
    unit: str, east: float, north: float, *, old_s: float = 10, speed: float | None = 0.0, course: float = 0
) -> Position:
    lat, lon = moved(PLACE.lat, PLACE.lon, east, north)
    return Position(unit, NOON - int(old_s * SECOND), lat, lon, speed, course)


def near(*positions: Position, busy: frozenset[str] = frozenset()) -> Nearby:
    return nearby(AREA, positions, GROUPS, busy=busy, now=NOON)


def names(found: Nearby) -> tuple[list[str], ...]:
    return tuple([u.unit for u in units] for units in (found.inside, found.heading_in, found.free))


def test_units_inside_heading_in_and_free() -> None:
    found = near(
        at("bus-1", 700, 0),
        at("bus-2", 0, -3000, speed=15.0, course=0.0),
        at("engine-1", 5000, 0),
        at("engine-2", -2000, 0),
    )
    assert names(found) == (["bus-1"], ["bus-2"], ["engine-2", "engine-1"])
    assert found.heading_in[0].arrives_in_s == pytest.approx(2600 / 15, abs=10)
    assert found.free[0].distance_m == pytest.approx(2000, rel=3e-3)
    assert (found.free[0].group, found.free[0].age_s) == ("fire-engine", 10)


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (at("engine-1", 3000, 0, old_s=1000), "its fix is old"),
        (at("bus-1", 3000, 0), "an alarm is about it"),
        (at("stranger", 100, 0), "not enrolled"),
    ],
)
def test_who_is_not_free(position: Position, why: str) -> None:
    assert names(near(position, busy=frozenset({"bus-1"}))) == ([], [], []), why


@pytest.mark.parametrize("position", [
    at("bus-2", 0, -3000, speed=15.0, course=180.0),
    at("bus-2", 0, -3000, speed=None),
    at("bus-2", 0, -3000, speed=math.nan),
    at("bus-2", 0, -3000, speed=0.2),
    at("bus-2", 0, -30_000, speed=15.0),
])  # fmt: skip
def test_who_is_not_heading_in(position: Position) -> None:
    assert near(position).heading_in == []


def test_a_cone_is_enough_to_ask() -> None:
    line = Bearing(PLACE.lat, PLACE.lon, "tower", 90.0, 1.0, 0.0)
    found = nearby(
        Area(None, (line,), 30_000), [at("bus-1", 9000, 100), at("bus-2", 9000, 2000)], GROUPS, busy=(), now=NOON
    )
    assert names(found) == (["bus-1"], [], ["bus-2"])
    assert found.free[0].distance_m == pytest.approx(2000, rel=0.02)


# ---------------------------------------------------------------- with the book and the api


def fire(office: Office, *names: str) -> Alarm:
    stage = SignalStage(office.book, Merge(CAMERAS))
    stage.commit([stage.handle(stage.initial(), [pack(seen(n, after=i)) for i, n in enumerate(names)])[1]])
    return office.book.alarms(kind="sighting")[0]


def parked(office: Office, unit: str, lat: float, lon: float) -> None:
    office.store.rows[unit] = {T0: (lat, lon, 0.0, 0.0, math.nan, math.nan)}


def test_the_reading_is_audited_with_the_alarm_as_its_purpose() -> None:
    office = Office()
    alarm = fire(office, "north", "south")
    parked(office, "bus-1", *FIRE)
    parked(office, "stranger", *FIRE)
    found = read_nearby(office.book, office.store, {"bus-1": "bus"}, alarm, who="olga", now=T0)
    assert found is not None and found.units == ["bus-1"]
    (entry,) = office.book.audits()
    assert (entry["who"], entry["what"], entry["purpose"]) == ("olga", "last positions", f"fire alarm {alarm.id}")
    assert entry["detail"] == "units near it: bus-1"
    ((name, words),) = spelled_units(found)
    assert name == "inside" and words.startswith("bus-1 (bus): ") and words.endswith(" m, fix 0 s old")


def test_an_alarm_that_is_put_away_reads_nobody() -> None:
    office = Office()
    alarm = fire(office, "north")
    resolved = msgspec.structs.replace(alarm, state="resolved")
    assert read_nearby(office.book, office.store, {}, resolved, who="olga", now=T0) is None
    assert office.book.audits() == []


def test_the_api_gives_units_and_says_why_not() -> None:
    office = Office()
    alarm = fire(office, "north", "south")
    parked(office, "bus-2", *FIRE)
    breach = signal()
    office.book.apply([breach])
    with client(office) as http:
        body = http.get(f"/api/v1/alarms/{alarm.id}/units").json()
        refused = http.get(f"/api/v1/alarms/{breach.alarm}/units")
        unknown = http.get("/api/v1/alarms/nobody/units")
    assert [u["unit"] for u in body["inside"]] == ["bus-2"]
    assert refused.status_code == 409 and "no bearing" in refused.json()["detail"]
    assert unknown.status_code == 404
    assert [e["purpose"] for e in office.book.audits()] == [f"fire alarm {alarm.id}"]


def test_the_explanation_says_where() -> None:
    office = Office()
    alone = fire(office, "north")
    assert any("north sees smoke at bearing" in s for s in where(alone.evidence))
    assert where(alone.evidence)[-1] == "How far away it is, is not known: all of it is seen from one mast."
    both = fire(Office(), "north", "south")
    told = explain(both, []).sentences
    assert any(s.startswith("The lines meet at 40.0") and "95 %" in s for s in told)
    assert where({}) == []


def test_what_is_drawn_is_a_cone_or_an_ellipse() -> None:
    one, both = drawn(fire(Office(), "north").evidence), drawn(fire(Office(), "north", "south").evidence)
    assert one is not None and both is not None
    assert (one["kind"], both["kind"]) == ("cone", "ellipse")
    assert drawn({}) is None


def test_signals_without_a_bearing_have_no_area() -> None:
    said: Signal = signal()
    assert drawn(said.evidence) is None
