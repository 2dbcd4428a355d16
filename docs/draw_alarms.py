"""Alarms on public tracks as pictures: the fence, the track with its times, the fix that raised the alarm.

`python docs/draw_alarms.py DATA docs/images` reads the tracks and fences below `DATA/vehicles`, runs the rules in
RULES over them as `vedette replay` does, picks one alarm a rule, and writes `alarm-NAME.png`. Only coordinates are
drawn: no map tiles. Pictures are the same for the same input.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely

from pipeline.message import SECOND, Alarm, PositionBatch
from pipeline.replay import changes, replay_batch
from pipeline.rules.config import RuleSet, load
from pipeline.rules.fences import Fence, load_fences
from pipeline.trackfile import read_columns
from pipeline.wire import rfc3339

WIDE, HIGH, FOOT, MARGIN = 1000, 640, 90, 40
METRES_A_DEGREE = 111_320.0
INK, GREY, PALE, TINT = (40, 40, 40), (150, 150, 150), (228, 228, 224), (205, 225, 250)
TRACK, RAISED, ENDED, START = (190, 120, 30), (30, 30, 220), (60, 150, 40), (20, 140, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX
NIGHT = "capmetro_austin_bus_20161216.csv.gz"
DAY = "capmetro_austin_bus_20161124.csv.gz"
TAXIS = "cabspotting_sf_taxi_A_20080520_48h.csv.gz"
AUSTIN, SAN_FRANCISCO = "us_austin_neighborhoods.geojson", "us_sanfrancisco_planning_neighborhoods.geojson"
NO_NIGHT_TRIPS = """\
kind = "trip_hours"
hours = "Mon-Sun 05:00-22:00"
time_zone = "America/Los_Angeles"
min_duration_s = 120
"""


@dataclass(frozen=True, slots=True)
class Pick:
    """One picture: a track file, the fences drawn, the keys of one rule, and how the alarm is chosen.

    Of the alarms that have ended, `number` counts those whose window has a fix at least every `every_s`, and at
    most `most` of them.
    """

    name: str
    tracks: str
    fences: str
    rule: str
    number: int = 0
    every_s: float = 400.0
    around: int = 6
    most: int = 26


PICKS = (
    Pick("enter", DAY, AUSTIN, 'kind = "geofence"\nonly = ["Downtown"]\non = "enter"', 40),
    Pick("exit", DAY, AUSTIN, 'kind = "geofence"\nonly = ["University of Texas"]\non = "exit"', 12),
    Pick("dwell", DAY, AUSTIN, 'kind = "geofence"\nonly = ["Downtown"]\non = "dwell"\ndwell_s = 1200', 3),
    Pick(
        "hysteresis", NIGHT, AUSTIN, 'kind = "geofence"\nonly = ["Hyde Park"]\non = "enter"\nhysteresis_m = 150', 9
    ),
    Pick("speed", NIGHT, AUSTIN, 'kind = "speed"\nlimit_kmh = 90\nmin_duration_s = 0', 5),
    Pick("silence", DAY, AUSTIN, 'kind = "silence"\nlimit_s = 1800', 2, 9e9, 4),
    Pick("long-stop", TAXIS, SAN_FRANCISCO, 'kind = "long_stop"\nlimit_s = 1800', 7, 700.0, 8, 80),
    Pick(
        "cross",
        TAXIS,
        SAN_FRANCISCO,
        'kind = "geofence"\nonly = ["Treasure Island/YBI"]\non = "cross"',
        4,
        200.0,
        8,
    ),
    Pick("taxi-enters", TAXIS, SAN_FRANCISCO, 'kind = "geofence"\nonly = ["Presidio"]\non = "enter"', 6, 130.0, 8),
    Pick("night-trip", TAXIS, SAN_FRANCISCO, NO_NIGHT_TRIPS, 3, 150.0, 10, 80),
)


# ---------------------------------------------------------------- the alarm


@dataclass(frozen=True, slots=True)
class Scene:
    """An alarm with the fixes of its unit around it, and the fences near."""

    alarm: Alarm
    fixes: PositionBatch
    fences: Sequence[Fence]


def scene_of(pick: Pick, vehicles: Path, folder: Path) -> Scene:
    """The alarm that `pick` means. Raises LookupError when there are not so many."""
    batch = read_columns([vehicles / "tracks" / pick.tracks])
    fences = vehicles / "fences" / pick.fences
    rules = rules_of(pick, fences, folder)
    alarms: dict[str, Alarm] = {}
    for _change in changes(replay_batch(batch, rules), alarms=alarms):
        pass
    found = [s for s in _scenes(pick, batch, alarms.values()) if _gap(s.fixes) <= pick.every_s * SECOND]
    found = [scene for scene in found if len(scene.fixes) <= pick.most]
    if len(found) <= pick.number:
        raise LookupError(f"{pick.name}: {len(found)} alarms of {len(alarms)} fit, number {pick.number} is wanted")
    chosen = found[pick.number]
    return Scene(chosen.alarm, chosen.fixes, load_fences(fences) if pick.fences else ())


def rules_of(pick: Pick, fences: Path, folder: Path) -> RuleSet:
    where = f'fences = "{fences}"\n' if "geofence" in pick.rule else ""
    file = folder / f"{pick.name}.toml"
    file.write_text(f'[[rule]]\nname = "{pick.name}"\n{where}{pick.rule}\n', "utf-8")
    return load(file)


def _scenes(pick: Pick, batch: PositionBatch, alarms: Any) -> Iterator[Scene]:
    for alarm in sorted(alarms, key=lambda a: (a.raised_at, a.id)):
        if alarm.ended_at is None:
            continue
        rows = np.flatnonzero(batch.unit == batch.units.index(alarm.subject))
        at = batch.at[rows]
        first = max(0, int(np.searchsorted(at, alarm.start)) - pick.around)
        last = int(np.searchsorted(at, alarm.ended_at, side="right")) + pick.around
        if len(rows[first:last]) > 3:
            yield Scene(alarm, batch.select(rows[first:last]), ())


def _gap(fixes: PositionBatch) -> int:
    return int(np.diff(fixes.at).max())


# ---------------------------------------------------------------- the picture


class Sheet:
    """Degrees to pixels: a flat map, north up, wide enough for the fixes and at least 600 m."""

    def __init__(self, fixes: PositionBatch) -> None:
        self.image = np.full((HIGH + FOOT, WIDE, 3), 255, np.uint8)
        lat, lon = (fixes.lat.min() + fixes.lat.max()) / 2, (fixes.lon.min() + fixes.lon.max()) / 2
        self._middle, self._east = (lat, lon), METRES_A_DEGREE * np.cos(np.radians(lat))
        tall = max(600.0, (fixes.lat.max() - fixes.lat.min()) * METRES_A_DEGREE)
        wide = max(600.0, (fixes.lon.max() - fixes.lon.min()) * self._east)
        self.metres = max(tall / (HIGH - 4 * MARGIN), wide / (WIDE - 6 * MARGIN))
        """A pixel."""

    def pixels(self, lon: Any, lat: Any) -> Any:
        x = WIDE / 2 + (np.asarray(lon) - self._middle[1]) * self._east / self.metres
        y = HIGH / 2 - (np.asarray(lat) - self._middle[0]) * METRES_A_DEGREE / self.metres
        return np.rint(np.stack((x, y), axis=-1)).astype(np.int32)

    def area(self, fence: Fence, wanted: bool) -> None:
        for part in shapely.get_parts(fence.shape):
            ring = self.pixels(*np.asarray(part.exterior.coords)[:, :2].T)
            if wanted:
                cv2.fillPoly(self.image, [ring], TINT, cv2.LINE_AA)
            cv2.polylines(self.image, [ring], True, (160, 120, 60) if wanted else GREY, 1 + wanted, cv2.LINE_AA)
        middle = fence.shape.representative_point()
        self.text(fence.id[:24], tuple(self.pixels(middle.x, middle.y)), 0.4, INK if wanted else GREY, centre=True)

    def text(
        self, words: str, at: Any, size: float = 0.42, ink: Any = INK, *, centre: bool = False, halo: bool = True
    ) -> None:
        width = cv2.getTextSize(words, FONT, size, 1)[0][0]
        x, y = min(int(at[0]) - (width // 2 if centre else 0), WIDE - width - 5), int(at[1])
        if halo:
            cv2.putText(self.image, words, (x, y), FONT, size, (255, 255, 255), 4, cv2.LINE_AA)
        cv2.putText(self.image, words, (x, y), FONT, size, ink, 1, cv2.LINE_AA)

    def scale(self) -> None:
        """A bar of a round length, and where north is."""
        length = next(m for m in (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000) if m / self.metres > 70)
        end, y = MARGIN + round(length / self.metres), HIGH - 20
        cv2.line(self.image, (MARGIN, y), (end, y), INK, 2, cv2.LINE_AA)
        self.text(f"{length} m" if length < 1000 else f"{length // 1000} km", (MARGIN, y - 8))
        cv2.arrowedLine(self.image, (WIDE - 30, 60), (WIDE - 30, 25), INK, 2, cv2.LINE_AA, tipLength=0.3)
        self.text("N", (WIDE - 35, 78))

    def foot(self, lines: Sequence[str]) -> None:
        cv2.rectangle(self.image, (0, HIGH), (WIDE, HIGH + FOOT), PALE, -1)
        for number, line in enumerate(lines):
            self.text(line, (15, HIGH + 24 + 22 * number), 0.46, halo=False)


def draw(scene: Scene) -> Any:
    """The sheet's pixels."""
    fixes, alarm = scene.fixes, scene.alarm
    sheet = Sheet(fixes)
    for fence in sorted(scene.fences, key=lambda f: f.id == alarm.place):
        sheet.area(fence, fence.id == alarm.place)
    way = sheet.pixels(fixes.lon, fixes.lat)
    for one, other in itertools.pairwise(way):
        cv2.arrowedLine(sheet.image, tuple(one), tuple(other), TRACK, 2, cv2.LINE_AA, tipLength=0.06)
    for point in way:
        cv2.circle(sheet.image, tuple(point), 4, TRACK, -1, cv2.LINE_AA)
    turns = _turns(alarm, fixes)
    for row, (_word, ink) in turns.items():
        cv2.circle(sheet.image, tuple(way[row]), 9, ink, 3, cv2.LINE_AA)
    _labels(sheet, way, fixes, turns)
    sheet.scale()
    sheet.foot(_caption(alarm, fixes))
    return sheet.image


def _turns(alarm: Alarm, fixes: PositionBatch) -> dict[int, tuple[str, Any]]:
    """By row: the fix the episode begins at, the one that raised the alarm, the one that ended it."""
    found: dict[int, tuple[str, Any]] = {}
    moments = (
        ("begins", alarm.start, START),
        ("ended", alarm.ended_at, ENDED),
        ("raised", alarm.raised_at, RAISED),
    )
    for word, at, ink in moments:
        rows = np.flatnonzero(fixes.at <= (at or 0)) if word == "raised" else np.flatnonzero(fixes.at == at)
        if len(rows):
            silent = word == "raised" and fixes.at[rows[-1]] != at
            words = f"is the last fix, raised at {rfc3339(at or 0)[11:19]}" if silent else word
            found[int(rows[-1])] = (words, ink)
    return found


def _labels(sheet: Sheet, way: Any, fixes: PositionBatch, turns: dict[int, tuple[str, Any]]) -> None:
    """Times of day: of the turns always, one below the other where they meet; of others where there is room."""
    taken: list[Any] = []
    for row in dict.fromkeys([*turns, *range(len(way))]):
        at, (word, ink) = way[row].copy(), turns.get(row, ("", INK))
        while word and _meets(at, taken):
            at[1] += 20
        if _meets(at, taken):
            continue
        taken.append(at)
        words = f"{rfc3339(int(fixes.at[row]))[11:19]} {word}".strip()
        sheet.text(words, (at[0] + 12, at[1] - 8), 0.46 if word else 0.38, ink)


def _meets(at: Any, taken: Sequence[Any]) -> bool:
    return any(abs(at[0] - other[0]) < 70 and abs(at[1] - other[1]) < 18 for other in taken)


def _caption(alarm: Alarm, fixes: PositionBatch) -> list[str]:
    ended = rfc3339(alarm.ended_at or 0)
    times = f"began {rfc3339(alarm.start)}, raised {rfc3339(alarm.raised_at)}, ended {ended}; {len(fixes)} fixes"
    return [*textwrap.wrap(alarm.reason, 118)[:3], times]


def main(data: str, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for pick in PICKS:
            scene = scene_of(pick, Path(data) / "vehicles", Path(folder))
            file = Path(target) / f"alarm-{pick.name}.png"
            cv2.imwrite(str(file), draw(scene), [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(f"{file.name}: {scene.alarm.id} {scene.alarm.reason}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
