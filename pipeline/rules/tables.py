"""Reading rules.toml: every mistake with its line, rule, key, reason and fix."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.ports import UserError
from pipeline.rules.kinds import KINDS
from pipeline.rules.spec import Common


class Finding(msgspec.Struct, frozen=True):
    """One mistake, or with level `warning` a doubt that stops nothing. `line` is 0 where none can be named."""

    file: str
    line: int
    rule: str
    key: str
    reason: str
    fix: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [place, self.rule and f"rule {self.rule}", self.key, self.reason, self.fix]
        return ": ".join(part for part in parts if part)


class RulesError(UserError):
    """A rules file with mistakes; the text is the first of them."""

    def __init__(self, findings: list[Finding]) -> None:
        more = f" (and {len(findings) - 1} more: vedette check)" if len(findings) > 1 else ""
        super().__init__(f"{findings[0]}{more}")
        self.findings = findings


class Table(msgspec.Struct, frozen=True):
    """One `[[rule]]` as a spec, and where it stands."""

    spec: Common
    file: str
    lines: dict[str, int]

    def finding(self, key: str, reason: str, fix: str) -> Finding:
        return Finding(self.file, _line(self.lines, key), self.spec.name, key, reason, fix)


def read_tables(path: Path) -> tuple[list[Table], list[Finding]]:
    """The tables that are well formed, and what is wrong with the file and the others."""
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text)
    except FileNotFoundError:
        return [], [Finding(str(path), 0, "", "", "there is no rules file", "name one with --rules")]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        line = re.search(r"line (\d+)", str(error))
        return [], [Finding(str(path), int(line[1]) if line else 0, "", "", f"is not TOML: {error}", "mend it")]
    rows = tree.pop("rule", [])
    findings = [_unknown_top(path, text, key) for key in tree]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [], [*findings, Finding(str(path), 0, "", "rule", "is not a list", "begin each rule with [[rule]]")]
    tables: list[Table] = []
    for row, lines in zip(rows, _places(text, len(rows)), strict=True):
        outcome = _table(row, str(path), lines, {table.spec.name for table in tables})
        (tables if isinstance(outcome, Table) else findings).append(outcome)  # type: ignore[arg-type]
    return tables, findings


def near(name: str, known: Collection[str]) -> str:
    """`did you mean "depot"?`, or what there is."""
    close = difflib.get_close_matches(name, known, 1)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(sorted(known))}"


# ---------------------------------------------------------------- one table


def _table(row: dict[str, Any], file: str, lines: dict[str, int], taken: set[str]) -> Table | Finding:
    rule, kind = str(row.get("name", "")), row.get("kind")

    def wrong(key: str, reason: str, fix: str) -> Finding:
        return Finding(file, _line(lines, key), rule, key, reason, fix)

    spec_type = KINDS.get(kind) if isinstance(kind, str) else None
    if spec_type is None:
        said = f"{kind!r} is no kind of rule" if kind is not None else "is missing"
        return wrong("kind", said, near(str(kind), KINDS))
    for key in row.keys() - set(spec_type.__struct_fields__):
        return wrong(key, f"no such key in a {kind} rule", near(key, spec_type.__struct_fields__))
    try:
        spec = msgspec.convert(row, spec_type)
    except msgspec.ValidationError as error:
        return wrong(*_explain(str(error), row))
    trouble = spec.trouble()
    if trouble:
        return wrong(*trouble)
    if spec.name in taken:
        return wrong("name", "is used by an earlier rule", "give each rule its own name")
    return Table(spec, file, lines)


def _explain(error: str, row: dict[str, Any]) -> tuple[str, str, str]:
    """msgspec's words as (key, reason, fix)."""
    missing = re.search(r"missing required field `(\w+)`", error)
    if missing:
        return missing[1], "is missing", "set it; config/rules.toml shows how"
    key = re.search(r"at `\$\.(\w+)", error)
    said = error.partition(" - at ")[0]
    name = key[1] if key else ""
    if name == "name":
        return name, f"{row.get(name)!r} is no name", "use 1 to 63 letters, digits or _.-"
    return name, f"{row.get(name)!r} does not fit", said[:1].lower() + said[1:]


def _unknown_top(path: Path, text: str, key: str) -> Finding:
    line = next((n for n, t in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[*\s*{re.escape(key)}\b", t)), 0)
    return Finding(str(path), line, "", key, "no such table", "begin each rule with [[rule]]")


# ---------------------------------------------------------------- lines


def _places(text: str, count: int) -> list[dict[str, int]]:
    """For each `[[rule]]` the line of each of its keys; the empty key stands for the header.

    A scan of lines, good enough to point at: keys inside a multi-line value are taken for keys of the rule.
    """
    places: list[dict[str, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*rule\s*\]\]", line):
            places.append({"": number})
        elif places and (key := re.match(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=", line)):
            places[-1].setdefault(key[1], number)
    return places if len(places) == count else [{}] * count


def _line(lines: dict[str, int], key: str) -> int:
    return lines.get(key, lines.get("", 0))
