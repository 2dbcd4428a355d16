"""What holds for one camera: which parts of its picture do not count, and from which score a detection does.

    masked       at least MASKED of the box's area lies in the masks of its label: a fire that grows out of a masked
                 chimney, or begins in front of one, counts
    threshold    `night` while the sun is more than 6 degrees below the horizon, else `thresholds`, else the rule's

Pure: day or night is reckoned from the frame's own time and the camera's pose (`astral`, NOAA's equations).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import shapely  # type: ignore[import-untyped]
from astral import Observer
from astral.sun import elevation

from pipeline.message import SECOND
from pipeline.rules.boxes import Box
from pipeline.rules.cameras import Camera, Cameras, Mask, Pose
from pipeline.rules.weather import Lowered, OfCamera

MASKED = 0.5
"""Share of a box's area."""

WHOLE = 0.98
"""Share of the picture from which masks leave nothing of it."""

DUSK = -6.0
"""Degrees of the sun's centre above the horizon: the end of civil twilight."""

MINUTE = 60 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sun(pose: Pose, at: int) -> float:
    """Elevation of the sun's centre in degrees, without refraction. OverflowError: no calendar has that time."""
    moment = EPOCH + timedelta(microseconds=at)
    return float(elevation(Observer(pose.lat, pose.lon, 0.0), moment, with_refraction=False))


def outline(mask: Mask) -> shapely.Geometry:
    """The polygon in shares of width and height; one that crosses itself is taken as its odd-even area."""
    return shapely.make_valid(shapely.Polygon(mask.polygon))


class Views:
    """The cameras of cameras.toml, ready to be asked frame by frame. One not listed is taken as it comes."""

    def __init__(self, cameras: Cameras | None = None, weather: OfCamera | None = None) -> None:
        self._weather = weather
        self._cameras: Mapping[str, Camera] = cameras or {}
        self._masks: dict[tuple[str, str], list[tuple[str, shapely.Geometry]]] = {}
        self._dark: dict[str, tuple[int, bool]] = {}

    def mask(self, camera: str, label: str, box: Box, size: tuple[int, int]) -> str:
        """Name of the mask that takes the detection away, empty for none. `size`: of the picture, wide and high."""
        masks = self._of(camera, label)
        wide, high = box[2] - box[0], box[3] - box[1]
        if not masks or wide <= 0 or high <= 0:
            return ""
        shape = shapely.box(box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1])
        parts = [(name, shapely.intersection(shape, area)) for name, area in masks]
        covered = shapely.area(shapely.union_all([part for _name, part in parts])) / shapely.area(shape)
        if covered < MASKED:
            return ""
        return max(parts, key=lambda part: float(shapely.area(part[1])))[0]

    def threshold(self, camera: str, label: str, at: int) -> float | None:
        """The camera's own open score of a label at that time, None where it names none."""
        known = self._cameras.get(camera)
        if known is None:
            return None
        if label in known.night and self.dark(camera, at):
            return known.night[label]
        return known.thresholds.get(label)

    def lowered(self, camera: str, at: int) -> Lowered | None:
        """What the fire weather does to the open scores of the camera; it never raises one."""
        return self._weather(camera, at) if self._weather else None

    def dark(self, camera: str, at: int) -> bool:
        """Is it night there? To the minute; never where no pose is known."""
        known = self._cameras.get(camera)
        if known is None or known.pose is None:
            return False
        minute = at // MINUTE
        if self._dark.get(camera, (None, False))[0] != minute:
            self._dark[camera] = minute, _dark(known.pose, minute * MINUTE)
        return self._dark[camera][1]

    def _of(self, camera: str, label: str) -> list[tuple[str, shapely.Geometry]]:
        key = camera, label
        if key not in self._masks:
            masks = self._cameras[camera].masks if camera in self._cameras else ()
            self._masks[key] = [
                (mask.name or f"mask {number}", outline(mask))
                for number, mask in enumerate(masks, 1)
                if not mask.labels or label in mask.labels
            ]
        return self._masks[key]


def _dark(pose: Pose, at: int) -> bool:
    try:
        return sun(pose, at) < DUSK
    except (OverflowError, ValueError):
        return False


def doubts(
    cameras: Cameras, labels: Collection[str] | None
) -> Iterator[tuple[str, str, str, str, Literal["error", "warning"]]]:
    """(camera, key, reason, fix, level) of what cannot be meant. `labels`: the model's, None: not known."""
    for camera in cameras.values():
        for key, label in _named(camera):
            if labels is not None and label not in labels:
                known = ", ".join(sorted(labels))
                yield camera.name, key, f"label {label!r} is not one the model sees", f"known: {known}", "error"
        for label in sorted({label for mask in camera.masks for label in mask.labels or labels or ("",)}):
            shapes = [outline(m) for m in camera.masks if not m.labels or label in m.labels]
            if float(shapely.area(shapely.union_all(shapes))) > WHOLE:
                what = (
                    f"everything in the picture is masked for {label}" if label else "all of the picture is masked"
                )
                yield camera.name, "masks", what, "the camera would see nothing: make them smaller", "warning"


def _named(camera: Camera) -> Iterator[tuple[str, str]]:
    """Key and label of every label that a camera's table names."""
    for table in ("thresholds", "night"):
        yield from ((f"{table}.{label}", label) for label in getattr(camera, table))
    for i, mask in enumerate(camera.masks):
        yield from ((f"masks[{i}].labels", label) for label in mask.labels)
