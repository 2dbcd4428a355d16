"""Plain values as TOML text: what a model card needs, no more. Python reads TOML but does not write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DELETE = "\x7f"


def write_toml(tree: Mapping[str, Any]) -> str:
    """Keys with values first, then tables, then lists of tables; None and tables without keys are left out."""
    lines = _keys(tree)
    for name, value in tree.items():
        if _is_table(value):
            inner = _keys(value)
            lines += ["", f"[{_key(name)}]", *inner] if inner else []
        elif _is_tables(value):
            lines += [line for item in value for line in ("", f"[[{_key(name)}]]", *_keys(item))]
    return "\n".join(lines) + "\n"


def _keys(tree: Mapping[str, Any]) -> list[str]:
    plain = [(k, v) for k, v in tree.items() if not _is_table(v) and not _is_tables(v) and v is not None]
    return [f"{_key(k)} = {_value(v)}" for k, v in plain]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
    return name if bare else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """A basic string: JSON escapes all that TOML asks for but one control character."""
    return json.dumps(value, ensure_ascii=False).replace(DELETE, "\\u007f")
