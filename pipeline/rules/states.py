"""The states of several rules, together and as bytes: found again by name, not by the place in a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from pipeline import wire

logger = logging.getLogger(__name__)


class Named(Protocol):
    """What every rule of ours has beside its three functions."""

    name: str

    def initial(self) -> Any: ...


Rules = Sequence[tuple[Any, type[Any]]]
"""Pairs of a rule (see `Named`) and the type of its state, as `RuleSet` gives them."""


def initial(rules: Rules) -> list[Any]:
    """A fresh state for each rule, in their order."""
    return [rule.initial() for rule, _kind in rules]


def pack(rules: Rules, states: Sequence[Any]) -> dict[str, bytes]:
    """The states by rule name."""
    return {rule.name: wire.pack_state(state) for (rule, _kind), state in zip(rules, states, strict=True)}


def unpack(rules: Rules, saved: Mapping[str, bytes]) -> list[Any]:
    """The states in the order of `rules`. A rule that is new, or of another kind than before, starts afresh.

    A rule with a function `adopt(state, saved)` looks for what other rules remembered of what is its own now.
    """
    states = [_unpacked(rule, kind, saved.get(rule.name)) for rule, kind in rules]
    for (rule, _kind), state in zip(rules, states, strict=True):
        if adopt := getattr(rule, "adopt", None):
            adopt(state, saved)
    return states


def _unpacked(rule: Named, kind: type[Any], data: bytes | None) -> Any:
    if data is None:
        return rule.initial()
    try:
        return wire.unpack_state(data, kind)
    except msgspec.ValidationError as error:
        logger.warning("rule %s starts afresh, its saved state is of another kind: %s", rule.name, error)
        return rule.initial()
