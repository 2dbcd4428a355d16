"""Checks of the camera or the receiver."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, skip, warn
from edge.probe import Heard, Seen, listen, look
from edge.settings import Camera, Gps, is_live
from edge.shot import without_password

SMALL = 320
HELD = "the running agent holds it; it says: "


def device_there(patient: Patient) -> Verdict:
    """A device of this machine: it is there, and this user may read it."""
    path = _device_path(patient)
    if path is None:
        return skip("the source is no device of this machine")
    if not path.exists():
        return fail(
            f"{path} is not there", "plug it in; `vedette-edge probe` lists cameras, `ls /dev/tty*` serial lines"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return fail(f"{path} may not be read", "run this with sudo; the agent's user must be in video or dialout")
    return ok(str(path))


def camera_opens(patient: Patient) -> Verdict:
    source = patient.settings.source
    if not isinstance(source, Camera):
        return skip("no camera")
    if patient.running and _device_path(patient):
        return _words_of_agent(patient)
    seen = patient.found["seen"] = look(source.url, transport=source.transport)
    return ok(
        f"{without_password(source.url)}: {seen.codec or 'codec unknown'}, first picture in {seen.first_s:.1f} s"
    )


def picture_shows(patient: Patient) -> Verdict:
    seen: Seen | None = patient.found.get("seen")
    if seen is None:
        return skip("no picture was taken")
    if seen.trouble:
        what, _, fix = seen.trouble.partition(": ")
        return warn(what, fix)
    return ok(f"mean grey {seen.mean:.0f} of 255, spread {seen.spread:.0f}")


def picture_size(patient: Patient) -> Verdict:
    seen: Seen | None = patient.found.get("seen")
    if seen is None:
        return skip("no picture was taken")
    said = f"{seen.width} x {seen.height}"
    if max(seen.width, seen.height) >= SMALL:
        return ok(said)
    return warn(said, "choose the camera's main stream: smoke far away needs pixels")


def picture_rate(patient: Patient) -> Verdict:
    """Fewer pictures than are to be sent."""
    seen, source = patient.found.get("seen"), patient.settings.source
    if seen is None or not isinstance(source, Camera):
        return skip("no picture was taken")
    said = f"{seen.fps:.1f} frames/s, one to be sent every {source.interval_s:g} s"
    if not is_live(source.url) or seen.fps * source.interval_s >= 1 or not source.interval_s:
        return ok(said)
    return warn(said, "look at the network between camera and device, or raise [source] interval_s")


def receiver_talks(patient: Patient) -> Verdict:
    source = patient.settings.source
    if not isinstance(source, Gps):
        return skip("no receiver")
    if not is_live(source.url):
        found = Path(source.url).is_file()
        return ok(source.url) if found else fail(f"no file {source.url}", "name the right one in [source] url")
    if patient.running and not source.url.startswith("gpsd:"):
        return _words_of_agent(patient)
    heard = patient.found["heard"] = listen(source)
    if heard.lines:
        return ok(f"{source.url}: {heard.lines} sentences")
    return fail(f"{source.url} is silent", f"check the cable and [source] baud = {source.baud}")


def receiver_fix(patient: Patient) -> Verdict:
    heard: Heard | None = patient.found.get("heard")
    if heard is None:
        return skip("no receiver was listened to")
    if heard.fix is None:
        return warn("no fix yet", "give the antenna a free view of the sky; the first fix may take some minutes")
    return ok(f"{heard.fix.lat:.5f}, {heard.fix.lon:.5f}")


def _words_of_agent(patient: Patient) -> Verdict:
    detail = patient.status.get("detail")
    return (
        warn(HELD + str(detail), "look at its log: journalctl -u 'vedette-edge@*'")
        if detail
        else ok(HELD + "all well")
    )


def _device_path(patient: Patient) -> Path | None:
    url = str(getattr(patient.settings.source, "url", ""))
    path = urlsplit(url).path if url.startswith("serial://") else url
    return Path(path) if path.startswith("/dev/") else None


CHECKS = (
    Check("source device", device_there),
    Check("camera opens", camera_opens),
    Check("picture", picture_shows),
    Check("picture size", picture_size),
    Check("picture rate", picture_rate),
    Check("receiver talks", receiver_talks),
    Check("receiver has a fix", receiver_fix),
)
