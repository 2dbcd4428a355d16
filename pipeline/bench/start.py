"""`start`: seconds from `vedette up --demo` to ready, to the first alarm, and to alarms of both kinds."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import settings
from pipeline.alarms.book import SqlAlarmBook, open_book
from pipeline.bench.figure import Figure, NotMeasured
from pipeline.bench.options import Options
from pipeline.deployment import SETTINGS_FILE
from pipeline.embedded import child_environment
from pipeline.supervisor import Part, Supervisor

READY_S, ALARM_S = 10.0, 60.0
PATIENCE_S = 180.0
POLL_S = 0.02
NAME = "up"
GRACE_S = 20.0
"""`up` ends its own children in their order; it is not hurried."""


def run(options: Options) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        data = Path(folder) / "data"
        supervisor = Supervisor(Path(folder), options.say)
        command = [sys.executable, "-m", "pipeline", "up", "--demo", "--data", str(data), "--port", "0"]
        env = {**child_environment(os.environ), "PYTHONUNBUFFERED": "1"}
        env.pop("VEDETTE_CONFIG", None)
        begun = time.monotonic()
        try:
            supervisor.start(Part(NAME, command, env, grace=GRACE_S))
            log = Path(folder) / f"{NAME}.log"
            ready = _until(supervisor, lambda: _says_ready(log), begun, "`up` to be ready")
            book = open_book(settings.load(data / SETTINGS_FILE, environ={}))
            first = _until(supervisor, lambda: bool(book.alarms(limit=1)), begun, "the first alarm")
            both = _until(supervisor, lambda: _both(book), begun, "an alarm of each kind")
            book.close()
        finally:
            supervisor.stop()
    note = "`vedette up --demo` on an empty data folder; lower is better"
    return [
        Figure("start_ready", ready, "s", READY_S, f"the target for every part to be well; {note}"),
        Figure("start_first_alarm", first, "s", ALARM_S, f"the target to the first alarm; {note}"),
        Figure(
            "start_both_alarms", both, "s", ALARM_S, f"the same, to a geofence and a fire or smoke alarm; {note}"
        ),
    ]


def _until(supervisor: Supervisor, done: Callable[[], bool], begun: float, what: str) -> float:
    """Seconds since `begun` when `done` first says so."""
    while not done():
        if not supervisor.running(NAME):
            raise NotMeasured(f"`vedette up` ended by itself: {supervisor.last_words(NAME)}")
        if time.monotonic() - begun > PATIENCE_S:
            raise NotMeasured(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(POLL_S)
    return time.monotonic() - begun


def _says_ready(log: Path) -> bool:
    """Its own words, because they come when every part has said that it is well."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    if "not ready" in text:
        raise NotMeasured(next(line for line in text.splitlines() if "not ready" in line))
    return "ready after" in text


def _both(book: SqlAlarmBook) -> bool:
    kinds = {alarm.kind for alarm in book.alarms(limit=1000)}
    return {"geofence", "sighting"} <= kinds
