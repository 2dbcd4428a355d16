"""All figures of a set of judged pictures, by name; those that cannot be measured on them are left out.

recall, false_pictures, f1            at the card's thresholds
f1_best, f1_best_threshold            at the one threshold that is best on these very pictures
recall_at_5_percent_false             at the threshold that lets 5 % of the calm pictures through
ap20_CLASS, ap50_CLASS[_SIZE]         average precision of boxes that overlap by 0.2 or 0.5, of all sizes or of one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipeline.vision.evaluate import pictures as picture_level
from pipeline.vision.evaluate.boxes import ranked
from pipeline.vision.evaluate.interval import RESAMPLES, Estimate, Statistic, estimates, share_interval
from pipeline.vision.evaluate.judged import SIZES, Judged, burning, known

OVERLAPS = (0.2, 0.5)
FEW_FALSE = 0.05
DIGITS = 4


def measured(
    pictures: Sequence[Judged],
    labels: Sequence[str],
    thresholds: dict[str, float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every figure with its interval. The threshold of `f1_best` has none: it is read off, not estimated."""
    told = [p for p, sure in zip(pictures, known(pictures), strict=True) if sure]
    found = _estimated(told, _picture_level(told, thresholds), resamples, seed)
    if "f1_best" in found:
        _value, threshold = picture_level.best_f1(burning(told), picture_level.best_scores(told))
        found["f1_best_threshold"] = Estimate(round(threshold, DIGITS), None)
    for name, among in (("recall", burning(told)), ("false_pictures", ~burning(told))):
        if name in found:
            found[name] = _told_of_all_or_none(found[name], int(among.sum()))
    return found | _estimated(pictures, _box_level(pictures, labels), resamples, seed)


def _estimated(
    pictures: Sequence[Judged], statistics: Iterator[tuple[str, Statistic]], resamples: int, seed: int
) -> dict[str, Estimate]:
    if not pictures:
        return {}
    found = estimates(dict(statistics), len(pictures), resamples=resamples, seed=seed)
    return {name: _rounded(estimate) for name, estimate in found.items()}


def _told_of_all_or_none(share: Estimate, of: int) -> Estimate:
    """A share of 0 or 1 is the same in every sample, and yet not sure: then the exact interval."""
    return (
        _rounded(Estimate(share.value, share_interval(round(share.value * of), of)))
        if share.value in (0, 1)
        else share
    )


def _rounded(estimate: Estimate) -> Estimate:
    span = estimate.interval
    return Estimate(
        round(estimate.value, DIGITS), (round(span[0], DIGITS), round(span[1], DIGITS)) if span else None
    )


def _picture_level(pictures: Sequence[Judged], thresholds: dict[str, float]) -> Iterator[tuple[str, Statistic]]:
    truth, scores = burning(pictures), picture_level.best_scores(pictures)
    said = picture_level.alarmed(pictures, thresholds)
    yield "recall", picture_level.share_of(said, truth)
    yield "false_pictures", picture_level.share_of(said, ~truth)
    if truth.any() and not truth.all():
        yield "f1", picture_level.f1_of(truth, said)
        yield "f1_best", picture_level.best_f1_of(truth, scores)
        yield "recall_at_5_percent_false", picture_level.recall_at_false_of(truth, scores, FEW_FALSE)


def _box_level(pictures: Sequence[Judged], labels: Sequence[str]) -> Iterator[tuple[str, Statistic]]:
    for label in labels:
        for iou in OVERLAPS:
            ranks, name = ranked(pictures, label, iou=iou), f"ap{round(iou * 100)}_{label}"
            yield name, ranks.precision()
            for size in SIZES:
                yield f"{name}_{size}", ranks.precision(size)


def milliseconds(took: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile of times a frame; nothing without any."""
    if not took:
        return {}
    middle, late = np.percentile(took, (50, 95), method="inverted_cdf")
    return {"median_ms": round(float(middle), 1), "p95_ms": round(float(late), 1)}


Done = Callable[[int], object]
"""Told how many pictures or frames were just done."""


def idle(_count: int) -> None:
    """Nobody watches."""
