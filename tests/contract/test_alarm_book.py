"""One suite for every alarm book: the double, SQLite, and a real PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from pipeline.alarms import schema
from pipeline.alarms.book import SqlAlarmBook
from pipeline.database import Database
from pipeline.message import Change, HeldBack, Refusal, Signal
from pipeline.ports import AlarmBook, UserError
from tests.contract.sql import address
from tests.doubles import MemoryBook

T0 = 1_480_000_000_000_000
NOW = 1_790_000_000_000_000


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AlarmBook]:
    made: AlarmBook
    if request.param == "memory":
        made = MemoryBook(clock=lambda: NOW)
    else:
        made = SqlAlarmBook(address(request.param, request, tmp_path), clock=lambda: NOW)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, request, tmp_path)


def signal(change: Change = Change.BEGAN, *, start: int = T0, at: int | None = None, **other: Any) -> Signal:
    known: dict[str, Any] = {
        "rule": "keep-out",
        "kind": "geofence",
        "version": "3f9a",
        "subject": "bus-1",
        "place": "yard",
        "reason": f"bus-1 {change.value}",
    }
    return Signal(**{**known, **other}, change=change, start=start, at=start if at is None else at)


def raised(book: AlarmBook, start: int = T0, **other: Any) -> str:
    began = signal(start=start, **other)
    book.apply([began])
    return began.alarm


def test_a_beginning_raises_an_alarm_that_carries_its_reason(book: AlarmBook) -> None:
    began = signal(evidence={"fix": {"lat": 62.5, "speed": None}, "clock": "synced"}, severity="critical")
    (event,) = book.apply([began])
    assert (event.number, event.alarm, event.change, event.at) == (1, began.alarm, "raised", T0)
    assert (event.recorded, event.by, event.reason) == (NOW, "rule keep-out", "bus-1 began")
    alarm = book.alarm(began.alarm)
    assert alarm is not None
    assert (alarm.state, alarm.severity, alarm.start, alarm.raised_at, alarm.ended_at) == (
        "raised",
        "critical",
        T0,
        T0,
        None,
    )
    assert alarm.evidence == {"fix": {"lat": 62.5, "speed": None}, "clock": "synced", "version": "3f9a"}
    assert book.history(began.alarm) == [event]


def test_a_second_delivery_changes_nothing(book: AlarmBook) -> None:
    signals = [signal(), signal(Change.STILL, at=T0 + 1), signal(Change.ENDED, at=T0 + 2)]
    first = book.apply([*signals, *signals])
    alarms = book.alarms()
    assert [event.change for event in first] == ["raised", "cleared"]
    assert book.apply(signals) == []
    assert book.apply(signals[:1]) == []
    assert book.alarms() == alarms
    assert book.events_after(0) == first


def test_an_end_clears_and_keeps_an_unseen_alarm_on_the_list(book: AlarmBook) -> None:
    key = raised(book)
    book.apply([signal(Change.ENDED, at=T0 + 9)])
    alarm = book.alarm(key)
    assert alarm is not None
    assert (alarm.state, alarm.ended_at, alarm.acknowledged_by) == ("cleared", T0 + 9, None)
    book.act(key, "acknowledge", by="olga")
    assert [(a.state, a.acknowledged_by) for a in book.alarms()] == [("cleared", "olga")]


def test_an_end_before_its_beginning_is_kept_and_not_shown(book: AlarmBook) -> None:
    ended = signal(Change.ENDED, at=T0 + 9)
    assert book.apply([ended]) == []
    assert book.alarms() == []
    assert book.alarms(state="expected") == []
    assert book.history(ended.alarm) == []
    assert book.alarm(ended.alarm) is None
    with pytest.raises(UserError, match=ended.alarm):
        book.act(ended.alarm, "acknowledge", by="olga")
    events = book.apply([signal()])
    assert [(e.change, e.at, e.reason) for e in events] == [
        ("raised", T0, "bus-1 began"),
        ("cleared", T0 + 9, "bus-1 ended"),
    ]
    alarm = book.alarm(ended.alarm)
    assert alarm is not None
    assert (alarm.state, alarm.ended_at) == ("cleared", T0 + 9)


def test_the_whole_life(book: AlarmBook) -> None:
    key = raised(book)
    acknowledged = book.act(key, "acknowledge", by="olga", note="looking")
    book.apply([signal(Change.ENDED, at=T0 + 9)])
    book.act(key, "resolve", by="piet", note="a drill")
    assert [(e.number, e.change, e.by, e.reason) for e in book.history(key)] == [
        (1, "raised", "rule keep-out", "bus-1 began"),
        (2, "acknowledged", "olga", "looking"),
        (3, "cleared", "rule keep-out", "bus-1 ended"),
        (4, "resolved", "piet", "a drill"),
    ]
    assert (acknowledged.at, acknowledged.recorded) == (NOW, NOW)
    alarm = book.alarm(key)
    assert alarm is not None
    assert (alarm.state, alarm.acknowledged_by, alarm.resolved_by) == ("resolved", "olga", "piet")


def test_an_action_repeated_by_anybody_gives_the_first_event(book: AlarmBook) -> None:
    key = raised(book)
    first = book.act(key, "acknowledge", by="olga")
    assert book.act(key, "acknowledge", by="piet") == first
    resolved = book.act(key, "resolve", by="piet")
    assert book.act(key, "acknowledge", by="anna") == first
    assert book.act(key, "resolve", by="anna") == resolved
    assert len(book.history(key)) == 3


def test_a_resolved_alarm_stays_so(book: AlarmBook) -> None:
    key = raised(book)
    book.act(key, "acknowledge", by="olga")
    book.act(key, "resolve", by="olga")
    assert book.apply([signal(Change.STILL, at=T0 + 1), signal(Change.ENDED, at=T0 + 2)]) == []
    alarm = book.alarm(key)
    assert alarm is not None
    assert (alarm.state, alarm.ended_at) == ("resolved", T0 + 2)


@pytest.mark.parametrize(
    ("action", "named"), [("shelve", "shelve"), ("resolve", "acknowledged"), ("acknowledged", "acknowledged")]
)
def test_what_may_not_be_done_says_so(book: AlarmBook, action: str, named: str) -> None:
    key = raised(book)
    with pytest.raises(UserError, match=named):
        book.act(key, action, by="olga")
    assert [e.change for e in book.history(key)] == ["raised"]


def test_an_unknown_alarm_is_named(book: AlarmBook) -> None:
    with pytest.raises(UserError, match="feedbeef"):
        book.act("feedbeef", "acknowledge", by="olga")
    assert book.alarm("feedbeef") is None


def test_the_list_is_newest_first_and_can_be_narrowed(book: AlarmBook) -> None:
    keys = [raised(book, T0 + i, subject=f"bus-{i % 2}") for i in range(4)]
    book.act(keys[2], "acknowledge", by="olga")
    assert [a.id for a in book.alarms()] == keys[::-1]
    assert [a.id for a in book.alarms(limit=2)] == keys[:1:-1]
    assert [a.id for a in book.alarms(subject="bus-1")] == [keys[3], keys[1]]
    assert [a.id for a in book.alarms(state="acknowledged")] == [keys[2]]
    assert [a.id for a in book.alarms(state="raised", subject="bus-0")] == [keys[0]]
    assert [a.id for a in book.alarms(prefix=keys[2][:9])] == [keys[2]] and book.alarms(prefix="%") == []
    assert len(book.alarms(kind=signal().kind)) == 4 and book.alarms(kind="device_silence") == []


def test_events_can_be_followed_by_number(book: AlarmBook) -> None:
    for i in range(5):
        raised(book, T0 + i)
    assert [e.number for e in book.events_after(0)] == [1, 2, 3, 4, 5]
    assert [e.number for e in book.events_after(3)] == [4, 5]
    assert [e.number for e in book.events_after(0, limit=2)] == [1, 2]
    assert book.events_after(5) == []


def test_evidence_keeps_the_first_the_best_and_the_last_frame(book: AlarmBook) -> None:
    scores = [0.6, 0.7, 0.95, 0.8, 0.5]
    for i, score in enumerate(scores):
        change = Change.STILL if i else Change.BEGAN
        book.apply([signal(change, at=T0 + i, evidence={"frame": f"key{i}", "score": score, "model": "m"})])
    (alarm,) = book.alarms()
    assert [f["frame"] for f in alarm.evidence["frames"]] == ["key0", "key2", "key4"]
    assert (alarm.evidence["frame"], alarm.evidence["score"]) == ("key0", 0.6)


def fire(revision: int, going_on: int) -> dict[str, Any]:
    return {"fire": {"revision": revision, "going_on": going_on, "members": []}}


def test_a_signal_that_joins_an_alarm_is_part_of_it_until_the_last_has_ended(book: AlarmBook) -> None:
    first = signal(evidence=fire(1, 1))
    others: dict[str, Any] = {"subject": "bus-2", "joins": first.alarm}
    book.apply([first, signal(at=T0 + 1, start=T0 + 1, evidence=fire(2, 2), severity="critical", **others)])
    book.apply([signal(Change.ENDED, at=T0 + 2, evidence=fire(3, 1))])
    (alarm,) = book.alarms()
    assert (alarm.id, alarm.state, alarm.severity) == (first.alarm, "raised", "critical")
    book.apply([signal(Change.ENDED, at=T0 + 3, start=T0 + 1, evidence=fire(4, 0), **others)])
    (alarm,) = book.alarms()
    assert (alarm.state, alarm.ended_at, alarm.evidence["fire"]["revision"]) == ("cleared", T0 + 3, 4)
    told = [event.change for event in book.history(first.alarm)]
    assert told == ["raised", "escalated", "joined", "left", "cleared"]


def test_what_joins_an_alarm_that_was_put_away_or_is_not_there_stands_for_itself(book: AlarmBook) -> None:
    first = raised(book)
    book.act(first, "acknowledge", by="olga")
    book.act(first, "resolve", by="olga")
    second = signal(subject="bus-2", joins=first, evidence=fire(2, 2))
    third = signal(subject="bus-3", joins="0" * 16, evidence=fire(2, 2))
    end = signal(Change.ENDED, subject="bus-2", at=T0 + 5, joins=first, evidence=fire(3, 1))
    book.apply([second, third])
    book.apply([end])
    assert {a.id: a.state for a in book.alarms()} == {
        first: "resolved",
        second.episode: "cleared",
        third.episode: "raised",
    }


def test_a_thousand_signals_at_once(book: AlarmBook) -> None:
    signals = [signal(start=T0 + i) for i in range(1200)]
    assert [e.number for e in book.apply(signals)] == list(range(1, 1201))
    assert book.apply(signals) == []
    assert len(book.alarms(limit=5000)) == 1200


def test_readings_are_on_the_audit_log(book: AlarmBook) -> None:
    book.audit(who="olga", what="track", subject="bus-1", purpose="accident on the bridge", detail="one hour")
    book.audit(who="piet", what="frame", subject="cam-2", purpose="training")
    newest, first = book.audits()
    assert (newest["who"], newest["detail"]) == ("piet", "")
    assert {k: first[k] for k in ("at", "who", "what", "subject", "purpose", "detail")} == {
        "at": NOW,
        "who": "olga",
        "what": "track",
        "subject": "bus-1",
        "purpose": "accident on the bridge",
        "detail": "one hour",
    }
    assert len(book.audits(limit=1)) == 1


def refusal(n: int, reason: str = "latitude_range") -> Refusal:
    return Refusal(
        "gps-1", "vedette/v1/gps-1/position", reason, f"row {n}: 95 is no latitude", T0 + n, b"\x00{\xff"
    )


def test_the_quarantine_keeps_each_refusal_once(book: AlarmBook) -> None:
    book.refuse([refusal(1), refusal(2), refusal(1)])
    book.refuse([refusal(2), refusal(3, "clock_future")])
    book.refuse([])
    assert book.refusals() == [refusal(3, "clock_future"), refusal(2), refusal(1)]
    assert book.refusals(reason="latitude_range", limit=1) == [refusal(2)]
    assert book.refusal_counts() == {"clock_future": 1, "latitude_range": 2}


def test_a_refusal_that_stands_for_many_rows_counts_them_all(book: AlarmBook) -> None:
    many = msgspec.structs.replace(refusal(1), count=300)
    book.refuse([many, refusal(2)])
    book.refuse([many])
    assert book.refusals() == [refusal(2), many]
    assert book.refusal_counts() == {"latitude_range": 301}


def test_refusals_are_forgotten_by_when_they_came_and_their_counts_stay(book: AlarmBook) -> None:
    """`received` does not decide: a record that could not be read has none."""
    book.refuse([refusal(1), msgspec.structs.replace(refusal(2), received=0)])
    assert (book.forget_refusals(NOW), len(book.refusals())) == (0, 2)
    assert (book.forget_refusals(NOW + 1), book.refusals()) == (2, [])
    assert book.refusal_counts() == {"latitude_range": 2}
    assert book.forget_refusals(NOW + 1) == 0


def test_signals_are_forgotten_and_their_alarms_stay_as_they_are(book: AlarmBook) -> None:
    key = raised(book)
    book.act(key, "acknowledge", by="olga")
    assert book.forget_signals(NOW) == 0
    assert book.forget_signals(NOW + 1) == 1
    assert [a.state for a in book.alarms()] == ["acknowledged"]
    assert book.apply([signal()]) == [], "an alarm that is there is not raised again"


def held(first: int = T0, last: int = T0 + 9, **other: Any) -> HeldBack:
    plain = HeldBack(first, last, (1.0, 2.0, 30.5, 40.0), 0.31, "score", "best score 0.31, 0.40 needed")
    named = {"rule": "fire", "label": "fire", "camera": "tower", "place": "5% across, 9% down", "needed": 0.4}
    return msgspec.structs.replace(plain, **{**named, **other})


def test_what_was_held_back_is_found_by_camera_and_time(book: AlarmBook) -> None:
    early, late, other = held(), held(T0 + 20, T0 + 30, reason="mask"), held(camera="yard")
    book.hold_back([early, late, other])
    assert book.held_back("tower", T0 + 9, T0 + 20) == [late, early]
    assert book.held_back("tower", T0 + 10, T0 + 19) == []
    assert book.held_back("tower", T0 - 5, T0 + 100, limit=1) == [late]
    assert book.held_back("yard", T0, T0) == [other]


def test_what_goes_on_being_held_back_is_one_entry_that_never_goes_back(book: AlarmBook) -> None:
    longer = held(last=T0 + 60, reason="constant", best=0.6)
    for told in ([held()], [longer], [held(), longer], [held()]):
        book.hold_back(told)
    assert book.held_back("tower", T0, T0 + 60) == [longer]


def test_what_was_held_back_is_forgotten_by_when_it_was_recorded(book: AlarmBook) -> None:
    book.hold_back([held(), held(T0 + 20)])
    assert (book.forget_held_back(NOW), len(book.held_back("tower", T0, T0 + 99))) == (0, 2)
    assert (book.forget_held_back(NOW + 1), book.held_back("tower", T0, T0 + 99)) == (2, [])


def test_the_device_board_keeps_what_a_report_leaves_out(book: AlarmBook) -> None:
    book.report_devices([{"device": "cam-1", "received": 5, "state": "running", "waiting": 3}, {"device": "a"}])
    book.report_devices([{"device": "cam-1", "received": 9, "frame_scored": 7}])
    assert book.devices() == [
        {"device": "a"},
        {"device": "cam-1", "received": 9, "state": "running", "waiting": 3, "frame_scored": 7},
    ]


def test_an_old_report_that_comes_again_does_not_make_a_device_look_older(book: AlarmBook) -> None:
    book.report_devices([{"device": "cam-1", "received": 9, "frame_scored": 8}])
    book.report_devices([{"device": "cam-1", "received": 5, "frame_scored": None}])
    assert book.devices()[0]["received"] == 9


def test_the_book_is_there_after_it_was_closed(url: str) -> None:
    first = SqlAlarmBook(url)
    key = raised(first)
    first.close()
    again = SqlAlarmBook(url)
    assert [a.id for a in again.alarms()] == [key]
    assert again.apply([signal()]) == []
    again.close()


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work` in so many threads at once; an exception of any of them comes out."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))


def test_a_reader_that_follows_numbers_misses_nothing_of_many_writers(url: str) -> None:
    """Each writer has a book of its own, as processes do."""

    def write(n: int) -> None:
        book = SqlAlarmBook(url)
        for i in range(25):
            book.apply([signal(start=T0 + i, subject=f"bus-{n}")])
        book.close()

    writers = threading.Thread(target=together, args=(4, write))
    reader = SqlAlarmBook(url)
    reader.alarms()
    writers.start()
    seen: list[int] = []
    while writers.is_alive() or reader.events_after(seen[-1] if seen else 0):
        seen += [event.number for event in reader.events_after(seen[-1] if seen else 0)]
    writers.join()
    assert seen == list(range(1, 101))
    assert len(reader.alarms()) == 100
    reader.close()


def test_several_who_open_a_new_book_at_once_all_can(url: str) -> None:
    def open_and_use(n: int) -> None:
        book = SqlAlarmBook(url)
        book.apply([signal(start=T0 + n)])
        book.close()

    together(4, open_and_use)
    assert len(SqlAlarmBook(url).alarms()) == 4


def test_the_audit_log_cannot_be_changed(url: str) -> None:
    book = SqlAlarmBook(url)
    book.audit(who="olga", what="track", subject="bus-1", purpose="p")
    database = Database(url, schema.METADATA, part="alarms", version=schema.VERSION)
    for statement in (update(schema.audit).values(who="nobody"), delete(schema.audit)):
        with suppress(IntegrityError), database.writing() as db:  # SQLite says no, PostgreSQL does nothing
            db.execute(statement)
    assert [row["who"] for row in book.audits()] == ["olga"]
    database.close()
    book.close()


def test_evidence_of_any_shape_comes_back(book: AlarmBook) -> None:
    evidence = {"ü": [1, 2.5, None, {"a": [True]}], "frames_held": 0, "text": "'; DROP TABLE alarm; --"}
    key = raised(book, evidence=evidence)
    alarm = book.alarm(key)
    assert alarm is not None
    assert alarm.evidence == {**evidence, "version": "3f9a"}
    assert msgspec.json.encode(alarm)


# ---------------------------------------------------------------- late fixes, releases


def holds(
    episodes: dict[str, int | None], *, start: int = T0 - 10, at: int = T0 + 1000, version: str = "3f9a"
) -> Signal:
    evidence = {"holds": episodes, "versions": {"keep-out": version}, "first": T0, "known_at": NOW}
    known = {"rule": "late-fixes", "kind": "late-fixes", "place": str(sorted(episodes)) + version}
    return signal(Change.HOLDS, start=start, at=at, evidence=evidence, **known)


def versioned(start: int = T0, change: Change = Change.BEGAN, **other: Any) -> Signal:
    return signal(change, start=start, version="3f9a", **other)


def test_late_fixes_correct_what_they_refute_and_leave_the_rest(book: AlarmBook) -> None:
    one, two, other = versioned(T0), versioned(T0 + 50), versioned(T0 + 50, subject="bus-2")
    book.apply([one, two, other, versioned(T0 + 5000)])
    events = book.apply([holds({two.alarm: T0 + 80})])
    assert [(e.alarm, e.change, e.by) for e in sorted(events, key=lambda e: e.change)] == [
        (two.alarm, "cleared", "late fixes"),
        (one.alarm, "corrected", "late fixes"),
    ]
    states = {a.id: (a.state, a.ended_at) for a in book.alarms()}
    assert states[one.alarm][0] == "corrected" and states[two.alarm] == ("cleared", T0 + 80)
    assert states[other.alarm] == ("raised", None)
    assert sorted(s for s, _ in states.values()) == ["cleared", "corrected", "raised", "raised"]
    assert book.apply([holds({two.alarm: T0 + 80})]) == []


def test_what_was_corrected_wrongly_is_raised_again(book: AlarmBook) -> None:
    one = versioned(T0)
    book.apply([one, holds({})])
    book.apply([holds({one.alarm: None})])
    alarm = book.alarm(one.alarm)
    assert alarm is not None and (alarm.state, "refuted" in alarm.evidence) == ("raised", False)
    assert [event.change for event in book.history(one.alarm)] == ["raised", "corrected", "raised"]


def test_late_fixes_in_the_same_transaction_as_the_alarm(book: AlarmBook) -> None:
    one = versioned(T0)
    assert [event.change for event in book.apply([one, holds({})])] == ["raised", "corrected"]


def test_alarms_of_another_version_of_the_rule_stay(book: AlarmBook) -> None:
    book.apply([versioned(T0), holds({}, version="other")])
    assert [alarm.state for alarm in book.alarms()] == ["raised"]


def test_what_somebody_has_seen_or_put_away_stays_so(book: AlarmBook) -> None:
    one, two = versioned(T0), versioned(T0 + 1)
    book.apply([one, two])
    for each in (one, two):
        book.act(each.alarm, "acknowledge", by="olga")
    book.act(two.alarm, "resolve", by="olga")
    book.apply([holds({})])
    assert {a.id: (a.state, a.acknowledged_by) for a in book.alarms()} == {
        one.alarm: ("cleared", "olga"),
        two.alarm: ("resolved", "olga"),
    }
    assert [book.history(each.alarm)[-1].change for each in (one, two)] == ["corrected"] * 2


def test_the_first_who_released_a_refusal_stands(book: AlarmBook) -> None:
    book.release(["a" * 16, "b" * 16], by="anna")
    book.release(["b" * 16, "c" * 16], by="boris")
    assert book.releases() == {"a" * 16: "anna", "b" * 16: "anna", "c" * 16: "boris"}
    book.forget_refusals(NOW + 1)
    assert book.releases() == {}
