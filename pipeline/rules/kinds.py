"""Every kind of rule by its name in rules.toml, and how a rule is made of its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.rules import blind, company, harsh, hours, limit, longstop, missing, rate, route, spec, weather
from pipeline.rules.fences import Fence
from pipeline.rules.head import Head
from pipeline.rules.spec import Common

Build = Callable[[Any, Head, Sequence[Fence]], tuple[Any, type[Any]]]
"""(table, head, its fences) to a rule and the type of its state."""

KINDS: dict[str, type[Common]] = {
    **spec.KINDS,
    "long_stop": longstop.Spec,
    "route": route.Spec,
    "harsh": harsh.Spec,
    "trip_hours": hours.Spec,
    "company": company.Spec,
    "blind": blind.Spec,
    "reading_limit": limit.Spec,
    "reading_rate": rate.Spec,
    "reading_missing": missing.Spec,
    "fire_weather": weather.Spec,
}
MOVES: dict[type[Common], Build] = {
    longstop.Spec: longstop.build,
    route.Spec: route.build,
    harsh.Spec: harsh.build,
}
"""Rules over `Moves`, beside those that `config` makes itself."""
READINGS: dict[type[Common], Callable[[Any, Head], tuple[Any, type[Any]]]] = {
    limit.Spec: limit.build,
    rate.Spec: rate.build,
    missing.Spec: missing.build,
}
"""Rules over readings."""
