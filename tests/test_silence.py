"""Silence of units and of devices: the same episodes by tick and by gap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, DeviceRecord, DeviceReport, Signal, Status
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import Scope
from pipeline.rules.moves import arrange, no_slots
from pipeline.rules.silence import DeviceSilence, DeviceState, UnitSilence, UnitState
from tests.moving import T0, F, batch_of, brief, head, run


def units(limit: float = 100, scope: Scope | None = None) -> UnitSilence:
    return UnitSilence(head("silence", scope=scope), round(limit * SECOND))


def at(t: float, unit: str = "a") -> F:
    return F(unit, t, 50, 10)


def test_each_gap_longer_than_the_limit_is_an_episode() -> None:
    signals = run(units(), [at(0), at(100), at(201), at(500)])
    assert [word[2:] for word in brief(signals)] == [
        ("began", 200, 200),
        ("ended", 201, 200),
        ("began", 301, 301),
        ("ended", 500, 301),
    ]
    began = next(s for s in signals if s.start == T0 + 301 * SECOND)
    assert began.reason == (
        f"unit a has sent no fix for 100 s since {wire.rfc3339(T0 + 201 * SECOND)} at 50.00000, 10.00000"
    )


def test_a_tick_begins_a_silence_once_and_the_next_fix_ends_it() -> None:
    rule, slots = units(), no_slots()
    state, _ = rule.step(rule.initial(), arrange(slots, batch_of([at(0)])))
    said: list[Signal] = []
    for until in (50, 100, 101, 400):
        state, signals = rule.tick(state, ("gw", T0 + until * SECOND))
        said += signals
    assert [word[2:] for word in brief(said)] == [("began", 100, 100)]
    state, ended = rule.step(state, arrange(slots, batch_of([at(500)])))
    assert [word[2:] for word in brief(ended)] == [("ended", 500, 100)]
    by_gap = run(units(), [at(0), at(500)])
    assert {s.id for s in by_gap} == {s.id for s in said + ended}
    assert sorted(by_gap, key=repr) == sorted(said + ended, key=repr)


def test_a_tick_of_another_device_says_nothing() -> None:
    rule = units()
    state, _ = rule.step(rule.initial(), arrange(no_slots(), batch_of([at(0)])))
    assert rule.tick(state, ("other", T0 + 9999 * SECOND))[1] == []


def test_only_units_in_scope() -> None:
    rule = units(scope=Scope(["b"]))
    assert {s.subject for s in run(rule, [at(0), at(0, "b"), at(500), at(500, "b")])} == {"b"}


def test_a_unit_taken_out_of_the_fleet_is_not_told_of_although_the_state_knows_it() -> None:
    before, after = units(scope=Scope(fleet=Fleet({"a": "", "b": ""}))), units(scope=Scope(fleet=Fleet({"b": ""})))
    state, _ = before.step(before.initial(), arrange(no_slots(), batch_of([at(0), at(0, "b")])))
    state = wire.unpack_state(wire.pack_state(state), UnitState)
    assert [s.subject for s in after.tick(state, ("gw", T0 + 500 * SECOND))[1]] == ["b"]


fixes = st.lists(st.builds(at, st.integers(0, 900), st.sampled_from("ab")), max_size=20)


def told(rows: list[F], cuts: list[int], *, ticking: bool) -> list[Signal]:
    """What is said of parts; ticks come as late as they may truthfully: just before the device's next fix."""
    rule, slots, said = units(), no_slots(), list[Signal]()
    state = rule.initial()
    for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        state, signals = rule.step(state, arrange(slots, batch_of(rows[a:b])))
        said += signals
        if ticking and b < len(rows):
            state, signals = rule.tick(state, ("gw", T0 + round(rows[b].t * SECOND) - 1))
            said += signals
        state = wire.unpack_state(wire.pack_state(state), UnitState)
    return sorted(said + rule.tick(state, ("gw", T0 + 1000 * SECOND))[1], key=repr)


@settings(max_examples=150, deadline=None)
@given(fixes, st.lists(st.integers(0, 20), max_size=4).map(sorted))
def test_cuts_ticks_and_packing_change_nothing(rows: list[F], cuts: list[int]) -> None:
    rows = sorted(rows, key=lambda row: row.t)
    whole = told(rows, [], ticking=False)
    assert told(rows, cuts, ticking=False) == told(rows, cuts, ticking=True) == whole


# ---------------------------------------------------------------- devices


def devices(limit: float = 60) -> DeviceSilence:
    return DeviceSilence(head("device_silence"), round(limit * SECOND))


def record(now: float, *heard: tuple[str, float], said: str = "") -> DeviceRecord:
    status = Status(said) if said else None
    reports = [DeviceReport(name, T0 + round(t * SECOND), status=status) for name, t in heard]
    return DeviceRecord(T0 + round(now * SECOND), reports)


def every_second(*records: DeviceRecord) -> list[DeviceRecord]:
    """The records, and a bare tick for every second between them, as a bridge that listens writes them."""
    said = {item.now: item for item in records}
    ticks = range(min(said), max(said) + 1, SECOND)
    return [said.get(now, DeviceRecord(now, [])) for now in sorted({*ticks, *said})]


def listen(*records: DeviceRecord) -> list[Signal]:
    return hear(every_second(*records))


def hear(records: list[DeviceRecord]) -> list[Signal]:
    rule = devices()
    state, signals = rule.initial(), list[Signal]()
    for item in records:
        state, said = rule.step(state, item)
        state = wire.unpack_state(wire.pack_state(state), DeviceState)
        signals += said
    return signals


def test_a_device_falls_silent_and_speaks_again() -> None:
    signals = listen(record(0, ("cam", 0)), record(60), record(61), record(200), record(300, ("cam", 299)))
    assert brief(signals) == [("cam", "", "began", 60, 60), ("cam", "", "ended", 299, 60)]
    assert signals[0].reason.startswith("device cam has given no sign of life for 60 s since 2023-11-14T22:13:20Z")
    assert signals[1].reason == "device cam gave a sign of life again after 299 s"


def test_after_a_pause_of_the_bridge_nobody_is_judged_until_a_limit_later() -> None:
    """Fifty devices go on while the bridge is away for five minutes: not one of them was silent."""
    names = [f"cam-{n}" for n in range(50)]
    before = every_second(*[record(t, *[(n, t) for n in names]) for t in (0, 20)])
    after = every_second(record(320, (names[0], 320)), record(330, *[(n, 330) for n in names]), record(380))
    assert hear(before + after) == []


def test_a_device_that_stays_away_after_a_pause_of_the_bridge_is_missed_a_limit_later() -> None:
    signals = hear([*every_second(record(0, ("cam", 0))), *every_second(record(300), record(361))])
    assert brief(signals) == [("cam", "", "began", 360, 360)]


def test_the_last_word_of_a_device_is_told() -> None:
    (signal,) = listen(record(0, ("cam", 0), said="lost"), record(100))
    assert 'its last word was "lost"' in signal.reason


def test_a_device_that_finished_is_not_missed_until_it_speaks_again() -> None:
    assert listen(record(0, ("cam", 0), said="finished"), record(500, ("cam", 500), said="online")) == []
    again = [record(0, ("cam", 0), said="finished"), record(500, ("cam", 500)), record(600)]
    assert brief(listen(*again)) == [("cam", "", "began", 560, 560)]


@pytest.mark.parametrize("word", ["stopped", "offline", "lost"])
def test_a_device_that_was_stopped_is_missed(word: str) -> None:
    assert brief(listen(record(0, ("cam", 0), said=word), record(61))) == [("cam", "", "began", 60, 60)]


def test_a_device_that_finishes_late_ends_its_silence() -> None:
    signals = listen(record(0, ("cam", 0)), record(80, ("cam", 80), said="finished"), record(300))
    assert [word[2] for word in brief(signals)] == ["began", "ended"]


def test_a_device_that_was_never_heard_is_not_missed() -> None:
    assert listen(record(0), record(10_000)) == []
