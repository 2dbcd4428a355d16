"""How each stage is put under other rules: what of it is made of rules.toml, the fleet and the cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import wire
from pipeline.reload import Reload
from pipeline.rules.cameras import load_cameras
from pipeline.rules.config import RuleSet
from pipeline.rules.config import load as load_rules
from pipeline.rules.fleet import load_fleet
from pipeline.settings import Settings
from pipeline.telemetry.clean import Limits
from pipeline.telemetry.fold import Fold
from pipeline.telemetry.meeting import Meeting
from pipeline.weather import Weather, open_weather

UNDER: dict[str, Callable[[Settings, Any, RuleSet], Any]] = {
    wire.POSITIONS: lambda settings, stage, rules: stage.under(
        fold_under(settings, rules), meeting_under(settings, rules)
    ),
    wire.COMPANY: lambda settings, stage, rules: stage.under(meeting_under(settings, rules)),
    wire.READINGS: lambda _settings, stage, rules: stage.under(rules.readings(), rules.fire_weather()),
    wire.DEVICES: lambda _settings, stage, rules: stage.under(rules.devices()),
    wire.FRAMES: lambda settings, stage, rules: stage.under(sightings_under(settings, rules, stage.thresholds)),
}
"""By the topic of the stage. A stage that is not here has no rules."""


def reload_of(settings: Settings, stage: Any) -> Reload | None:
    """What watches the files for a stage; None for one without rules."""
    under = UNDER.get(stage.topic)
    if under is None:
        return None
    beside = Path(settings.fleet.file), Path(settings.cameras.file)
    rules = load_rules(Path(settings.rules.file))
    return Reload(rules, lambda old, new: under(settings, old, new), beside)


def fold_under(settings: Settings, rules: RuleSet) -> Fold:
    """Clean and rules for the fleet as it is now. Raises UserError."""
    fleet = load_fleet(Path(settings.fleet.file))
    limits = Limits.of(settings.clean)
    return Fold(rules.telemetry(fleet), enrolled=fleet.units, limits=limits, versions=rules.versions)


def meeting_under(settings: Settings, rules: RuleSet) -> Meeting:
    """Rules over units of several partitions, for the fleet as it is now. Raises UserError."""
    return Meeting(rules.company(load_fleet(Path(settings.fleet.file))))


def sightings_under(
    settings: Settings, rules: RuleSet, thresholds: dict[str, float]
) -> list[tuple[Any, type[Any]]]:
    """Rules over what cameras see, with the cameras and the fire weather as they are now. Raises UserError."""
    weather = Weather(rules.stations, open_weather(settings))
    return rules.sightings(thresholds, load_cameras(Path(settings.cameras.file)), weather)
