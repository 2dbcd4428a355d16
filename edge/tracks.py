"""Track files as live devices: fixes leave when their event time comes, `speed` times as fast as recorded.

One such agent speaks for many units, as a gateway does. Once a minute of event time, and at the end, it promises
(`until`) that everything up to that event time has been sent.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import SetupError
from edge.outlet import Outlet
from edge.settings import Tracks
from pipeline.message import SECOND, Fix, Fixes, PositionBatch
from pipeline.trackfile import Progress, TrackError, fixes_of, read_columns

log = logging.getLogger(__name__)
PROMISE_EVERY = 60 * SECOND
AT_MOST_LATE_S = 0.2
"""Fixes due within this time go in one message: it bounds both the delay and the number of messages."""


@dataclass(slots=True)
class Pacer:
    """Event time to wall time: `speed` seconds of event time in a second; 0 means as fast as possible."""

    first: int
    speed: float
    started: float = field(default_factory=time.monotonic)

    def wait_s(self, at: int, now: float) -> float:
        """Seconds until event time `at`, negative when it has passed."""
        return self.started + (at - self.first) / SECOND / self.speed - now if self.speed else 0.0


class TrackSource:
    """Sends what it has read whole (some 300 bytes a fix). A restart goes on after the last message kept.

    The files are read at once: SetupError for one that cannot be read or has a bad line, before anything is sent.
    """

    def __init__(self, settings: Tracks) -> None:
        self.trouble = ""
        self._settings = settings
        self._fixes = self._read()

    def run(self, outlet: Outlet, stop: threading.Event) -> None:
        """Until all is spooled or `stop`."""
        fixes = self._fixes
        name = self._name()
        done = _done(outlet.cursor, name)
        log.info("%d fixes in %d files, %d sent before", len(fixes), len(self._settings.files), done)
        rest = itertools.islice(fixes_of(fixes), done, None)
        for body in bodies(rest, self._settings.batch, self._settings.speed):
            if not self._await(body, stop) or not outlet.wait_for_room(stop):
                return
            done += len(body.fixes)
            while not outlet.send("position", [body], cursor=f"{name} {done}") and not stop.wait(1.0):
                pass  # a recording can wait until the disk takes it
        log.info("all %d fixes are spooled", done)

    def _read(self) -> PositionBatch:
        progress = Progress()
        try:
            batch = read_columns(self._settings.files, on_bad=self._settings.on_bad, progress=progress)
        except TrackError as error:
            raise SetupError(str(error)) from None
        for bad in progress.skipped[:20]:
            log.warning("left out: %s", bad)
        if progress.skipped:
            self.trouble = f"{len(progress.skipped)} of {progress.lines} lines left out"
        return batch

    def _name(self) -> str:
        """What is being sent: another set of files, other content or another `run` begins at the beginning."""
        sizes = [(path, Path(path).stat().st_size) for path in self._settings.files]
        return hashlib.sha256(repr((sizes, self._settings.run)).encode()).hexdigest()[:16]

    _pacer: Pacer | None = None

    def _await(self, body: Fixes, stop: threading.Event) -> bool:
        """Wait until the last fix of `body` is due. False when stopping."""
        if self._pacer is None:
            self._pacer = Pacer(body.fixes[0].at, self._settings.speed)
        wait = self._pacer.wait_s(body.fixes[-1].at, time.monotonic())
        return not (stop.wait(wait) if wait > 0 else stop.is_set())


def _done(cursor: str, name: str) -> int:
    """How many fixes of `name` the cursor says are kept."""
    before, _, done = cursor.partition(" ")
    return int(done) if before == name and done.isdigit() else 0


def bodies(fixes: Iterable[Fix], batch: int, speed: float) -> Iterator[Fixes]:
    """Messages of up to `batch` fixes that are due together.

    Every minute of event time, and at the end, a message carries `until`: every fix with an event time up to it has
    then been sent, so it never equals the time of a fix that is still to come.
    """
    span = round(AT_MOST_LATE_S * speed * SECOND) if speed else None
    group: list[Fix] = []
    promised: int | None = None
    for fix in fixes:
        promised = fix.at if promised is None else promised
        if group and (len(group) >= batch or (span is not None and fix.at - group[0].at > span)):
            until = fix.at - 1 if fix.at - promised >= PROMISE_EVERY else None
            promised = fix.at if until is not None else promised
            yield Fixes(group, until)
            group = []
        group.append(fix)
    if group:
        yield Fixes(group, group[-1].at)
