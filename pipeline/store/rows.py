"""Positions as rows of one structured array: sorted, made unique, kept as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.message import PositionBatch

Rows = NDArray[np.void]
"""A structured array of dtype ROW."""

ROW = np.dtype(
    [
        ("unit", "<u4"),
        ("at", "<i8"),
        ("lat", "<f8"),
        ("lon", "<f8"),
        ("speed", "<f4"),
        ("course", "<f4"),
        ("alt", "<f4"),
        ("accuracy", "<f4"),
        ("clock", "u1"),
        ("received", "<i8"),
    ]
)


def rows_of(batches: Sequence[PositionBatch]) -> tuple[list[str], Rows]:
    """Rows of all batches in order, `unit` being an index of the names given with them.

    Only names of units that have a row: a cleaned batch still names those whose rows were refused.
    """
    index: dict[str, int] = {}
    parts = [np.empty(0, ROW)]
    for batch in batches:
        rows = np.empty(len(batch), ROW)
        for name in ROW.names or ():
            rows[name] = getattr(batch, name)
        codes = np.zeros(len(batch.units), np.uint32)
        for unit in np.unique(batch.unit).tolist():
            codes[unit] = index.setdefault(batch.units[unit], len(index))
        rows["unit"] = codes[batch.unit]
        parts.append(rows)
    return list(index), np.concatenate(parts)


def in_order(rows: Rows) -> Rows:
    """Rows by (unit, at), of each the one that came last."""
    rows = rows[np.lexsort((rows["at"], rows["unit"]))]
    last = np.ones(len(rows), np.bool_)
    last[:-1] = (rows["unit"][1:] != rows["unit"][:-1]) | (rows["at"][1:] != rows["at"][:-1])
    return rows[last]


def last_of_unit(rows: Rows) -> Rows:
    """Of rows by (unit, at), the newest of each unit."""
    last = np.ones(len(rows), np.bool_)
    last[:-1] = rows["unit"][1:] != rows["unit"][:-1]
    return rows[last]
