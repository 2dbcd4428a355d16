"""rules.toml → rules. `load` checks everything and names line, rule, key, reason and fix of each mistake.

rules.toml ─► tables (kinds.KINDS) ─► RuleSet ─► telemetry(fleet)  over Moves
              fences (GeoJSON)                  company(fleet)     over Moves, of all partitions
                                                readings()         over Moves, of sensor readings
                                                devices()          over DeviceRecord
                                                sightings(scores)  over ScoredFrame
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipeline.message import SECOND, digest
from pipeline.ports import UserError
from pipeline.rules import blind, company, geofence, hours, kinds, passing, sighting, silence, speed, weather
from pipeline.rules.calendars import Hours
from pipeline.rules.cameras import Cameras
from pipeline.rules.fences import Fence, datum_doubt
from pipeline.rules.firm import Edge
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import Head, Scope
from pipeline.rules.placed import fences_of, files_of, hours_of, version_of
from pipeline.rules.spec import (
    Common,
    DeviceSilenceSpec,
    Fenced,
    GeofenceSpec,
    SightingSpec,
    SilenceSpec,
    SpeedSpec,
    Timed,
    Units,
    severity,
)
from pipeline.rules.standing import On
from pipeline.rules.tables import Finding, RulesError, read_tables
from pipeline.rules.views import Views
from pipeline.rules.zones import Zones

HOLD = 0.6
"""Part of the open score at which a detection still holds an episode, where the rule names none."""

C = TypeVar("C", bound=Common)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The enabled rules of a file. `version` stands for the whole, `versions` for each rule, by name."""

    path: Path
    specs: tuple[Common, ...]
    fences: Mapping[str, tuple[Fence, ...]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hours: Mapping[str, Hours | None] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return digest(*sorted(self.versions.items()))[:8]

    def telemetry(self, fleet: Fleet | None = None) -> list[tuple[Any, type[Any]]]:
        """Rules over `Moves`, each with the type of its state. Geofences with alike edges are one rule."""
        rules: list[tuple[Any, type[Any]]] = []
        fenced: dict[Edge, list[geofence.FenceRule]] = defaultdict(list)
        for spec in self._of(GeofenceSpec):
            if spec.on == "cross":
                rules.append((passing.Passing(self._pass_rule(spec, fleet)), passing.State))
            else:
                fenced[_edge(spec)].append(self._fence_rule(spec, spec.on, fleet))
        rules += [(geofence.Geofence(alike, edge), geofence.State) for edge, alike in fenced.items()]
        for fast in self._of(SpeedSpec):
            rules.append((speed.Speed(self._head(fast, fleet), self._speed_limit(fast)), speed.State))
        for quiet in self._of(SilenceSpec):
            rule = silence.UnitSilence(self._head(quiet, fleet), _micros(quiet.limit_s))
            rules.append((rule, silence.UnitState))
        for other in self.specs:
            if build := kinds.MOVES.get(type(other)):
                rules.append(build(other, self._head(other, fleet), self.fences.get(other.name, ())))
        for trip in self._of(hours.Spec):
            allowed = self.hours.get(trip.name)
            if allowed is not None:
                rules.append(hours.build(trip, self._head(trip, fleet), self.fences.get(trip.name, ()), allowed))
        return rules

    def company(self, fleet: Fleet | None = None) -> list[tuple[company.Company, type[company.State]]]:
        """Rules over `Moves` of units that live in several partitions, each with the type of its state."""
        return [company.build(spec, self._head(spec, fleet), fleet) for spec in self._of(company.Spec)]

    def readings(self) -> list[tuple[Any, type[Any]]]:
        """Rules over `Moves` of readings, each with the type of its state."""
        builds = [(kinds.READINGS.get(type(spec)), spec) for spec in self.specs]
        return [build(spec, self._head(spec)) for build, spec in builds if build]

    def fire_weather(self) -> list[tuple[weather.FireWeather, type[weather.State]]]:
        """What makes the fire weather of readings. Raises UserError where its library is not installed."""
        return [weather.build(spec, self._head(spec)) for spec in self.stations]

    @property
    def stations(self) -> list[weather.Spec]:
        return self._of(weather.Spec)

    def devices(self) -> list[tuple[Any, type[Any]]]:
        """Rules over `DeviceRecord`, each with the type of its state."""
        rules: list[tuple[Any, type[Any]]] = [
            (silence.DeviceSilence(self._head(spec), _micros(spec.limit_s)), silence.DeviceState)
            for spec in self._of(DeviceSilenceSpec)
        ]
        for watch in self._of(blind.Spec):
            rules += blind.build_silent(watch, self._head(watch))
        return rules

    def sightings(
        self,
        thresholds: Mapping[str, float],
        cameras: Cameras | None = None,
        weather: weather.OfCamera | None = None,
    ) -> list[tuple[Any, type[Any]]]:
        """Rules over `ScoredFrame`, each with the type of its state. `thresholds` are the model card's, by label.

        `cameras` have masks and scores of their own, `weather` lowers scores. Raises UserError for a label that
        the model does not know.
        """
        views = Views(cameras, weather)
        rules: list[tuple[Any, type[Any]]] = [
            (sighting.Sighting(self._head(spec), self._confirmation(spec, thresholds), views), sighting.State)
            for spec in self._of(SightingSpec)
        ]
        return rules + [blind.build(spec, self._head(spec)) for spec in self._of(blind.Spec)]

    def places(self, fleet: Fleet | None = None) -> Iterator[tuple[Head, tuple[Fence, ...], Edge]]:
        """For each geofence its fences, and how their edges are crossed."""
        for spec in self._of(GeofenceSpec):
            yield self._head(spec, fleet), self.fences.get(spec.name, ()), _edge(spec)

    def files(self) -> list[Path]:
        """What the rules read beside their own file."""
        return [file for spec in self.specs for file in files_of(self.path.parent, spec)]

    def groups(self) -> dict[str, list[str]]:
        """The groups that rules name, by rule."""
        return {spec.name: spec.groups for spec in self.specs if isinstance(spec, Units) and spec.groups}

    # -------------------------------------------------------------- from tables to rules

    def _of(self, kind: type[C]) -> list[C]:
        return [spec for spec in self.specs if isinstance(spec, kind)]

    def _head(self, spec: Common, fleet: Fleet | None = None) -> Head:
        scope = Scope(_names(spec), spec.groups if isinstance(spec, Units) else (), fleet)
        return Head(
            spec.name, spec.kind, severity=severity(spec), version=self.versions.get(spec.name, ""), scope=scope
        )

    def _fence_rule(self, spec: GeofenceSpec, on: On, fleet: Fleet | None) -> geofence.FenceRule:
        fences, hours = self.fences.get(spec.name, ()), self.hours.get(spec.name)
        return geofence.FenceRule(self._head(spec, fleet), on, fences, _micros(spec.dwell_s), hours)

    def _pass_rule(self, spec: GeofenceSpec, fleet: Fleet | None) -> passing.PassRule:
        return passing.PassRule(
            self._head(spec, fleet),
            self.fences.get(spec.name, ()),
            direction=spec.direction,
            within=_micros(spec.within_s),
            max_gap=_micros(spec.max_gap_s),
            hours=self.hours.get(spec.name),
        )

    def _speed_limit(self, spec: SpeedSpec) -> speed.SpeedLimit:
        limit, hold, gap = spec.metres_a_second, _micros(spec.min_duration_s), _micros(spec.max_gap_s)
        zones = Zones(self.fences.get(spec.name, ()), limit) if spec.files else None
        return speed.SpeedLimit(limit, hold, spec.hysteresis, gap, zones, self.hours.get(spec.name))

    def _confirmation(self, spec: SightingSpec, thresholds: Mapping[str, float]) -> sighting.Confirmation:
        if spec.label not in thresholds:
            known = ", ".join(sorted(thresholds)) or "nothing"
            raise UserError(
                f"{self.path}: rule {spec.name}: label {spec.label!r} is not one the model sees: it sees {known}"
            )
        open_score = spec.open_score if spec.open_score is not None else thresholds[spec.label]
        return sighting.Confirmation(
            label=spec.label,
            open_score=open_score,
            hold_score=spec.hold_score if spec.hold_score is not None else round(open_score * HOLD, 4),
            persist=_micros(spec.persist_s),
            min_hits=spec.min_hits,
            min_share=spec.min_share,
            close=_micros(spec.close_s),
            close_frames=spec.close_frames,
            max_gap=_micros(spec.max_gap_s),
            still=spec.still_change,
            lively=spec.lively_change,
            lively_persist=spec.lively_persist,
            cooldown=_micros(spec.cooldown_s),
        )


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _edge(spec: GeofenceSpec) -> Edge:
    return Edge(spec.hysteresis_m, _micros(spec.hysteresis_s), spec.accuracy)


def _names(spec: Common) -> list[str]:
    """The patterns of the subjects a rule is about."""
    for key in ("units", "devices", "cameras"):
        if hasattr(spec, key):
            return list(getattr(spec, key))
    return []


# ---------------------------------------------------------------- loading


def load(path: Path) -> RuleSet:
    """The rules of a file. Raises RulesError, whose `findings` hold every mistake, not only the first."""
    rules, findings = inspect(path)
    mistakes = [finding for finding in findings if finding.level == "error"]
    if mistakes:
        raise RulesError(mistakes)
    return rules


def inspect(path: Path) -> tuple[RuleSet, list[Finding]]:
    """The rules that can be made of the file, and all that is wrong with it or doubtful."""
    tables, findings = read_tables(path)
    fences: dict[str, tuple[Fence, ...]] = {}
    active: dict[str, Hours | None] = {}
    specs, versions = [], {}
    for table in tables:
        spec = table.spec
        if isinstance(spec, Timed):
            active[spec.name], wrong = hours_of(path.parent, spec)
            findings += [table.finding(*mistake) for mistake in wrong]
        if isinstance(spec, Fenced):
            fences[spec.name], mistakes = fences_of(path.parent, spec)
            findings += [table.finding(*mistake) for mistake in mistakes]
            doubt = None if spec.datum else datum_doubt(fences[spec.name])
            if doubt:
                findings.append(msgspec.structs.replace(table.finding("fences", *doubt), level="warning"))
        if spec.enabled:
            specs.append(spec)
        versions[spec.name] = version_of(path.parent, spec)
    return RuleSet(path, tuple(specs), fences, versions, active), sorted(findings, key=lambda f: f.line)
