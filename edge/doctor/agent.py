"""Checks of the running agent, its spool and its service."""

from __future__ import annotations

import sqlite3
import subprocess

from edge.agent import SPOOL
from edge.doctor.verdict import Check, Patient, Verdict, fail, ok, skip, warn
from edge.install import has_systemd
from edge.places import Places
from edge.status import sentence

OLD_S = 3600.0


def agent_runs(patient: Patient) -> Verdict:
    service = Places(patient.root, patient.settings.device).service
    if not patient.status:
        return fail(
            "it has never run here", f"start it: sudo systemctl start {service}, or vedette-edge run CONFIG"
        )
    verdict = patient.status["verdict"]
    if verdict in ("ok", "finished"):
        return ok(sentence(patient.status))
    if verdict == "down":
        return fail(f"not since {patient.status['written']}", f"journalctl -u {service} says why; start it again")
    return fail(sentence(patient.status), "" if verdict == "refused" else f"sudo systemctl restart {service}")


def spool_whole(patient: Patient) -> Verdict:
    path = patient.data / SPOOL
    if not path.exists():
        return skip("there is none yet")
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        said = str(error)
    if said == "ok":
        return ok(f"{path.stat().st_size / (1 << 20):.1f} MB on disk")
    return fail(
        f"damaged: {said}", "restart the agent: it moves the file aside and begins a new one; replace the disk"
    )


def spool_age(patient: Patient) -> Verdict:
    if not patient.status:
        return skip("no agent has run")
    age, waiting = patient.status["oldest_age_s"], patient.status["waiting"]
    if age is None:
        return ok("nothing waits")
    said = f"{waiting} wait, the oldest for {age:.0f} s"
    return ok(said) if age < OLD_S else warn(said, "they go out by themselves once the broker is reached")


def nothing_dropped(patient: Patient) -> Verdict:
    if not patient.status:
        return skip("no agent has run")
    dropped = patient.status["dropped"]
    if not dropped:
        return ok("none since the spool was made")
    return warn(f"{dropped} messages", "the spool was full: raise [spool] max_bytes, or look at the connection")


def starts_at_boot(patient: Patient) -> Verdict:
    if not has_systemd(patient.root):
        return warn(
            "systemd does not run this machine", "whatever starts the agent must start it again when it ends"
        )
    service = Places(patient.root, patient.settings.device).service
    said = _systemctl("is-enabled", service)
    return ok(service) if said == "enabled" else warn(f"{service}: {said}", f"sudo systemctl enable {service}")


def watchdog(patient: Patient) -> Verdict:
    if not has_systemd(patient.root):
        return skip("systemd does not run this machine")
    service = Places(patient.root, patient.settings.device).service
    said = _systemctl("show", "--property=WatchdogUSec", "--value", service)
    if said and said not in ("0", "infinity"):
        return ok(f"systemd starts a hung agent again after {said}")
    return warn("the service has none", "run vedette-edge install again: it writes the service's file anew")


def _systemctl(*words: str) -> str:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout.strip() or done.stderr.strip()


CHECKS = (
    Check("agent", agent_runs),
    Check("spool", spool_whole),
    Check("what waits", spool_age),
    Check("given up", nothing_dropped),
    Check("starts at boot", starts_at_boot),
    Check("watchdog", watchdog),
)
