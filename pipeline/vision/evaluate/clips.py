"""Verdicts on clips: was what burns found, how soon, and did anything else raise an alarm?

Times are seconds of event time since the clip's beginning. By class:

    found          an alarm was raised when it was to be seen, or later; its delay is the time to detect
    missed         it was to be seen, and no alarm was raised from then on
    false alarm    an alarm where nothing burns: in a calm clip, or before anything is to be seen
    beside         something burns, but not of this class: neither right nor wrong (a fire may smoke)
    quiet          nothing of it to be seen, no alarm

Alarms about anything else (a camera that is blind) are listed with the clip and judged by nobody here.

Camera-hours are those in which nothing is to be seen: calm clips, and the others up to the first sight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.vision.evaluate.interval import Estimate, estimates, rate_interval, share_interval
from pipeline.vision.evaluate.marks import Mark

FOUND, MISSED, FALSE, BESIDE, QUIET = "found", "missed", "false alarm", "beside", "quiet"
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm: when it was raised, of which class (or cause), by which rule, and why."""

    at_s: float
    label: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What the rules said over a clip. `pace`: seconds of event time a second of the clip; `length_s`: event time.

    `took` are milliseconds of the detector, one for each frame scored.
    """

    clip: str
    labels: tuple[str, ...]
    alarms: tuple[Raised, ...]
    length_s: float
    pace: float
    took: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """By class. `false` are the false alarms, `calm_s` the time in which any would have been one."""

    clip: str
    verdicts: dict[str, str]
    seconds_to_detect: dict[str, float] = field(default_factory=dict)
    false: tuple[Raised, ...] = ()
    calm_s: float = 0.0


def judge(watched: Watched, mark: Mark) -> Verdict:
    visible = {label: seconds * watched.pace for label, seconds in mark.visible.items()}
    calm = min([watched.length_s, *visible.values()])
    first = {label: _first(watched, label, seconds) for label, seconds in visible.items()}
    false = tuple(a for a in watched.alarms if a.label in watched.labels and (not visible or a.at_s < calm))
    verdicts = {label: FOUND if at is not None else MISSED for label, at in first.items()}
    for label in (name for name in watched.labels if name not in verdicts):
        said = [alarm for alarm in watched.alarms if alarm.label == label]
        verdicts[label] = FALSE if any(a in false for a in said) else BESIDE if said else QUIET
    delays = {label: round(at - visible[label], 2) for label, at in first.items() if at is not None}
    return Verdict(watched.clip, verdicts, delays, false, calm)


def _first(watched: Watched, label: str, visible: float) -> float | None:
    """When the first alarm of a class was raised that can be about what is to be seen."""
    return min((a.at_s for a in watched.alarms if a.label == label and a.at_s >= visible), default=None)


# ---------------------------------------------------------------- all clips together


def summary(
    verdicts: Sequence[Verdict], labels: Sequence[str], *, resamples: int, seed: int = 0
) -> dict[str, Estimate]:
    """found_CLASS: share of clips that show it (exact binomial); seconds_to_detect_CLASS: median over those found
    (bootstrap over clips); false_alarms_per_hour (exact Poisson), left out without calm time."""
    found: dict[str, Estimate] = {}
    for label in labels:
        hits = [v for v in verdicts if v.verdicts.get(label) == FOUND]
        of = len(hits) + sum(v.verdicts.get(label) == MISSED for v in verdicts)
        if of:
            found[f"found_{label}"] = Estimate(len(hits) / of, share_interval(len(hits), of))
        delays = np.array([v.seconds_to_detect[label] for v in hits], np.float64)
        if len(delays):
            found[f"seconds_to_detect_{label}"] = _median(delays, resamples, seed)
    return found | _false_rate(verdicts)


def _false_rate(verdicts: Sequence[Verdict]) -> dict[str, Estimate]:
    hours = math.fsum(v.calm_s for v in verdicts) / HOUR
    events = sum(len(v.false) for v in verdicts)
    rows = {"false_alarms": Estimate(events, None), "calm_hours": Estimate(round(hours, 6), None)}
    if hours > 0:
        rows["false_alarms_per_hour"] = Estimate(events / hours, rate_interval(events, hours))
    return rows


def _median(values: Any, resamples: int, seed: int) -> Estimate:
    """No interval for a single clip: drawn anew it is always the same."""
    order = np.sort(values)

    def statistic(weights: Any) -> Any:
        half = weights.sum(1, keepdims=True) / 2
        passed = np.cumsum(weights, axis=1)
        return (order[np.argmax(passed >= half, axis=1)] + order[np.argmax(passed > half, axis=1)]) / 2

    return estimates({"median": statistic}, len(order), resamples=resamples if len(order) > 1 else 0, seed=seed)[
        "median"
    ]
