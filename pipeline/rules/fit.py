"""Least squares of a few unknowns: Gauss and Newton's steps, halved while they make it worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.message import Floats

STEPS, HALVINGS = 40, 12


def fit(misses: Callable[[Floats], Floats], start: Floats, *, scale: float) -> Floats | None:
    """The unknowns that make the sum of squared `misses` least, from `start` on; None if it does not settle.

    `scale` is a small step of the unknowns, for slopes; one that is a thousandth of it counts as none.
    """
    at, off = start, misses(start)
    for _ in range(STEPS):
        slopes = np.column_stack(
            [(misses(at + step) - misses(at - step)) / (2 * scale) for step in scale * np.eye(len(start))]
        )
        step = -np.linalg.lstsq(slopes, off, rcond=None)[0]
        if np.abs(step).max() < scale / 1000:
            return at + step
        for _halved in range(HALVINGS):
            found = misses(at + step)
            if found @ found <= off @ off * (1 + 1e-12):
                break
            step = step / 2
        at, off = at + step, found
    return None
