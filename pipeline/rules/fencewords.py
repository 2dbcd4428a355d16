"""What fence rules say, with the fix that shows it."""

from __future__ import annotations

from typing import Any

from pipeline.message import Change, Signal
from pipeline.rules.fencestate import Watch
from pipeline.rules.head import spell, spell_s
from pipeline.rules.moves import NEVER, Moves
from pipeline.rules.standing import Stand, verb_of


class Words:
    """Makes signals; of one fix that crosses many fences the evidence is made once."""

    def __init__(self) -> None:
        self._of: tuple[Moves | None, int] = None, -1
        self._fix: dict[str, Any] = {}
        self._where = ""

    def say(self, change: Change, moves: Moves, row: int, watch: Watch, start: int, stand: Stand) -> Signal:
        """What `watch` has to say of row `row`."""
        if self._of[0] is not moves or self._of[1] != row:
            self._of, self._fix = (moves, row), moves.where(row)
            self._where = spell(self._fix)
        unit, fix, rule = moves.unit(row), self._fix, watch.rule
        first = bool(moves.prev_at[row] == NEVER)
        verb = verb_of(rule.on, change, stand, lasted=fix["at"] - start, first=first)
        more = f", {spell_s(rule.dwell)} are allowed," if rule.on == "dwell" and change is Change.BEGAN else ""
        return rule.head.signal(
            change,
            unit,
            at=fix["at"],
            start=start,
            place=watch.fence.id,
            reason=f"{rule.head.scope.title(unit)} {verb.format(watch.fence.id)}{more} at {self._where}",
            on=rule.on,
            fence=watch.fence.key,
            fix=fix,
            **({"dwell_s": rule.dwell / 1e6} if rule.on == "dwell" else {}),
        )
