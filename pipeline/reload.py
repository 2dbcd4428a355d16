"""Changed rules taken over by a running worker, between two records, without losing state.

    files changed ─► load and check ─► the same stage under new rules ─► states go over by rule name
                          └─ a mistake: the old rules stay, and `trouble` says so until the file is mended

A rule of another name starts afresh, and one that is gone loses its state: see docs/fences.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.message import SECOND
from pipeline.ports import UserError
from pipeline.rules.config import RuleSet, inspect
from pipeline.rules.tables import RulesError
from pipeline.stage import Stage
from pipeline.wire import rfc3339

logger = logging.getLogger(__name__)
AnyStage = Stage[Any, Any]
LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""

Print = tuple[int, int, int] | None
"""What a file looks like from outside: changed when, how long, which. None: it is not there."""


class RuleFiles:
    """What rules were read from, and `beside` it: which of it has changed, and the rules as they are now."""

    def __init__(self, rules: RuleSet, beside: tuple[Path, ...] = ()) -> None:
        self.path = rules.path
        self._beside = beside
        self._prints = self._look(self._of(rules))

    def changed(self) -> list[Path]:
        """The files that are others than at the last look."""
        prints = self._look(self._prints)
        changed = [path for path, print_ in prints.items() if print_ != self._prints.get(path)]
        self._prints = prints
        return changed

    def load(self) -> RuleSet:
        """Raises UserError. Also of rules with mistakes the files are watched from now on: it may lie in them."""
        rules, findings = inspect(self.path)
        self._prints = {**self._look(self._of(rules)), **self._prints}
        if mistakes := [finding for finding in findings if finding.level == "error"]:
            raise RulesError(mistakes)
        return rules

    def _of(self, rules: RuleSet) -> list[Path]:
        return [*dict.fromkeys((rules.path, *rules.files(), *self._beside))]

    def _look(self, files: Iterable[Path]) -> dict[Path, Print]:
        return {path: _print(path) for path in files}


@dataclass
class Reload:
    """Watches the files of `rules`, and `beside` them. `under` gives the stage that runs under other rules.

    Called off the event loop, between two turns of the engine. Raises nothing.
    """

    rules: RuleSet
    under: Callable[[AnyStage, RuleSet], AnyStage]
    beside: tuple[Path, ...] = ()
    trouble: str = ""
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self._files = RuleFiles(self.rules, self.beside)

    def due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._looked >= LOOK_EVERY

    def renewed(self, stage: AnyStage, states: list[Any]) -> tuple[AnyStage, list[Any]] | None:
        """The stage under changed rules, and its states in their order; None if nothing changed, or was taken."""
        self._looked = time.monotonic()
        changed = self._files.changed()
        if not changed:
            return None
        try:
            rules = self._files.load()
            other = self.under(stage, rules)
        except UserError as error:
            self.trouble = f"{_told(changed)}, not taken, the rules before go on: {error}"
            logger.error("%s", self.trouble)
            return None
        carried = [other.restore(stage.dump(state)) for state in states]
        logger.info("%s, taken: rules %s instead of %s", _told(changed), rules.version, self.rules.version)
        self.rules, self.trouble = rules, ""
        return other, carried


def _print(path: Path) -> Print:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _told(changed: list[Path]) -> str:
    """`rules.toml changed at 2026-01-31T12:00:00Z`."""
    words = []
    for path in changed:
        seen = _print(path)
        at = rfc3339(seen[0] // 1000 // SECOND * SECOND) if seen else ""
        words.append(f"{path.name} changed at {at}" if seen else f"{path.name} is gone")
    return ", ".join(words)
