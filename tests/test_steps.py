"""`vedette alarms explain`, step by step: the rule run again over what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.api.seen import frame_steps
from pipeline.api.steps import AROUND, StepsOut, unit_steps
from pipeline.message import SECOND, Alarm, PositionBatch, ScoredFrame
from pipeline.replay import changes, replay_batch, replay_frames
from pipeline.rules.config import RuleSet
from pipeline.wire import rfc3339
from tests.moving import T0, F, batch_of
from tests.test_replay import write_rules

SCORES = {"fire": 0.4, "smoke": 0.3}


@pytest.fixture
def rules(tmp_path: Path) -> RuleSet:
    return write_rules(tmp_path)


def drive() -> PositionBatch:
    """Through the depot from west to east at 35 m/s, a fix every 20 s; then nothing for 20 minutes, and one."""
    rows = [F("a", i * 20, 50.05, 9.8 + i * 0.02, 35) for i in range(20)]
    return batch_of([*rows, F("a", 1600, 50.05, 11.0, 5)])


def alarm_of(rules: RuleSet, rule: str, fixes: PositionBatch) -> Alarm:
    alarms: dict[str, Alarm] = {}
    list(changes(replay_batch(fixes, rules), alarms=alarms))
    return next(alarm for alarm in alarms.values() if alarm.rule == rule)


def explained(rules: RuleSet, rule: str) -> StepsOut:
    found = unit_steps(alarm_of(rules, rule, drive()), rules, None, drive())
    assert found is not None
    return found


def test_each_fix_says_how_far_from_the_edge_it_is(rules: RuleSet) -> None:
    """A hundredth of a degree of longitude is 717 m at 50.05° north."""
    found = explained(rules, "keep-out")
    assert (found.same, found.doubt, found.looked_at) == (True, "", 21)
    (raised,) = [step for step in found.steps if step.turn == "this alarm raised"]
    (ended,) = [step for step in found.steps if step.turn == "this alarm ended"]
    assert (raised.at, raised.before, raised.after) == (rfc3339(T0 + 200 * SECOND), "nothing", "stands")
    assert "inside depot by 0 m" in raised.saw
    assert (ended.before, ended.after) == ("stands", "nothing")
    before = found.steps[found.steps.index(raised) - 1]
    assert "outside depot by 1.4 km" in before.saw
    assert "35 m/s, 20 s after the fix before" in before.saw


def test_only_steps_near_a_turn_are_shown_and_the_others_counted(rules: RuleSet) -> None:
    found = explained(rules, "fast")
    (raised,) = [i for i, step in enumerate(found.steps) if step.turn == "this alarm raised"]
    assert raised == 1  # the second fix above the limit, 20 s after the first
    assert found.steps[0].after == f"above since {rfc3339(T0)}"
    assert "above the limit of 30 m/s" in found.steps[raised].saw
    assert sum(step.skipped + 1 for step in found.steps) == 21
    assert max(step.skipped for step in found.steps) == 21 - len(found.steps) > AROUND


def test_silence_is_a_step_of_its_own(rules: RuleSet) -> None:
    (raised,) = [step for step in explained(rules, "quiet").steps if step.turn == "this alarm raised"]
    assert (raised.saw, raised.at) == ("no fix for 600 s", rfc3339(T0 + 980 * SECOND))


def test_a_rule_that_was_changed_since_is_a_doubt(rules: RuleSet) -> None:
    alarm = alarm_of(rules, "keep-out", drive())
    other = replace(rules, versions={**rules.versions, "keep-out": "another"})
    found = unit_steps(alarm, other, None, drive())
    assert found is not None
    assert "the rule was changed since" in found.doubt
    assert unit_steps(msgspec.structs.replace(alarm, rule="no such"), rules, None, drive()) is None


def test_missing_history_is_a_doubt(rules: RuleSet) -> None:
    """From the middle of the depot on, another alarm is raised: the unit is first seen inside."""
    late = drive().select(np.arange(12, 21))
    found = unit_steps(alarm_of(rules, "keep-out", drive()), rules, None, late)
    assert found is not None
    assert (found.same, "history is missing" in found.doubt) == (False, True)
    assert any(step.turn.startswith("alarm ") for step in found.steps)


# ---------------------------------------------------------------- frames


def film() -> list[ScoredFrame]:
    """Faint at first, then strong for 4 s, then nothing: two frames a second."""
    scores = [0.2, 0.3, 0.3, *[0.6] * 8, *[0.0] * 10]
    box = (10.0, 10.0, 30.0, 30.0)
    times = [T0 + i * SECOND // 2 for i in range(len(scores))]
    return [
        ScoredFrame("tower", at, at, 100, 100, "tiny@1", [("fire", score, box)] if score else [])
        for at, score in zip(times, scores, strict=True)
    ]


def test_a_sighting_says_what_it_lacked_until_it_opened(rules: RuleSet) -> None:
    alarms: dict[str, Alarm] = {}
    list(changes(replay_frames(film(), rules, SCORES), alarms=alarms))
    (alarm,) = alarms.values()
    found = frame_steps(alarm, rules, film(), thresholds=SCORES)
    assert found is not None
    assert (found.same, found.doubt) == (True, "")
    (raised,) = [step for step in found.steps if step.turn == "this alarm raised"]
    assert raised.after == "stands"
    assert "lacks: lasted" in raised.before
    assert "fire 0.60 (a hit: 0.40 to open, 0.24 to hold) in box 10, 10, 30, 30 of 100 x 100" in raised.saw
    faint = [step for step in found.steps if "(holds" in step.saw]
    assert faint
    assert all("best score 0.30, 0.40 needed" in step.after for step in faint)
    (ended,) = [step for step in found.steps if step.turn == "this alarm ended"]
    assert (ended.saw, ended.before) == ("no fire", "stands, not in this frame")


def test_frames_that_are_missing_are_a_doubt(rules: RuleSet) -> None:
    alarms: dict[str, Alarm] = {}
    list(changes(replay_frames(film(), rules, SCORES), alarms=alarms))
    (alarm,) = alarms.values()
    found = frame_steps(alarm, rules, film()[:4], thresholds=SCORES)
    assert found is not None
    assert not found.same
    assert "not stored" in found.doubt
