"""What a bench comes to, as a table for people and as JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.ports import VedetteError


class NotMeasured(VedetteError):
    """A bench could not come to a figure; the text says why."""


class Figure(msgspec.Struct, frozen=True):
    """One measured value beside what it is to be compared with; `against` says in words what that is."""

    name: str
    value: float
    unit: str
    reference: float
    against: str

    @property
    def ratio(self) -> float:
        """Value by reference; for times (`against` says so) lower is better."""
        return self.value / self.reference


def rounded(value: float) -> float:
    """Four significant digits: more would claim a precision that no bench has."""
    return float(f"{value:.4g}")


def json_line(figure: Figure) -> str:
    row: dict[str, Any] = {
        "name": figure.name,
        "value": rounded(figure.value),
        "unit": figure.unit,
        "reference": rounded(figure.reference),
        "ratio": rounded(figure.ratio),
        "against": figure.against,
    }
    return json.dumps(row)


HEADER = f"{'figure':<26} {'value':>10} {'unit':<12} {'reference':>10} {'ratio':>7}  against"


def table_line(figure: Figure) -> str:
    value, reference = spelled(figure.value), spelled(figure.reference)
    return f"{figure.name:<26} {value:>10} {figure.unit:<12} {reference:>10} {figure.ratio:>7.3g}  {figure.against}"


def spelled(value: float) -> str:
    """`412,000`, `43.1`, `0.853`: four significant digits without an exponent."""
    value = rounded(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def percentile(values: Sequence[float] | NDArray[Any], part: float) -> float:
    """The smallest value that `part` (0..1) of the values do not exceed. NotMeasured for no values."""
    if not len(values):
        raise NotMeasured("nothing arrived to be timed")
    return float(np.percentile(values, 100 * part, method="inverted_cdf"))


def median(values: Iterable[float]) -> float:
    return percentile(list(values), 0.5)
