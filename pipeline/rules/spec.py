"""The tables of rules.toml: one struct a kind, each key with its unit in its name and its default here.

`config/rules.toml` is the manual. What a struct cannot say by type and range stands in `trouble`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.rules.calendars import weekly, zone_of
from pipeline.rules.datum import Datum

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Direction = Literal["any", "left-to-right", "right-to-left"]
Severity = Literal["info", "warning", "high", "critical"]

Trouble = tuple[str, str, str]
"""(key, reason, fix)"""


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of every kind."""

    name: Name
    kind: str
    severity: Severity | None = None
    enabled: bool = True

    def trouble(self) -> Trouble | None:
        """What is wrong between keys."""
        return None


class Units(Common, frozen=True, kw_only=True):
    """Keys of the kinds that are about units; no name and no group means every unit."""

    units: list[str] = []
    groups: list[str] = []


class Fenced(Units, frozen=True, kw_only=True):
    """Keys of the kinds that read fence files."""

    fences: str | list[str] = []
    only: list[str] = []
    repair: bool = False
    datum: Datum | None = None
    corridor_m: NotNegative = 0.0
    radius_m: NotNegative = 0.0
    floor_m: float | None = None
    ceiling_m: float | None = None
    name_field: str = ""

    @property
    def files(self) -> list[str]:
        return [self.fences] if isinstance(self.fences, str) else self.fences


class Timed(Fenced, frozen=True, kw_only=True):
    """Keys of the kinds that may be active at some times only: weekly `hours`, or a `calendar` file (iCalendar)."""

    hours: str = ""
    calendar: str = ""
    time_zone: str = ""

    def trouble(self) -> Trouble | None:
        if self.hours and self.calendar:
            return "calendar", "hours and calendar are both given", "set one of them"
        if self.time_zone and not (self.hours or self.calendar):
            return "time_zone", "has no meaning without hours or calendar", "remove it, or set one of them"
        try:
            zone_of(self.time_zone)
        except ValueError as error:
            return "time_zone", str(error), "or leave it out for UTC"
        try:
            if self.hours:
                weekly(self.hours, self.time_zone)
        except ValueError as error:
            return "hours", str(error), 'write "Mon-Fri 06:00-20:00; Sat 08:00-12:00"'
        return None


class Readings(Common, frozen=True, kw_only=True):
    """Keys of the kinds that are about readings; no name means every device, every channel."""

    devices: list[str] = []
    channels: list[str] = []


class GeofenceSpec(Timed, frozen=True, kw_only=True):
    fences: str | list[str]
    on: Literal["enter", "exit", "dwell", "inside", "outside", "cross"] = "enter"
    dwell_s: NotNegative = 0.0
    hysteresis_m: NotNegative = 0.0
    hysteresis_s: NotNegative = 0.0
    accuracy: bool = False
    direction: Direction = "any"
    within_s: NotNegative = 0.0
    max_gap_s: Positive = 300.0

    def trouble(self) -> Trouble | None:
        if self.on == "dwell" and self.dwell_s <= 0:
            return "dwell_s", 'on = "dwell" needs a time', "set dwell_s to the seconds a unit may stay"
        if self.on != "dwell" and self.dwell_s > 0:
            return "dwell_s", f'has no meaning with on = "{self.on}"', 'remove it, or set on = "dwell"'
        for key in _CROSS if self.on != "cross" else _FIRM:
            if getattr(self, key) != FIELDS[key]:
                return key, f'has no meaning with on = "{self.on}"', "remove it"
        return super().trouble() if self.files else ("fences", "names no file", "name a fence file")


_CROSS = ("direction", "within_s", "max_gap_s")
_FIRM = ("hysteresis_m", "hysteresis_s", "accuracy")
FIELDS = {field.name: field.default for field in msgspec.structs.fields(GeofenceSpec)}


class SpeedSpec(Timed, frozen=True, kw_only=True):
    limit: Positive | None = None
    limit_kmh: Positive | None = None
    min_duration_s: NotNegative = 10.0
    hysteresis: NotNegative = 1.0
    max_gap_s: Positive = 300.0

    @property
    def metres_a_second(self) -> float:
        return self.limit if self.limit is not None else (self.limit_kmh or 0.0) / 3.6

    def trouble(self) -> Trouble | None:
        given = (self.limit is not None) + (self.limit_kmh is not None)
        if given == 2 or (given == 0 and not self.files):
            return "limit_kmh", "the limit is given twice, or not at all", "set either limit (m/s) or limit_kmh"
        if given and self.hysteresis >= self.metres_a_second:
            return "hysteresis", "is as large as the limit: the alarm would never end", "make it smaller (m/s)"
        return super().trouble()


class SilenceSpec(Units, frozen=True, kw_only=True):
    limit_s: Positive


class DeviceSilenceSpec(Common, frozen=True, kw_only=True):
    limit_s: Positive
    devices: list[str] = []


class SightingSpec(Common, frozen=True, kw_only=True):
    label: str
    cameras: list[str] = []
    open_score: Share | None = None
    hold_score: Share | None = None
    persist_s: NotNegative = 3.0
    min_hits: AtLeastOne = 3
    min_share: Share = 0.5
    close_s: NotNegative = 30.0
    close_frames: AtLeastOne = 3
    max_gap_s: Positive = 600.0
    still_change: NotNegative = 0.1
    lively_change: NotNegative = 0.3
    lively_persist: Share = 0.7
    cooldown_s: NotNegative = 0.0

    def trouble(self) -> Trouble | None:
        if self.still_change > self.lively_change:
            return "still_change", "is above lively_change", "make it smaller; 0 switches it off"
        if self.open_score is not None and self.hold_score is not None and self.hold_score > self.open_score:
            return "hold_score", "is above open_score", "make it at most open_score"
        return None


KINDS: dict[str, type[Common]] = {
    "geofence": GeofenceSpec,
    "speed": SpeedSpec,
    "silence": SilenceSpec,
    "device_silence": DeviceSilenceSpec,
    "sighting": SightingSpec,
}
SEVERITY: dict[str, Severity] = {
    "geofence": "high",
    "speed": "warning",
    "silence": "warning",
    "device_silence": "warning",
    "blind": "high",
    "fire": "critical",
    "smoke": "high",
}
"""Where a rule names none: by kind, for sightings by label."""


def severity(spec: Common) -> str:
    row = spec.label if isinstance(spec, SightingSpec) else spec.kind
    return spec.severity or SEVERITY.get(row, "warning")
