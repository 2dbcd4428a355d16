"""Checks of the machine: clock, disk, memory, heat, program."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

from edge.clock import EARLIEST, kernel_state
from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, warn
from edge.version import version
from pipeline.message import SECOND, Clock
from pipeline.wire import rfc3339

MB = 1 << 20
LEAST_DISK, LEAST_MEMORY, LOW_MEMORY = 50 * MB, 30 * MB, 100 * MB
HOT_C = 80.0
FAR_AHEAD = 50 * 365 * 86_400 * SECOND
PACKAGES = ("opencv-python-headless", "paho-mqtt", "numpy")


def clock_plausible(patient: Patient) -> Verdict:
    """A board without a battery begins in 1970, or where it was switched off."""
    now = patient.now()
    if EARLIEST <= now < EARLIEST + FAR_AHEAD:
        return ok(rfc3339(now // SECOND * SECOND))
    return fail(
        f"the clock says {rfc3339(now)[:10]}", "set it: sudo date -s '2026-01-31 12:00', then connect a network"
    )


def clock_synchronised(_patient: Patient) -> Verdict:
    state = kernel_state()
    if state == Clock.SYNCED:
        return ok("the kernel says it is")
    said = "the kernel cannot be asked" if state == Clock.UNKNOWN else "no time server has been heard"
    return warn(said, "sudo timedatectl set-ntp true; a GPS receiver or a network must be there")


def disk_space(patient: Patient) -> Verdict:
    """What the spool may still take must fit on the disk."""
    at = os.statvfs(_nearest(patient.data))
    free, most = at.f_bavail * at.f_frsize, patient.settings.spool.max_bytes
    said = f"{free / MB:,.0f} MB free, the spool may take {most / MB:,.0f} MB"
    if free < LEAST_DISK:
        return fail(said, "delete what is not needed; the spool is on the disk of " + str(patient.data))
    return ok(said) if free > most else warn(said, "make room, or lower [spool] max_bytes")


def spool_writable(patient: Patient) -> Verdict:
    folder = patient.data if patient.data.is_dir() else None
    if folder is None:
        return warn(f"{patient.data} is not there yet", "it is made at the agent's first start")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return fail(
            f"{folder}: {error.strerror}", "run this with sudo; if it is read-only, the disk is failing: replace it"
        )
    return ok(str(folder))


def memory(patient: Patient) -> Verdict:
    for line in (patient.root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
            said = f"{free / MB:,.0f} MB available"
            if free < LEAST_MEMORY:
                return fail(said, "stop other programs, or restart the machine")
            return ok(said) if free >= LOW_MEMORY else warn(said, "stop other programs")
    return warn("the kernel does not say", "")


def heat(patient: Patient) -> Verdict:
    found = [_celsius(path) for path in (patient.root / "sys/class/thermal").glob("thermal_zone*/temp")]
    degrees = [value for value in found if value is not None]
    if not degrees:
        return ok("no sensor")
    said = f"{max(degrees):.0f} °C"
    return ok(said) if max(degrees) < HOT_C else warn(said, "give it shade and air: it slows itself down")


def versions(_patient: Patient) -> Verdict:
    """For the phone call with whoever runs the pipeline."""
    parts = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return ok(
        ", ".join([f"vedette-edge {version()}", f"Python {platform.python_version()}", platform.machine(), *parts])
    )


def _nearest(path: Path) -> Path:
    """The path itself or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def _celsius(path: Path) -> float | None:
    try:
        return int(path.read_text()) / 1000
    except (OSError, ValueError):
        return None


CHECKS = (
    Check("clock plausible", clock_plausible),
    Check("clock synchronised", clock_synchronised),
    Check("disk space", disk_space),
    Check("spool writable", spool_writable),
    Check("memory", memory),
    Check("heat", heat),
    Check("versions", versions),
)
