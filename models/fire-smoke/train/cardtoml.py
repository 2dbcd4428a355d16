"""model.toml from plain data."""

from __future__ import annotations

import json
from typing import Any

IN_LINE = 4
"""Keys of a table that still go into one line."""


def toml(card: dict[str, Any]) -> str:
    """TOML of plain data: strings and lists are written as in JSON, which TOML reads the same."""
    plain = [f"{k} = {_value(v)}" for k, v in card.items() if not _is_table(v)]
    tables = [f"\n[{k}]\n{_rows(v)}" for k, v in card.items() if isinstance(v, dict)]
    arrays = [
        f"\n[[{k}]]\n{_rows(row, k)}" for k, v in card.items() if _is_table(v) and isinstance(v, list) for row in v
    ]
    return "\n".join([*plain, *tables, *arrays]) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _rows(table: dict[str, Any], name: str = "") -> str:
    """A table within the table is written in the line, or below with its own head if it is long."""
    below = {k: v for k, v in table.items() if isinstance(v, dict) and len(v) > IN_LINE}
    rows = [f"{k} = {_inline(v) if isinstance(v, dict) else _value(v)}" for k, v in table.items() if k not in below]
    return "\n".join([*rows, *(f"\n[{name}.{k}]\n{_rows(v)}" for k, v in below.items())])


def _inline(table: dict[str, Any]) -> str:
    if not table:
        return "{}"
    return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in table.items()) + " }"


def _value(value: Any) -> str:
    if isinstance(value, list) and len(json.dumps(value)) > 90:
        return "[\n" + "".join(f"    {json.dumps(v, ensure_ascii=False)},\n" for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)
