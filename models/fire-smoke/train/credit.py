"""What `sources.csv` says about the pictures: where they came from, under which licence, and whom to credit."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from data import FAR, VALIDATION, use_of

TIERS = ("A", "A*")


def trained_on(data: Path, everything: bool) -> list[str]:
    """Names of the training pictures, by the split and the tiers."""
    with (data / "sources.csv").open(encoding="utf-8", newline="") as table:
        names = [Path(row["file"]).stem for row in csv.DictReader(table) if row["tier"] in TIERS]
    return [n for n in names if use_of(n) == "training" and (everything or n.split("_")[0] != FAR)]


def sources(folder: Path, trained: set[str]) -> list[dict[str, Any]]:
    """Rows of data: what each source gave, under which licence, and whom to credit."""
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    with (folder / "sources.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            rows[row["file"].split("_")[0], row["licence"], row["tier"]].append(row)
    return [
        {
            "source": source,
            "pictures": len(found),
            "use": _use(source, trained),
            "licence": licence,
            "tier": tier,
            "credit": sorted({r["attribution"] for r in found}),
        }
        for (source, licence, tier), found in sorted(rows.items())
    ]


def _use(source: str, trained: set[str]) -> str:
    if source in trained:
        return "training, five views for testing" if source == FAR else "training"
    return "validation" if source in VALIDATION else "test"
