"""The fleet: which units are enrolled, and to which group each belongs.

A CSV file whose first line names at least `unit`, and may name `group` (hazmat, bus, fire-engine); other columns
are left alone. A unit that is not in it is not tracked at all.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports import UserError
from pipeline.wire import NAME


@dataclass(frozen=True, slots=True)
class Fleet:
    """Group by unit; the group is empty where the file names none."""

    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> frozenset[str]:
        return frozenset(self.groups)

    def group(self, unit: str) -> str:
        return self.groups.get(unit, "")


def load_fleet(path: Path) -> Fleet:
    """Raises UserError naming the file, the line and the fix."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no fleet file {path}: list the enrolled units there, one `unit,group` a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"fleet file {path} cannot be read: {error}") from None
    return Fleet(_rows(path, text))


def _rows(path: Path, text: str) -> dict[str, str]:
    reader = csv.DictReader(text.splitlines())
    if "unit" not in (reader.fieldnames or ()):
        raise UserError(f"{path}: line 1 must name the column `unit`, and may name `group`")
    groups: dict[str, str] = {}
    for row in reader:
        unit = (row["unit"] or "").strip()
        if not NAME.fullmatch(unit):
            raise UserError(
                f"{path}: line {reader.line_num}: {unit!r} is no unit name: 1 to 63 letters, digits or _.:-"
            )
        if unit in groups:
            raise UserError(f"{path}: line {reader.line_num}: unit {unit} is listed twice: remove one")
        groups[unit] = (row.get("group") or "").strip()
    return groups
