"""`vedette cameras`"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.cli.common import settings_options
from pipeline.cli.ledgers import print_table
from pipeline.ports import UserError
from pipeline.rules.bearing import look
from pipeline.rules.calibrate import Calibrated, Landmark, calibrate, pose_line
from pipeline.rules.cameras import Camera, Cameras, Pose, load_cameras
from pipeline.settings import Settings

SIZE = (1280, 720)
FOV = 60.0
"""Degrees: a first guess for a camera whose field of view nobody knows."""

json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")
size_option = click.option(
    "--size", type=(click.IntRange(1), click.IntRange(1)), default=SIZE, show_default=True, metavar="WIDTH HEIGHT",
    help="Size of the picture that x and y are pixels of.",
)  # fmt: skip


@click.group("cameras")
def command() -> None:
    """List cameras, turn pixels into bearings, and calibrate where a camera looks.

    Cameras stand in cameras.toml ([cameras] file of the settings). A camera with a pose gives bearings; two from
    different masts give a fire a place.
    """


@command.command("list")
@json_option
@settings_options
def list_cameras(settings: Settings, as_json: bool) -> None:
    """List the cameras of cameras.toml with where they stand and look."""
    found = load_cameras(Path(settings.cameras.file))
    if as_json:
        for camera in found.values():
            click.echo(json.dumps(_row(camera)))
    elif found:
        header = ("CAMERA", "PLACE", "AZIMUTH", "FIELD OF VIEW", "TILT", "MAST")
        print_table(header, [_cells(camera) for camera in found.values()])
    else:
        click.echo(f"no cameras in {settings.cameras.file}: that file shows how to list one", err=True)


@command.command("bearing")
@click.argument("camera")
@click.argument("x", type=float)
@click.argument("y", type=float)
@size_option
@json_option
@settings_options
def bearing(settings: Settings, camera: str, x: float, y: float, size: tuple[int, int], as_json: bool) -> None:
    """Print the bearing (degrees true) and elevation at which a camera sees the pixel X Y."""
    pose = _camera(settings, camera).pose
    if pose is None:
        raise UserError(f"camera {camera} has no pose: `vedette cameras calibrate {camera}` finds one")
    azimuth, elevation = look(pose, size, x, y)
    if as_json:
        click.echo(json.dumps({"camera": camera, "bearing": round(azimuth, 3), "elevation": round(elevation, 3)}))
    else:
        click.echo(f"bearing {azimuth:.2f}° ± {pose.azimuth_error:g}°, elevation {elevation:.2f}°")


@command.command("calibrate")
@click.argument("camera")
@click.option(
    "--landmark", "landmarks", multiple=True, required=True, metavar="X,Y,LAT,LON[,ALT]",
    help="A thing in the picture whose place is known; two or more, far apart in the picture.",
)  # fmt: skip
@click.option(
    "--at", "place", metavar="LAT,LON[,ALT]", help="Where the camera stands, if cameras.toml does not say."
)
@click.option("--fov", type=click.FloatRange(0.1, 179), help="Its horizontal field of view, in degrees, if known.")
@size_option
@json_option
@settings_options
def calibrate_camera(
    settings: Settings, camera: str, landmarks: Sequence[str], size: tuple[int, int], as_json: bool, **options: Any
) -> None:
    """Find where a camera looks from landmarks, by least squares, and print its pose for cameras.toml.

    Two landmarks give the azimuth and how well they agree; three give the field of view too; three with ALT, and
    the camera's own, the tilt as well.

    \b
    Example:
      vedette cameras calibrate north-ridge-1 --landmark 412,300,40.412,116.05 --landmark 1130,310,40.371,116.09
    """
    pose = _start(settings, camera, options["place"], options["fov"])
    marks = [Landmark(*_numbers("--landmark", text, "X,Y,LAT,LON,ALT")) for text in landmarks]
    found = calibrate(pose, size, marks)
    if as_json:
        click.echo(json.dumps({"camera": camera, "pose": _pose(found.pose), **_quality(found)}))
        return
    for mark, off in zip(landmarks, found.residuals, strict=True):
        click.echo(f"landmark {mark}: off by {off:+.2f}°")
    click.echo(f"fitted: {', '.join(found.fitted)}; residual {found.rms:.2f}°")
    if len(marks) < 2:
        click.echo("one landmark cannot be checked: add a second, far from it in the picture", err=True)
    click.echo(f"\n{pose_line(found.pose)}")


def _start(settings: Settings, name: str, place: str | None, fov: float | None) -> Pose:
    """What is known of the pose: of cameras.toml, overridden by the options."""
    listed = load_cameras(Path(settings.cameras.file)).get(name)
    known = listed.pose if listed else None
    if place is None and known is None:
        raise UserError(f"where camera {name} stands is not known: give --at LAT,LON, or a pose in cameras.toml")
    pose = known or Pose(lat=0.0, lon=0.0, azimuth=0.0, fov=FOV)
    if place is not None:
        values = _numbers("--at", place, "LAT,LON,ALT")
        pose = msgspec.structs.replace(pose, **dict(zip(("lat", "lon", "alt"), values, strict=False)))
    return pose if fov is None else msgspec.structs.replace(pose, fov=fov)


def _numbers(option: str, text: str, shape: str) -> list[float]:
    """The numbers of an option written like `shape`, whose last one may be left out."""
    names = shape.split(",")
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    complete = len(names) - 1 <= len(values) <= len(names) and all(map(math.isfinite, values))
    named = dict(zip(names, values, strict=False))
    if not complete or abs(named["LAT"]) > 90 or abs(named["LON"]) > 180:
        raise UserError(f"{option} {text}: write it as {shape}, in pixels, degrees and metres; ALT may be left out")
    return values


def _camera(settings: Settings, name: str) -> Camera:
    cameras: Cameras = load_cameras(Path(settings.cameras.file))
    if name not in cameras:
        known = ", ".join(cameras) or "none"
        raise UserError(f"no camera {name} in {settings.cameras.file}: there are {known}")
    return cameras[name]


def _row(camera: Camera) -> dict[str, Any]:
    return {"camera": camera.name, "pose": _pose(camera.pose) if camera.pose else None}


def _pose(pose: Pose) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in msgspec.to_builtins(pose).items()}


def _quality(found: Calibrated) -> dict[str, Any]:
    return {
        "fitted": found.fitted,
        "residuals": found.residuals,
        "residual": found.rms,
        "line": pose_line(found.pose),
    }


def _cells(camera: Camera) -> tuple[str, ...]:
    pose = camera.pose
    if pose is None:
        return (camera.name, "no pose", "", "", "", "")
    place = f"{pose.lat:.5f}, {pose.lon:.5f}"
    azimuth = f"{pose.azimuth:.1f}° ± {pose.azimuth_error:g}°"
    return (camera.name, place, azimuth, f"{pose.fov:g}°", f"{pose.tilt:g}°", pose.mast or camera.name)
