"""Does the system see? One judgement for /healthz, the metrics and the console's header.

A part that has not beaten lately, or says itself that it is in trouble, is blind; so is this server when it cannot
read the alarm book. A device is judged by its own signs: a camera by the age of its last *scored* frame, and any
device by the trouble it reports: a camera that has never delivered a frame has none to be old. What a rule says of
its silence counts before all of that: no device is well here while an alarm about its silence stands, and no camera
sees while one about its blindness does, with the cause that the rule named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.api.explain import duration
from pipeline.message import SECOND
from pipeline.pulse import STALE, verdict

PARTS = ("bridge", "worker-telemetry", "worker-vision", "worker-alarms")
"""Without one of these the system does not see; more parts may beat (api, notify), and are judged when they do."""

DEVICE_SILENT_S = 60.0
FRAME_STALE_S = 60.0
DEVICE_STATES = ("lost", "blind", "silent", "ailing", "ok", "finished")
"""Worst first."""

WELL = frozenset({"ok", "finished"})


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One running part. `why` is empty when it is well."""

    part: str
    instance: str
    beaten: int | None
    why: str
    row: dict[str, Any]

    @property
    def ok(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Blindness:
    """What a standing alarm says of a camera that does not see."""

    cause: str
    why: str


NOBODY: Mapping[str, Blindness] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """One device. `state` is one of DEVICE_STATES; ages in seconds, None for never."""

    device: str
    state: str
    why: str
    heard_s: float | None
    scored_s: float | None
    row: dict[str, Any]
    cause: str = ""
    """Of a blind camera, where a rule has named it: frozen, black, covered, ..."""


@dataclass(frozen=True, slots=True)
class Health:
    """The judgement: `blind` holds a sentence for each part that does not see."""

    parts: list[PartHealth]
    devices: list[DeviceHealth]

    @property
    def blind(self) -> list[str]:
        deaf = [f"devices: none of {len(self.devices)} is heard"] if self._deaf else []
        return [f"{p.part}: {p.why}" for p in self.parts if not p.ok] + deaf

    @property
    def _deaf(self) -> bool:
        """Every device gone at once is a broker that no longer takes messages, not so many broken devices."""
        gone = [d.state in ("silent", "lost") for d in self.devices if d.state != "finished"]
        return len(gone) > 1 and all(gone)

    @property
    def ok(self) -> bool:
        return not self.blind

    def frames(self, what: str) -> dict[str, int]:
        """Frames by camera since the vision workers started: `what` is scored, or shed, given way to newer ones."""
        total: Counter[str] = Counter()
        for part in self.parts:
            counts = (part.row.get("frames") or {}).get(what)
            total.update(counts if isinstance(counts, dict) else {})
        return dict(total)

    def count(self, state: str) -> int:
        """Devices in `state`."""
        return sum(d.state == state for d in self.devices)

    @property
    def causes(self) -> dict[str, int]:
        """Blind cameras by cause, as far as one is named."""
        return dict(sorted(Counter(d.cause for d in self.devices if d.state == "blind" and d.cause).items()))


def judge(
    beats: Sequence[dict[str, Any]],
    devices: Sequence[dict[str, Any]],
    *,
    now: int,
    own_trouble: str = "",
    missed: Collection[str] = (),
    blind: Mapping[str, Blindness] = NOBODY,
) -> Health:
    """Pure: rows of the pulse and of the book, and the clock.

    `own_trouble` is this server's; `missed` are the devices about whose silence an alarm stands,
    `blind` the cameras about whose blindness one does.
    """
    parts = [_part(row, now) for row in beats if row.get("part") != "api"]
    seen = {p.part for p in parts}
    parts += [
        PartHealth(name, "", None, "it has never said anything: not running", {})
        for name in PARTS
        if name not in seen
    ]
    parts.append(PartHealth("api", "", now, own_trouble, {}))
    return Health(_without_retired(parts, now), [_device(row, now, missed, blind) for row in devices])


def _part(row: dict[str, Any], now: int) -> PartHealth:
    return PartHealth(str(row["part"]), str(row["instance"]), int(row["beaten"]), verdict([row], now), row)


def _without_retired(parts: list[PartHealth], now: int) -> list[PartHealth]:
    """Without instances that no longer beat where another of the part does, or beat later: they were replaced."""
    newest = {p.part: max(q.beaten or 0 for q in parts if q.part == p.part) for p in parts}
    fresh = [p for p in parts if (p.beaten or 0) == newest[p.part] or now - (p.beaten or 0) < STALE * SECOND]
    return sorted(fresh, key=lambda p: (p.part, p.instance))


def _device(row: dict[str, Any], now: int, missed: Collection[str], blind: Mapping[str, Blindness]) -> DeviceHealth:
    device = str(row["device"])
    heard, scored = _age(row.get("received"), now), _age(row.get("frame_scored"), now)
    state, why = _missed(row, heard) if device in missed else _device_state(row, heard, scored)
    named = blind.get(device) if state in ("blind", "ailing", "ok") else None
    if named is None:
        return DeviceHealth(device, state, why, heard, scored, row)
    return DeviceHealth(device, "blind", named.why, heard, scored, row, named.cause)


def _missed(row: dict[str, Any], heard: float | None) -> tuple[str, str]:
    lost = ", the broker lost its connection" if row.get("state") == "lost" else ""
    return "lost" if lost else "silent", f"an alarm about its silence stands{lost}; {_last_heard(heard)}"


def _device_state(row: dict[str, Any], heard: float | None, scored: float | None) -> tuple[str, str]:
    if row.get("state") == "lost":
        return "lost", "the broker lost its connection"
    if row.get("state") == "finished":
        return "finished", "it has sent everything and ended"
    if heard is None or heard > DEVICE_SILENT_S:
        return "silent", _last_heard(heard)
    if scored is not None and scored > FRAME_STALE_S:
        return "blind", f"no fresh frame scored for {_for(scored)}"
    if row.get("detail"):
        return "ailing", "it reports trouble itself"
    return "ok", ""


def _last_heard(heard: float | None) -> str:
    return "never heard" if heard is None else f"not heard for {_for(heard)}"


def _for(seconds: float) -> str:
    return duration(int(seconds * SECOND))


def _age(at: int | None, now: int) -> float | None:
    return None if at is None else max(0, now - at) / SECOND
