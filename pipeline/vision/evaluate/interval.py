"""How sure a figure is: 95 % intervals.

of a figure over pictures   bootstrap: pictures are drawn anew, with replacement, RESAMPLES times; the middle 95 %
of a share (k of n)         exact binomial (Clopper and Pearson 1934)
of a rate (k in a time)     exact Poisson (Garwood 1936)

Pictures of one camera or video are alike, and are drawn one by one all the same: then the truth is less sure than
the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
"""[r, n]: how often each of n pictures is in each of r samples."""
Statistic = Callable[[Weights], Floats]
"""[r, n] weights to [r] values; NaN where a sample does not tell."""

RESAMPLES = 1000
SHARE = 0.95
TAIL = (1 - SHARE) / 2
ROWS = 50
"""Samples worked on at a time: bounds memory."""
STEPS = 60
"""Halvings of a bisection: more than a float has digits."""


class Estimate(NamedTuple):
    """A figure and its interval; no interval where none can be told."""

    value: float
    interval: tuple[float, float] | None


def estimates(
    statistics: Mapping[str, Statistic], pictures: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Each statistic over the pictures as they are, and the interval of its bootstrap. NaN figures are left out."""
    once = np.ones((1, pictures), np.float32)
    values = {name: float(statistic(once)[0]) for name, statistic in statistics.items()}
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    drawn: dict[str, list[Floats]] = {name: [] for name in values}
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, ROWS):
        rows = min(ROWS, resamples - start)
        weights = rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=rows).astype(np.float32)
        for name, found in drawn.items():
            found.append(statistics[name](weights))
    return {name: Estimate(value, _middle(drawn[name])) for name, value in values.items()}


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """[r]; NaN where `whole` is 0."""
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _middle(drawn: list[Floats]) -> tuple[float, float] | None:
    values = np.concatenate([np.zeros(0), *drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    return float(low), float(high)


def share_interval(found: int, of: int) -> tuple[float, float]:
    """Of the share behind `found` of `of` independent trials."""
    low = _bisect(lambda p: 1 - _binomial_cdf(found - 1, of, p) < TAIL, 1.0) if found else 0.0
    high = _bisect(lambda p: _binomial_cdf(found, of, p) > TAIL, 1.0) if found < of else 1.0
    return low, high


def rate_interval(events: int, exposure: float) -> tuple[float, float]:
    """Of the rate behind `events` in `exposure`, in events by its unit."""
    most = 10.0 * (events + 5)
    low = _bisect(lambda mean: 1 - _poisson_cdf(events - 1, mean) < TAIL, most) if events else 0.0
    return low / exposure, _bisect(lambda mean: _poisson_cdf(events, mean) > TAIL, most) / exposure


def _bisect(below: Callable[[float], bool], most: float) -> float:
    """Where `below` turns from true to false, between 0 and `most`."""
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def _binomial_cdf(k: int, n: int, p: float) -> float:
    if p in (0.0, 1.0):
        return 1.0 if p == 0 or k >= n else 0.0
    whole = math.lgamma(n + 1)  # logarithms: a binomial coefficient of 1,100 is no float any more
    logs = (
        whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )
    return math.fsum(math.exp(log) for log in logs)


def _poisson_cdf(k: int, mean: float) -> float:
    logs = (i * math.log(mean) - mean - math.lgamma(i + 1) for i in range(k + 1)) if mean else iter((0.0,))
    return math.fsum(math.exp(log) for log in logs)
