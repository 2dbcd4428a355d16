"""A camera's azimuth from landmarks: things whose place is known, and where they stand in the picture.

    landmarks  fitted                          known before
    ─────────  ──────────────────────────────  ───────────────────────────
    1          azimuth (nothing to check it)   place, field of view, tilt
    2          azimuth                         place, field of view, tilt
    3 or more  azimuth and field of view       place, tilt

With three or more landmarks whose height is known, and the camera's own, the tilt is fitted too. Heights of
landmarks are seen through air that bends light by a seventh of the earth's curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from pipeline.message import Floats
from pipeline.ports import UserError
from pipeline.rules.bearing import apart, look, towards, turn
from pipeline.rules.cameras import Pose
from pipeline.rules.ellipsoid import MEAN_RADIUS
from pipeline.rules.fit import fit

REFRACTION = 1 / 7
FINEST = 0.1
"""Degrees: an azimuth error below it is not claimed, whatever the residual."""
LARGEST = 10.0
"""Degrees of residual from which the landmarks are not believed."""
NEAREST_M = 50.0
"""A landmark nearer than this says little: a metre is more than a degree."""
SWAPPED = "look for one that is swapped or misplaced"


class Landmark(msgspec.Struct, frozen=True):
    """`x`, `y` pixels of the picture; WGS-84 degrees; `alt` metres above the ellipsoid, NaN where not known."""

    x: float
    y: float
    lat: float
    lon: float
    alt: float = float("nan")


class Calibrated(msgspec.Struct, frozen=True):
    """`residuals` in degrees by landmark, `rms` of all. `fitted` names what of the pose was found."""

    pose: Pose
    fitted: tuple[str, ...]
    residuals: tuple[float, ...]
    rms: float


def calibrate(pose: Pose, size: tuple[int, int], landmarks: Sequence[Landmark]) -> Calibrated:
    """The pose that fits the landmarks best. UserError says what is missing or does not fit."""
    for i, mark in enumerate(landmarks, 1):
        if apart(pose.lat, pose.lon, mark.lat, mark.lon) < NEAREST_M:
            raise UserError(f"landmark {i} is less than {NEAREST_M:g} m from the camera: choose one farther away")
    if not landmarks:
        raise UserError("no landmark: name at least two things whose place is known")
    high = _heights(pose, landmarks)
    names = ("azimuth", "fov", "tilt")[: 1 if len(landmarks) < 3 else 3 if high else 2]
    turned = msgspec.structs.replace(pose, azimuth=_middle(pose, size, landmarks))

    def misses(values: Floats) -> Floats:
        return _misses(_with(turned, names, values), size, landmarks, high="tilt" in names)

    found = fit(misses, np.array([getattr(turned, name) for name in names]), scale=1e-3)
    if found is None or not _plausible(_with(turned, names, found)):
        raise UserError(f"no pose fits these landmarks: {SWAPPED}")
    result = _result(_with(turned, names, found), names, misses(found), len(landmarks))
    if result.rms > LARGEST:
        raise UserError(f"no pose fits these landmarks better than {result.rms:.1f} degrees: {SWAPPED}")
    return result


def _result(pose: Pose, names: tuple[str, ...], off: Floats, count: int) -> Calibrated:
    """The error claimed is what is left over, per degree of freedom; with none it stays as it was."""
    across = off[:count]
    rms = math.sqrt(float(across @ across) / count)
    free = count - len([name for name in names if name != "tilt"])
    error = max(FINEST, math.sqrt(float(across @ across) / free)) if free > 0 else pose.azimuth_error
    neat = {"azimuth": round(pose.azimuth % 360, 2), "fov": round(pose.fov, 2), "tilt": round(pose.tilt, 2)}
    pose = msgspec.structs.replace(pose, azimuth_error=round(error, 2), **neat)
    return Calibrated(pose, names, tuple(round(v, 3) for v in across.tolist()), round(rms, 3))


def _middle(pose: Pose, size: tuple[int, int], landmarks: Sequence[Landmark]) -> float:
    """The azimuth that the landmarks mean, each by itself, on the average."""
    each = [
        math.radians(towards(pose.lat, pose.lon, m.lat, m.lon) - (look(pose, size, m.x, m.y)[0] - pose.azimuth))
        for m in landmarks
    ]
    return math.degrees(math.atan2(sum(map(math.sin, each)), sum(map(math.cos, each)))) % 360


def _misses(pose: Pose, size: tuple[int, int], landmarks: Sequence[Landmark], *, high: bool) -> Floats:
    """Seen minus true, in degrees: azimuths of all landmarks, then elevations where they count."""
    seen = [look(pose, size, m.x, m.y) for m in landmarks]
    off = [turn(s[0] - towards(pose.lat, pose.lon, m.lat, m.lon)) for s, m in zip(seen, landmarks, strict=True)]
    if high:
        off += [s[1] - elevation(pose, m) for s, m in zip(seen, landmarks, strict=True)]
    return np.array(off)


def elevation(pose: Pose, mark: Landmark) -> float:
    """Degrees above the horizontal plane at which the camera sees the landmark."""
    away = apart(pose.lat, pose.lon, mark.lat, mark.lon)
    drop = away**2 * (1 - REFRACTION) / (2 * MEAN_RADIUS)
    return math.degrees(math.atan2(mark.alt - pose.alt - drop, away))


def _heights(pose: Pose, landmarks: Sequence[Landmark]) -> bool:
    return not any(math.isnan(v) for v in (pose.alt, *(m.alt for m in landmarks)))


def _with(pose: Pose, names: tuple[str, ...], values: Floats) -> Pose:
    return msgspec.structs.replace(pose, **dict(zip(names, map(float, values), strict=True)))


def _plausible(pose: Pose) -> bool:
    return 0.1 <= pose.fov <= 179 and -90 <= pose.tilt <= 90


def pose_line(pose: Pose) -> str:
    """The pose as it stands in cameras.toml; what is not known is left out."""
    said = {name: getattr(pose, name) for name in ("lat", "lon", "alt", "azimuth", "tilt", "fov", "azimuth_error")}
    keys = [f"{name} = {value:.10g}" for name, value in said.items() if not math.isnan(value)]
    keys += [f'mast = "{pose.mast}"'] if pose.mast else []
    return f"pose = {{ {', '.join(keys)} }}"
