"""Two units together or apart: the order of arrival changes nothing within the bound, and a slow twin agrees."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.message import SECOND, Signal
from pipeline.ports import UserError
from pipeline.rules.company import Bond, Company, Spec, State, pairs_of
from pipeline.rules.ellipsoid import metres
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import Scope
from pipeline.rules.hold import Hold
from pipeline.telemetry.meeting import CompanyStage, Meeting, only
from tests.moving import F, batch_of, brief, head, run

METRE = 1 / 111_230
"""Degrees of latitude at 50°, roughly."""


def rule(limit: float = 100, together: bool = True, lasting: float = 20, wait: float = 30) -> Company:
    bond = Bond(limit, together, 30 * SECOND, round(wait * SECOND))
    return Company(head("company"), [("a", "b")], bond, Hold(round(lasting * SECOND), 30 * SECOND, 10.0))


def at(unit: str, t: float, north: float) -> F:
    return F(unit, t, 50 + north * METRE, 10)


def pair(*north: float, step: float = 10) -> list[F]:
    """`a` stands at 0, `b` so many metres north of it, each at the same times."""
    return [fix for i, n in enumerate(north) for fix in (at("a", i * step, 0), at("b", i * step, n))]


def test_too_far_from_each_other() -> None:
    rows = pair(50, 150, 150, 200, 95, 80)
    found = run(rule(), rows)
    assert brief(found) == [("a", "b", "began", 30, 10), ("a", "b", "ended", 50, 10)]
    assert found == run(rule(), *[[row] for row in rows], kind=State)
    assert found[0].evidence["distance_m"] == pytest.approx(200, abs=1)
    assert found[0].reason == ("unit a and unit b have been further than 100 m from each other for 20 s, now 200 m")


def test_too_near_to_each_other() -> None:
    found = run(rule(together=False), pair(150, 50, 40, 60, 105, 120))
    assert [w[2:] for w in brief(found)] == [("began", 30, 10), ("ended", 50, 10)]


def test_an_old_fix_of_the_other_says_nothing() -> None:
    rows = [at("b", 0, 0), *[at("a", t, 500) for t in range(40, 120, 10)]]
    assert run(rule(), rows) == []


def test_one_that_is_far_behind_is_passed_over_and_counted() -> None:
    company = rule(wait=30)
    stage = CompanyStage(Meeting([(company, State)]))
    state = stage.initial()
    ahead = [at("a", t, 0) for t in range(0, 200, 10)]
    behind = [at("b", t, 500) for t in range(0, 160, 10)]
    state, told = stage.handle(
        state, [wire.encode_positions(batch_of(ahead)), wire.encode_positions(batch_of(behind))]
    )
    assert (state.rules[0].late, told) == (16, [])
    assert stage.restore(stage.dump(state)).rules[0].late == state.rules[0].late


times = st.integers(0, 12)
norths = st.sampled_from([0.0, 50.0, 95.0, 150.0, 400.0])
walks = st.dictionaries(times, norths, max_size=12)


def fixes(unit: str, walk: dict[int, float]) -> list[F]:
    return [at(unit, 10 * t, north) for t, north in sorted(walk.items())]


@settings(max_examples=150, deadline=None)
@given(walks, walks, st.lists(st.integers(0, 24), max_size=5).map(sorted), st.randoms(use_true_random=False))
def test_any_order_of_arrival_and_any_cut(
    a: dict[int, float], b: dict[int, float], cuts: list[int], chance: random.Random
) -> None:
    """All lies within the wait, so what is judged is the same; and it is what a slow twin says."""
    whole = sorted(fixes("a", a) + fixes("b", b), key=lambda f: (f.t, f.unit))
    turns = [fix.unit for fix in whole]
    chance.shuffle(turns)
    ways = {"a": iter(fixes("a", a)), "b": iter(fixes("b", b))}
    mixed = [next(ways[unit]) for unit in turns]
    closing = [at("a", 1000, 0), at("b", 1000, 0)]
    parts = [mixed[i:j] for i, j in zip([0, *cuts], [*cuts, len(mixed)], strict=True)]
    found = run(rule(wait=130), [*whole, *closing])
    assert found == run(rule(wait=130), *parts, closing, kind=State)
    assert [w[2:] for w in brief(found)] == slowly(whole, closing)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.builds(at, st.sampled_from("ab"), st.integers(0, 200), norths), max_size=40), st.data())
def test_cuts_change_nothing_even_where_fixes_are_late(rows: list[F], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    parts = [rows[i:j] for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    assert run(rule(), rows) == run(rule(), *parts, kind=State)


def slowly(rows: list[F], closing: list[F]) -> list[tuple[str, float, float]]:
    found: list[tuple[str, float, float]] = []
    rows = [*rows, *closing]
    since, last, began = None, 0.0, False
    for t in sorted({row.t for row in rows}):
        known = {}
        for unit in "ab":
            earlier = [row for row in rows if row.unit == unit and row.t <= t]
            if earlier and t - earlier[-1].t <= 30:
                known[unit] = earlier[-1]
        if len(known) < 2:
            continue
        one, other = known["a"], known["b"]
        apart = float(metres(one.lat, one.lon, other.lat, other.lon))  # type: ignore[arg-type]
        if apart > 100:
            if since is None or (not began and t - last > 30):
                since = t
            last = t
            if not began and t - since >= 20:
                began = True
                found.append(("began", t, since))
        elif since is not None and not began:
            since = None
        elif since is not None and apart <= 90:
            found.append(("ended", t, since))
            since, began = None, False
    return found


def test_pairs_are_those_named_or_all_of_a_group() -> None:
    fleet = Fleet({"a": "hazmat", "b": "hazmat", "c": "bus", "d": "hazmat"})

    def spec(**keys: object) -> Spec:
        return Spec(name="r", kind="company", apart_m=50, **keys)  # type: ignore[arg-type]

    group = head(scope=Scope([], ["hazmat"], fleet))
    assert pairs_of(spec(groups=["hazmat"]), group, fleet) == {("a", "b"), ("a", "d"), ("b", "d")}
    assert pairs_of(spec(pairs=(("b", "a"), ("a", "x"))), head(), fleet) == {("a", "b")}
    crowd = Fleet({f"u{i}": "" for i in range(100)})
    with pytest.raises(UserError, match="4950 pairs, at most 2000"):
        pairs_of(spec(units=["*"]), head(scope=Scope(["*"], [], crowd)), crowd)


def test_units_of_several_partitions_meet() -> None:
    """What two partitions hand on, one after the other and one of them twice, is judged together."""
    meeting = Meeting([(rule(), State)])
    rows = pair(150, 150, 150, 150)
    by_partition = [[r for r in rows if r.unit == unit] + [at("other", 0, 0)] for unit in "ab"]
    handed = [meeting.concerned(batch_of(part)) for part in by_partition]
    values = [wire.encode_positions(batch) for batch in [*handed, handed[0]] if batch is not None]
    stage = CompanyStage(meeting)
    _state, told = stage.handle(stage.initial(), [*values, b"rubbish"])
    signals = [item for item in told if isinstance(item, Signal)]
    assert [s.change for s in signals] == ["began"]
    assert [wire.unpack_refusal(r.value).reason for r in stage.records(told)[1:]] == ["unreadable_record"]  # type: ignore[index]
    assert only(batch_of([at("other", 0, 0)]), {"a"}) is None
