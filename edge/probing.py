"""What `vedette-edge probe` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import cv2

from edge.discover import GROUP, PORT, onvif_cameras, video_devices
from edge.errors import SetupError, SourceError
from edge.probe import Heard, Seen, listen, look
from edge.settings import Gps
from edge.shot import without_password

RECEIVERS = ("gpsd://", "serial://", "/dev/tty")
PICTURE = Path("probe.jpg")


def show(url: str, *, seconds: float, transport: str, picture: Path | None, as_json: bool, **_unused: Any) -> int:
    """Look at one source: 0 when it shows something, 1 when not."""
    try:
        if url.startswith(RECEIVERS):
            return _receiver(url, listen(Gps(url=url), seconds=max(seconds, 5.0)), as_json)
        return _camera(url, look(url, seconds=seconds, transport=transport), picture or PICTURE, as_json)
    except SourceError as error:
        click.echo(json.dumps({"url": without_password(url), "error": str(error)}) if as_json else f"FAIL  {error}")
        return 1


def find(*, seconds: float, interface: str, address: str, as_json: bool, **_unused: Any) -> int:
    """List what answers; 0 when something does."""
    host, _, port = address.partition(":")
    try:
        cameras = onvif_cameras(seconds, interface=interface, address=(host or GROUP, int(port or PORT)))
    except ValueError:
        raise SetupError(f"--address {address!r}: write it like 192.0.2.10, or with a port") from None
    devices = video_devices()
    for camera in cameras:
        words = " ".join(filter(None, (camera.name, camera.hardware)))
        row = {"kind": "onvif", "host": camera.host, "name": words, "service": camera.service}
        click.echo(json.dumps(row) if as_json else f"{camera.host:<22}{words:<30}ONVIF {camera.service}")
    for path, name in devices:
        click.echo(json.dumps({"kind": "v4l2", "path": path, "name": name}) if as_json else f"{path:<22}{name}")
    if not (cameras or devices):
        click.echo(f"no camera answered within {seconds:g} s, and this machine has no video device", err=True)
    elif cameras and not as_json:
        click.echo("Next: vedette-edge probe rtsp://USER:PASSWORD@HOST/PATH (the path is in the camera's manual)")
    return 0 if cameras or devices else 1


def _camera(url: str, seen: Seen, picture: Path, as_json: bool) -> int:
    if not cv2.imwrite(str(picture), seen.image):
        raise SetupError(f"{picture}: cannot be written: name another file with --picture, like seen.jpg")
    row = {
        "url": without_password(url),
        "codec": seen.codec,
        "width": seen.width,
        "height": seen.height,
        "fps": round(seen.fps, 2),
        "declared_fps": round(seen.declared_fps, 2),
        "first_s": round(seen.first_s, 3),
        "frames": seen.frames,
        "trouble": seen.trouble,
        "picture": str(picture),
    }
    if as_json:
        click.echo(json.dumps(row))
    else:
        declared = f" (it says {seen.declared_fps:g})" if seen.declared_fps else ""
        click.echo(f"codec          {seen.codec or 'unknown'}\nsize           {seen.width} x {seen.height} pixels")
        click.echo(f"frames/s       {seen.fps:.1f}{declared}\nfirst picture  after {seen.first_s:.2f} s")
        click.echo(f"shows          {seen.trouble or 'something'}\nwritten        {picture}")
    return 1 if seen.trouble else 0


def _receiver(url: str, heard: Heard, as_json: bool) -> int:
    fix = heard.fix
    if as_json:
        place = {"lat": fix.lat, "lon": fix.lon} if fix else {}
        click.echo(json.dumps({"url": url, "sentences": heard.lines, **place}))
    else:
        click.echo(f"sentences      {heard.lines}")
        click.echo(f"fix            {f'{fix.lat:.5f}, {fix.lon:.5f}' if fix else 'none yet: is the sky in view?'}")
    return 0 if heard.lines else 1
