"""What is known of each camera: where it stands and looks, what in its picture does not count, its own thresholds.

One `[[camera]]` a camera in cameras.toml. A camera that is not listed is taken as it comes: no pose, no mask, the
thresholds of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.ports import UserError

Point = tuple[float, float]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key that is not known is an error."""


class Pose(Table, frozen=True):
    """Where a camera stands (WGS-84 degrees, metres above the ellipsoid) and looks (degrees, azimuth true).

    `fov` is the horizontal field of view; `azimuth_error` one sigma of all bearings, in degrees. Cameras with the
    same `mast` (default: the camera's name) cannot be crossed with each other.
    """

    lat: float
    lon: float
    azimuth: float
    fov: float
    tilt: float = 0.0
    alt: float = float("nan")
    azimuth_error: float = 1.0
    mast: str = ""


class Mask(Table, frozen=True):
    """A polygon in shares of the picture's width and height, (0, 0) top left. `labels`: empty means all."""

    polygon: tuple[Point, ...]
    name: str = ""
    labels: tuple[str, ...] = ()


class Camera(Table, frozen=True):
    """`thresholds` and `night` are open scores by label; `night` counts while the sun is below -6 degrees."""

    name: str
    pose: Pose | None = None
    masks: tuple[Mask, ...] = ()
    thresholds: dict[str, float] = {}
    night: dict[str, float] = {}


class File(Table, frozen=True):
    camera: tuple[Camera, ...] = ()


Cameras = Mapping[str, Camera]


def load_cameras(path: Path) -> Cameras:
    """Cameras by name. Raises UserError that names file, camera, key and fix."""
    try:
        listed = msgspec.convert(msgspec.toml.decode(path.read_bytes()), File).camera
    except OSError as error:
        raise UserError(f"no cameras file at {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from error
    for camera in listed:
        for key, reason in _mistakes(camera):
            raise UserError(f"{path}: camera {camera.name}: {key}: {reason}")
    names = [camera.name for camera in listed]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{path}: camera {', '.join(sorted(doubled))} is listed twice; keep one of them")
    return {camera.name: camera for camera in listed}


def _mistakes(camera: Camera) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    pose = camera.pose
    if pose is not None:
        found += [
            (f"pose.{key}", f"{value:g} is not between {low:g} and {high:g}")
            for key, value, low, high in (
                ("lat", pose.lat, -90, 90),
                ("lon", pose.lon, -180, 180),
                ("azimuth", pose.azimuth, 0, 360),
                ("fov", pose.fov, 0.1, 179),
                ("tilt", pose.tilt, -90, 90),
                ("azimuth_error", pose.azimuth_error, 0.01, 90),
            )
            if not low <= value <= high
        ]
    for i, mask in enumerate(camera.masks):
        if len(mask.polygon) < 3:
            found.append((f"masks[{i}].polygon", f"{len(mask.polygon)} points, at least 3 are needed"))
        if any(not 0 <= v <= 1 for point in mask.polygon for v in point):
            found.append((f"masks[{i}].polygon", "points are shares of width and height, 0 to 1"))
    for table in ("thresholds", "night"):
        for label, score in getattr(camera, table).items():
            if not 0 < score <= 1:
                found.append((f"{table}.{label}", f"{score:g} is not above 0 and at most 1"))
    if camera.night and pose is None:
        found.append(("night", "without a pose nobody knows when it is night there; give the camera a pose"))
    return found
