"""Geofences within hours, as states, and after their rules have changed; against a slow twin, however cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND
from pipeline.rules.calendars import Hours, Weekly
from pipeline.rules.fences import Fence
from pipeline.rules.geofence import FenceRule, Geofence, On, State
from pipeline.rules.head import Scope
from pipeline.rules.moves import arrange, no_slots
from pipeline.rules.traits import Traits
from tests.moving import T0, F, batch_of, brief, head, run

DEPOT = Fence("depot", "x#depot", shapely.box(10.0, 50.0, 10.1, 50.1))
YARD = Fence("yard", "x#yard", shapely.box(10.05, 50.0, 10.2, 50.1))
BEGIN = datetime.fromtimestamp(T0 / SECOND, UTC)
SPAN = Weekly(f"{BEGIN.hour:02}:{BEGIN.minute + 2:02}-{BEGIN.hour:02}:{BEGIN.minute + 4:02}")
"""From 100 to 220 seconds after T0, which is 20 seconds into its minute."""


def rule(on: On, *, hours: Hours | None = SPAN, dwell: float = 0, fence: Fence = DEPOT) -> Geofence:
    return Geofence([FenceRule(head(), on, [fence], round(dwell * SECOND), hours)])


def visit(*stays: tuple[float, bool]) -> list[F]:
    return [F("a", t, 50.02 if here else 49.0, 10.02, 4) for t, here in stays]


def said(geofence: Geofence, *stays: tuple[float, bool]) -> list[tuple[str, float, float]]:
    rows = visit(*stays)
    whole = [word[2:] for word in brief(run(geofence, rows))]
    assert whole == [word[2:] for word in brief(run(geofence, *([row] for row in rows), kind=State))]
    return whole


def test_the_hours_of_these_tests_are_as_they_say() -> None:
    assert BEGIN.second == 20
    assert BEGIN.minute + 4 < 60


@pytest.mark.parametrize("on", ["enter", "inside"])
def test_a_unit_inside_when_hours_begin_has_entered_at_its_next_fix(on: On) -> None:
    assert said(rule(on), (0, True), (90, True), (110, True), (150, True), (230, True), (240, False)) == [
        ("began", 110, 110),
        ("ended", 230, 110),
    ]
    assert said(rule(on), (0, True), (90, False), (110, False), (230, True)) == []
    assert said(rule(on), (0, False), (110, True), (150, False)) == [("began", 110, 110), ("ended", 150, 110)]


def test_hours_that_begin_and_end_between_two_fixes_are_not_seen() -> None:
    assert said(rule("enter"), (0, True), (300, True)) == []


def test_leaving_counts_within_hours_only_and_being_outside_at_any_time_of_them() -> None:
    path = ((0, True), (90, False), (110, False), (120, True), (130, False), (230, False))
    assert said(rule("exit"), *path) == [("began", 130, 130), ("ended", 230, 130)]
    assert said(rule("outside"), *path) == [
        ("began", 110, 110),
        ("ended", 120, 110),
        ("began", 130, 130),
        ("ended", 230, 130),
    ]


def test_outside_counts_from_the_first_fix_without_hours() -> None:
    path = ((0, False), (10, True), (20, False))
    assert said(rule("outside", hours=None), *path) == [("began", 0, 0), ("ended", 10, 0), ("began", 20, 20)]
    assert said(rule("exit", hours=None), *path) == [("began", 20, 20)]


def test_a_dwell_counts_from_the_first_fix_within_hours() -> None:
    path = ((0, True), (90, True), (110, True), (130, True), (145, True), (225, True))
    assert said(rule("dwell", dwell=30), *path) == [("began", 145, 110), ("ended", 225, 110)]


def test_the_hours_of_a_fence_and_of_its_rule_both_hold() -> None:
    evening = replace(DEPOT, traits=Traits(hours=Weekly("00:00-00:01")))
    assert said(rule("enter", fence=evening), (0, True), (110, True)) == []
    there = replace(DEPOT, traits=Traits(hours=SPAN))
    assert said(rule("enter", hours=None, fence=there), (0, True), (110, True)) == [("began", 110, 110)]


def test_reasons_say_what_happened() -> None:
    began, ended = run(rule("enter"), visit((0, True), (110, True), (230, True)))
    assert began.reason.startswith("unit a is inside depot at ")
    assert ended.reason.startswith("unit a is past the hours of depot after 120 s at ")


# ---------------------------------------------------------------- rules that change


def go_on(
    before: Geofence, after: Geofence, first: list[F], then: list[F]
) -> list[tuple[str, str, str, float, float]]:
    """What is said of `then` under other rules, with the state of those before, through a snapshot."""
    slots, state = no_slots(), before.initial()
    state, _said = before.step(state, arrange(slots, batch_of(first)))
    state = wire.unpack_state(wire.pack_state(state), State)
    _state, told = after.step(state, arrange(slots, batch_of(then)))
    return brief(told)


def two(**ons: On) -> Geofence:
    return Geofence([FenceRule(head(name=name), on, [DEPOT]) for name, on in ons.items()])


def test_a_new_rule_finds_units_inside_at_their_next_fix_and_the_old_go_on() -> None:
    inside, later = visit((0, True)), visit((10, True), (20, False))
    assert go_on(two(a="enter"), two(a="enter", b="enter"), inside, later) == [
        ("a", "depot", "began", 10, 10),
        ("a", "depot", "ended", 20, 0),
        ("a", "depot", "ended", 20, 10),
    ]
    assert go_on(two(a="enter"), two(a="enter", b="outside"), visit((0, False)), visit((10, False))) == [
        ("a", "depot", "began", 10, 10)
    ]


def test_what_a_rule_began_that_is_gone_is_forgotten_without_a_word() -> None:
    """`alarms.sweep` ends it, whether or not there is ever another fix."""
    before, after = two(a="enter", b="enter"), two(a="enter")
    assert go_on(before, after, visit((0, True)), visit((10, True), (20, False))) == [
        ("a", "depot", "ended", 20, 0)
    ]
    assert go_on(before, after, visit((0, True)), visit((10, True))) == []


def test_the_same_rules_again_say_nothing() -> None:
    rules = two(a="enter", b="exit", c="outside")
    assert go_on(rules, rules, visit((0, True), (5, False)), visit((10, False))) == []


# ---------------------------------------------------------------- the slow twin

flags = st.sampled_from(["enter", "exit", "inside", "outside"])
paths = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([9.9, 10.02, 10.07, 10.15])), max_size=40
)


def slowly(on: str, fence: Fence, rows: list[F]) -> list[tuple[str, str, str, float, float]]:
    """Fix by fix, from the definition alone."""
    was: dict[str, bool] = {}
    open_: dict[str, float] = {}
    newest: dict[str, float] = {}
    found = []
    for row in rows:
        if row.t <= newest.get(row.unit, -1):
            continue
        newest[row.unit] = row.t
        inside = bool(fence.shape.intersects(shapely.Point(row.lon, row.lat)))
        on_now = 100 <= row.t < 220
        if on == "exit":
            left = was.get(row.unit, False) and not inside
            wanted = on_now and not inside and (left or row.unit in open_)
        else:
            wanted = on_now and inside == (on != "outside")
        was[row.unit] = inside
        if wanted and row.unit not in open_:
            open_[row.unit] = row.t
            found.append((row.unit, fence.id, "began", row.t, row.t))
        if not wanted and row.unit in open_:
            found.append((row.unit, fence.id, "ended", row.t, open_.pop(row.unit)))
    return sorted(found, key=lambda w: (w[3], w))


@settings(max_examples=150, deadline=None)
@given(flags, paths, st.lists(st.integers(0, 40), max_size=3).map(sorted))
def test_a_slow_twin_agrees_and_cutting_changes_nothing(
    on: On, path: list[tuple[str, int, float]], cuts: list[int]
) -> None:
    rows = [F(unit, t * 10, 50.02, lon, 4) for unit, t, lon in path]
    rules = Geofence([FenceRule(head(scope=Scope()), on, [DEPOT, YARD], 0, SPAN)])
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    expected = sorted(slowly(on, DEPOT, rows) + slowly(on, YARD, rows), key=lambda w: (w[3], w))
    assert brief(run(rules, rows)) == expected
    assert brief(run(rules, *parts)) == brief(run(rules, *parts, kind=State)) == expected
