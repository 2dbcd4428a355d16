"""The life of an alarm: every order of what rules say, and what people may do."""

import itertools
from typing import Any

import msgspec
import pytest

from pipeline.alarms import episode
from pipeline.alarms.episode import Step, act, fold
from pipeline.message import Alarm, Change, Signal
from pipeline.ports import UserError

T0 = 1_480_000_000_000_000
B, S, E = Change.BEGAN, Change.STILL, Change.ENDED


def said(change: Change, at: int = T0, **other: Any) -> Signal:
    known: dict[str, Any] = {"severity": "warning", "evidence": {}, **other}
    return Signal("smoke", "sighting", "v1", "cam-1", "", change, at, T0, f"{change.value} at {at - T0}", **known)


def life(*signals: Signal) -> tuple[Alarm, list[Step]]:
    alarm, steps = fold(None, signals[0])
    for signal in signals[1:]:
        alarm, more = fold(alarm, signal)
        steps += more
    return alarm, steps


def raised() -> Alarm:
    return life(said(B))[0]


def acknowledged() -> Alarm:
    return act(raised(), "acknowledge", by="olga", at=T0 + 3, note="")[0]


def resolved() -> Alarm:
    return act(acknowledged(), "resolve", by="piet", at=T0 + 5, note="")[0]


@pytest.mark.parametrize(
    ("signals", "state", "changes"),
    [
        ([B], "raised", ["raised"]),
        ([S], "expected", []),
        ([E], "expected", []),
        ([B, S], "raised", ["raised"]),
        ([B, B], "raised", ["raised"]),
        ([B, E], "cleared", ["raised", "cleared"]),
        ([E, B], "cleared", ["raised", "cleared"]),
        ([S, B], "raised", ["raised"]),
        ([S, E, B], "cleared", ["raised", "cleared"]),
        ([E, E, B], "cleared", ["raised", "cleared"]),
        ([B, E, E], "cleared", ["raised", "cleared"]),
        ([B, E, S], "cleared", ["raised", "cleared"]),
        ([B, E, B], "cleared", ["raised", "cleared"]),
    ],
)
def test_what_rules_say_leads_to(signals: list[Change], state: str, changes: list[str]) -> None:
    alarm, steps = life(*(said(change, T0 + i) for i, change in enumerate(signals)))
    assert alarm.state == state
    assert [step.change for step in steps] == changes


def test_the_order_of_arrival_makes_no_difference() -> None:
    signals = [
        said(B, T0, evidence={"frame": "a", "score": 0.5, "model": "m"}),
        said(S, T0 + 2, evidence={"frame": "b", "score": 0.9}, severity="critical"),
        said(S, T0 + 4, evidence={"frame": "c", "score": 0.9}),
        said(S, T0 + 6, evidence={"frame": "d", "score": 0.1}),
        said(E, T0 + 8),
    ]
    outcomes = {msgspec.json.encode(life(*order)[0], order="sorted") for order in itertools.permutations(signals)}
    assert len(outcomes) == 1
    alarm = msgspec.json.decode(outcomes.pop(), type=Alarm)
    assert (alarm.state, alarm.severity, alarm.raised_at, alarm.ended_at) == ("cleared", "critical", T0, T0 + 8)
    assert alarm.reason == "began at 0"
    assert [f["frame"] for f in alarm.evidence["frames"]] == ["a", "b", "d"]
    assert alarm.evidence["model"] == "m"


def test_every_order_is_told_as_raised_then_cleared() -> None:
    for order in itertools.permutations([said(B), said(S, T0 + 1), said(E, T0 + 2)]):
        assert [(s.change, s.at, s.reason) for s in life(*order)[1]] == [
            ("raised", T0, "began at 0"),
            ("cleared", T0 + 2, "ended at 2"),
        ]


def test_an_alarm_carries_rule_version_and_reason_of_its_beginning() -> None:
    alarm, (step,) = life(said(B, evidence={"score": 0.7}))
    assert (alarm.rule, alarm.kind, alarm.subject, alarm.reason) == ("smoke", "sighting", "cam-1", "began at 0")
    assert alarm.evidence == {"score": 0.7, "version": "v1"}
    assert (step.by, step.evidence) == ("rule smoke", {"score": 0.7})


def test_frames_are_at_most_three_however_long_it_lasts() -> None:
    stills = [said(S, T0 + i, evidence={"frame": f"{i:03}", "score": i % 50 / 100}) for i in range(1, 200)]
    alarm, steps = life(said(B, evidence={"frame": "000", "score": 0.2, "box": [1, 2, 3, 4]}), *stills)
    assert [(f["frame"], f.get("box")) for f in alarm.evidence["frames"]] == [
        ("000", [1, 2, 3, 4]),
        ("049", None),
        ("199", None),
    ]
    assert len(steps) == 1


def test_the_same_frame_is_kept_once() -> None:
    alarm, _ = life(said(B, evidence={"frame": "a", "score": 0.5}), said(S, evidence={"frame": "a", "score": 0.5}))
    assert len(alarm.evidence["frames"]) == 1


def test_getting_graver_is_told_and_getting_milder_is_not() -> None:
    alarm, steps = life(said(B), said(S, T0 + 1, severity="critical"), said(S, T0 + 2, severity="info"))
    assert [step.change for step in steps] == ["raised", "escalated"]
    assert alarm.severity == "critical"


def test_a_resolved_alarm_only_learns_its_end() -> None:
    alarm, steps = fold(resolved(), said(E, T0 + 9, severity="critical"))
    assert (alarm.state, alarm.ended_at, steps) == ("resolved", T0 + 9, [])
    assert fold(resolved(), said(B))[1] == []


def test_an_acknowledged_alarm_clears_and_stays_acknowledged() -> None:
    alarm, (step,) = fold(acknowledged(), said(E, T0 + 9))
    assert (alarm.state, alarm.acknowledged_by, step.change) == ("cleared", "olga", "cleared")


def test_acknowledging_what_has_cleared_leaves_it_cleared() -> None:
    cleared = life(said(B), said(E, T0 + 1))[0]
    alarm, step = act(cleared, "acknowledge", by="olga", at=T0 + 7, note="seen")
    assert (alarm.state, alarm.acknowledged_by) == ("cleared", "olga")
    assert step == Step("acknowledged", T0 + 7, "olga", "seen")
    assert act(alarm, "resolve", by="piet", at=T0 + 8, note="")[0].state == "resolved"


@pytest.mark.parametrize(("alarm", "action"), [(acknowledged(), "acknowledge"), (resolved(), "resolve")])
def test_doing_it_again_does_nothing(alarm: Alarm, action: str) -> None:
    assert act(alarm, action, by="anna", at=T0 + 9, note="again") == (alarm, None)


def test_nothing_unseen_is_put_away() -> None:
    for alarm in (raised(), life(said(B), said(E, T0 + 1))[0]):
        with pytest.raises(UserError, match="acknowledge it first"):
            act(alarm, "resolve", by="olga", at=T0, note="")


def test_an_unknown_action_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"'delete'.*acknowledged or resolved"):
        act(raised(), "delete", by="olga", at=T0, note="")


def test_the_table_in_the_docstring_names_every_state() -> None:
    for state in (*episode.STATES, episode.EXPECTED):
        assert f"\n    {state} " in (episode.__doc__ or "")
