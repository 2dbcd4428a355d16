"""One fire is one alarm: who joins whom, when it ends, and that a crash or a replay changes nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.alarms.fire import area_of
from pipeline.alarms.merge import KEPT, MEMBERS, WITHIN, Merge, State
from pipeline.alarms.stage import SignalStage
from pipeline.message import SECOND, Alarm, Change, Signal
from pipeline.replay import changes
from pipeline.rules.bearing import apart, look, towards, turn
from pipeline.rules.cameras import Camera, Pose
from tests.doubles import MemoryBook

T0 = 1_700_000_000 * SECOND
B, S, E = Change.BEGAN, Change.STILL, Change.ENDED
SIZE = (1280, 720)
FIRE, OTHER = (40.07, 116.10), (40.02, 116.11)
PLACES = {"north": (40.0, 116.0), "south": (40.0, 116.2), "east": (40.12, 116.18)}


def camera(name: str, at: tuple[float, float], **other: Any) -> Camera:
    return Camera(name=name, pose=Pose(lat=at[0], lon=at[1], azimuth=towards(*at, 40.05, 116.1), fov=90, **other))


CAMERAS = {name: camera(name, at) for name, at in PLACES.items()}
CAMERAS["north-2"] = camera("north-2", PLACES["north"], mast="north")
CAMERAS["bare"] = Camera(name="bare")


def seen(
    name: str, target: tuple[float, float] = FIRE, change: Change = B, after: float = 0, **other: Any
) -> Signal:
    """What the sighting rule says of `target`, `after` seconds from the beginning."""
    pose = CAMERAS[name].pose or CAMERAS["north"].pose
    assert pose is not None
    wanted = towards(pose.lat, pose.lon, *target)
    x = min(range(1280), key=lambda x: abs(turn(look(pose, SIZE, x, 380)[0] - wanted)))
    label = other.pop("label", "smoke")
    start = T0 + int(other.pop("began", 0 if change is not B else after) * SECOND)
    evidence = {"label": label, "camera": name, "box": [x - 8.0, 340.0, x + 8.0, 380.0], "size": list(SIZE)}
    return Signal(
        rule=f"{label}-seen",
        kind="sighting",
        version="v1",
        subject=name,
        place=other.pop("place", f"{x * 5 // 1280}/5"),
        change=change,
        at=T0 + int(after * SECOND),
        start=start,
        reason=f"{name} has seen {label}" if change is B else f"{name} has seen no {label}",
        evidence=evidence,
        **other,
    )


def book_of(signals: Sequence[Signal], merge: Merge | None = None) -> MemoryBook:
    book = MemoryBook()
    stage = SignalStage(book, merge or Merge(CAMERAS))
    stage.commit([stage.handle(stage.initial(), [wire.pack(s) for s in signals])[1]])
    return book


def alarms(signals: Sequence[Signal], merge: Merge | None = None) -> list[Alarm]:
    return book_of(signals, merge).alarms()


def told(book: MemoryBook) -> list[tuple[str, str]]:
    return [(event.change, event.reason) for event in book.events]


def test_what_two_masts_see_at_one_place_is_one_alarm_with_that_place() -> None:
    first, second = seen("north"), seen("south", after=40)
    book = book_of([first, second])
    (alarm,) = book.alarms()
    place = alarm.evidence["fire"]["place"]
    assert (alarm.id, alarm.subject, alarm.reason) == (first.alarm, "north", "north has seen smoke")
    assert apart(*FIRE, place["lat"], place["lon"]) < 100
    assert 100 < place["minor_m"] <= place["major_m"] < 1000
    assert [m["alarm"] for m in alarm.evidence["fire"]["members"]] == [first.alarm, second.alarm]
    area = area_of(alarm.evidence)
    assert area is not None and FIRE in area and OTHER not in area
    assert [change for change, _ in told(book)] == ["raised", "joined"]
    assert "the lines meet at 40.0" in told(book)[1][1]
    assert alarm.evidence["bearing"] == pytest.approx(towards(*PLACES["north"], *FIRE), abs=0.1)


def test_one_camera_gives_a_cone_and_no_place() -> None:
    (alarm,) = alarms([seen("north")])
    assert "place" not in alarm.evidence["fire"] and alarm.evidence["fire"]["unplaced"]
    area = area_of(alarm.evidence)
    assert area is not None and FIRE in area and OTHER not in area


def test_it_ends_with_the_last_who_sees_it() -> None:
    said = [seen("north"), seen("south", after=40), seen("north", change=E, after=90), seen("east", after=100)]
    said += [seen("south", change=E, after=200, began=40)]
    book = book_of(said)
    assert [a.state for a in book.alarms()] == ["raised"]
    assert book.events[-1].reason == "south has seen no smoke; east still sees it"
    book = book_of([*said, seen("east", change=E, after=300, began=100)])
    (alarm,) = book.alarms()
    assert (alarm.state, alarm.ended_at) == ("cleared", T0 + 300 * SECOND)
    assert [e.change for e in book.events] == ["raised", "joined", "left", "joined", "left", "cleared"]


def test_smoke_and_fire_of_one_camera_at_one_place_are_one_alarm_and_the_graver_counts() -> None:
    smoke, flame = seen("north"), seen("north", after=30, label="fire", severity="critical")
    (alarm,) = alarms([smoke, flame])
    assert (alarm.id, alarm.severity, alarm.evidence["fire"]["going_on"]) == (smoke.alarm, "critical", 2)
    assert "place" not in alarm.evidence["fire"], "one mast"


def test_cameras_of_one_mast_join_and_give_no_place() -> None:
    (alarm,) = alarms([seen("north"), seen("north-2", after=5)])
    assert alarm.evidence["fire"]["unplaced"] == "all of it is seen from one mast"
    third = alarms([seen("north"), seen("north-2", after=5), seen("south", after=9)])
    assert len(third) == 1 and "place" in third[0].evidence["fire"]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (seen("north", (40.01, 116.11), after=9), "another bearing of the same camera"),
        (seen("north-2", (40.01, 116.11), after=9), "another bearing of the same mast"),
        (seen("south", (40.0, 116.0), after=9), "lines that do not meet"),
        (seen("south", after=WITHIN / SECOND + 9), "too late"),
        (seen("bare", after=9), "a camera without a pose"),
        (seen("south", after=9, label="vehicle-fire"), "another kind of thing"),
    ],
)
def test_what_does_not_agree_stays_an_alarm_of_its_own(second: Signal, why: str) -> None:
    assert len(alarms([seen("north"), second])) == 2, why


def test_a_third_line_tells_two_fires_apart() -> None:
    """North sees both; what east sees joins the one whose lines it meets."""
    one, two = seen("north", FIRE), seen("north", OTHER, after=5)
    found = alarms(
        [one, two, seen("south", FIRE, after=10), seen("south", OTHER, after=15), seen("east", FIRE, after=20)]
    )
    by_id = {a.id: {m["camera"] for m in a.evidence["fire"]["members"]} for a in found}
    assert by_id[one.alarm] >= {"north", "east"}
    assert len(found) == 2


def test_a_camera_that_sees_it_again_joins_again() -> None:
    again = [seen("north"), seen("south", after=40), seen("north", change=E, after=90), seen("north", after=150)]
    (alarm,) = alarms(again)
    assert alarm.evidence["fire"]["going_on"] == 2
    assert len(alarm.evidence["fire"]["members"]) == 2, "the newest of each camera"


def test_a_fire_that_is_over_is_not_joined() -> None:
    said = [seen("north"), seen("north", change=E, after=60), seen("south", after=90)]
    assert len(alarms(said)) == 2
    merge = Merge(CAMERAS)
    state = merge.initial()
    for signal in said:
        state, merged = merge.step(state, signal)
    assert merged.joins == "" and merged.evidence["fire"]["going_on"] == 1


def test_two_places_of_one_picture_are_two_fires_though_one_stands_above_the_other() -> None:
    near, far = seen("north", place="below"), seen("north", after=5, place="above")
    assert len(alarms([near, far])) == 2


def test_news_about_an_alarm_that_was_put_away_is_an_alarm() -> None:
    book, stage = MemoryBook(), SignalStage(MemoryBook(), Merge(CAMERAS))
    first, second = seen("north"), seen("south", after=40)
    state, said = stage.handle(stage.initial(), [wire.pack(first)])
    book.apply([s for s in said if isinstance(s, Signal)])
    book.act(first.alarm, "acknowledge", by="olga")
    book.act(first.alarm, "resolve", by="olga", note="steam")
    rest = [wire.pack(s) for s in (second, seen("south", change=E, after=90, began=40))]
    book.apply([s for s in stage.handle(state, rest)[1] if isinstance(s, Signal)])
    assert {a.id: a.state for a in book.alarms()} == {first.alarm: "resolved", second.alarm: "cleared"}


def test_a_growing_fire_moves_its_place() -> None:
    moved = (40.075, 116.105)
    said = [seen("north"), seen("south", after=5)]
    said += [
        seen(name, moved, S, 60, began=began, place=s.place)
        for name, began, s in (("north", 0, said[0]), ("south", 5, said[1]))
    ]
    (alarm,) = alarms(said)
    place = alarm.evidence["fire"]["place"]
    assert apart(*moved, place["lat"], place["lon"]) < 100


def test_the_end_counts_though_the_camera_has_lost_its_pose() -> None:
    merge, book = Merge(CAMERAS), MemoryBook()
    state, began = merge.step(merge.initial(), seen("north"))
    state, ended = Merge().step(state, seen("north", change=E, after=50))
    book.apply([began, ended])
    assert [a.state for a in book.alarms()] == ["cleared"]


def test_other_signals_pass_as_they_are() -> None:
    other = Signal("fast", "speed", "v1", "bus-1", "", B, T0, T0, "bus-1 drove fast", evidence={"box": 1})
    bare = seen("bare")
    assert Merge(CAMERAS).step(State(), other)[1] is other
    assert Merge(CAMERAS).step(State(), bare)[1] is bare


def test_the_state_stays_bounded() -> None:
    merge = Merge(CAMERAS)
    state = merge.initial()
    for i in range(40):
        state, _ = merge.step(state, seen("north", after=100 * i))
        state, _ = merge.step(state, seen("north", change=E, after=100 * i + 50, began=100 * i))
    state, _ = merge.step(state, seen("north", after=KEPT / SECOND + 5000))
    assert len(state.fires) == len(state.of) == 1


def test_one_fire_that_flickers_keeps_its_first_and_newest_episodes() -> None:
    merge = Merge(CAMERAS)
    state, _ = merge.step(merge.initial(), seen("south"))
    for i in range(MEMBERS + 20):
        state, _ = merge.step(state, seen("north", after=10 * i + 1))
        state, _ = merge.step(state, seen("north", change=E, after=10 * i + 6, began=10 * i + 1))
    (fire,) = state.fires.values()
    assert len(fire.members) == MEMBERS == len(state.of)
    assert fire.id == seen("south").alarm


# ---------------------------------------------------------------- crashes and replay

STORY = [
    seen("north"),
    seen("south", OTHER, after=10),
    seen("south", after=40),
    seen("north", after=55, label="fire", severity="critical"),
    seen("north-2", after=60),
    seen("east", after=70),
    seen("north", change=E, after=90),
    seen("south", OTHER, E, 100, began=10),
    seen("north", OTHER, after=120),
    seen("south", change=E, after=150, began=40),
    seen("north", change=E, after=160, began=55, label="fire"),
    seen("east", change=E, after=170, began=70),
    seen("north-2", change=E, after=200, began=60),
]


def outcome(book: MemoryBook) -> bytes:
    """All that a person sees, without the clock of the book."""
    events = [msgspec.structs.replace(event, recorded=0) for event in book.events]
    return msgspec.json.encode((book.alarms(), events), order="sorted")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=30))
def test_a_crash_anywhere_changes_nothing(cuts: list[tuple[int, bool]]) -> None:
    """Batches of any size; after some the worker dies between commit and snapshot and does them again."""
    records, book = [wire.pack(s) for s in STORY], MemoryBook()
    saved, offset = b"", 0
    for size, dies in [*cuts, (len(records), False)]:
        stage = SignalStage(book, Merge(CAMERAS))
        state, said = stage.handle(stage.restore(saved), records[offset : offset + size])
        stage.commit([said])
        if not dies:
            saved, offset = stage.dump(state), min(len(records), offset + size)
    stage = SignalStage(book, Merge(CAMERAS))
    stage.commit([stage.handle(stage.restore(saved), records[offset:])[1]])
    assert outcome(book) == outcome(book_of(STORY))


def test_a_worker_that_repeats_itself_on_the_log_changes_nothing() -> None:
    """A vision worker that died says again what it had said."""
    once, twice = book_of(STORY), book_of([*STORY[:6], *STORY[2:6], *STORY[6:], *STORY])
    assert [(a.id, a.state, a.ended_at) for a in once.alarms()] == [
        (a.id, a.state, a.ended_at) for a in twice.alarms()
    ]
    assert [e.change for e in once.events] == [e.change for e in twice.events]


def test_replay_tells_what_the_live_system_told() -> None:
    replayed = [(c.alarm, c.change, c.reason) for c in changes(STORY, Merge(CAMERAS))]
    assert replayed == [(e.alarm, e.change, e.reason) for e in book_of(STORY).events]
    assert len({alarm for alarm, _change, _reason in replayed}) < len({s.episode for s in STORY})
