"""One device: its source, its spool, its publisher, and what it says of itself.

    source ──► outlet ──► spool ──► publisher ──► broker
                            ▲───────────┘ receipts

The source, the publisher and the network each have a thread; this one watches them. It ends when it is told to,
when a finite source is done and all is confirmed (`exit_when_done`), or when a thread has died, with status 1, so
that a supervisor starts it again; the spool goes on where it stood.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import IO, Any

from edge import notify
from edge.doubt import Doubts
from edge.errors import EdgeError, SetupError
from edge.outlet import Counting, Outlet, Source
from edge.publish import Publisher
from edge.settings import Settings, Tracks, is_live
from edge.sources import make_source
from edge.spool import Spool
from edge.version import version

log = logging.getLogger(__name__)
STATUS_EVERY_S = 0.5
SPOOL, EXPRESS, STATUS, LOCK = "spool.db", "express.db", "status.json", "agent.lock"


class Agent:
    """Runs one device until `stop` is set. SetupError from the constructor and from `run`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self._data = Path(settings.data)
        self._lock = lock(self._data)
        most = settings.spool.max_bytes
        self._express = Spool(self._data / EXPRESS, max_bytes=most // 4) if lives(settings.source) else None
        self._spool = Spool(self._data / SPOOL, max_bytes=most - most // 4 if self._express else most)
        self._publisher = Publisher(
            settings.device,
            self._spool,
            settings.mqtt,
            publish=settings.publish,
            express=self._express,
            version=version(),
            said=self._said,
        )
        self._doubts = Doubts()
        self._outlet = Outlet(
            self._spool,
            self._publisher.wake,
            self._doubts,
            express=self._express,
            behind=lambda: self._publisher.behind,
        )
        self._source: Source = make_source(settings)
        self._failure: EdgeError | OSError | None = None
        self._thread = threading.Thread(target=self._run_source, name="source", daemon=True)
        self._source_ended = self._source_done = False
        self._ill = ""

    def run(self) -> int:
        """Exit status: 0 when told to stop or done, 1 when something died. SetupError from the source."""
        self._publisher.start()
        self._thread.start()
        notify.notify(notify.READY)
        try:
            while not self.stop.wait(STATUS_EVERY_S) and self._well() and not self._finished():
                self._mend_stamps()
                self._write_status("running")
                notify.notify(notify.ALIVE)
        finally:
            notify.notify(notify.STOPPING)
            self.stop.set()
            self._thread.join(2)
            self._publisher.stop(finished=self._finished())
            self._write_status("finished" if self._finished() else "ended")
            self._spool.close()
            if self._express is not None:
                self._express.close()
            self._lock.close()
        if isinstance(self._failure, SetupError):
            raise self._failure
        return 1 if self._ill else 0

    # ------------------------------------------------------------ watching

    def _well(self) -> bool:
        """Whether every thread is alive or has ended as it should."""
        if self._failure is not None:
            self._ill = f"the source failed: {self._failure}"
        elif not self._thread.is_alive() and not self._source_ended:
            self._ill = "the source's thread has died"
        elif not self._publisher.alive:
            self._ill = "the publisher's thread has died"
        if self._ill and not isinstance(self._failure, SetupError):
            log.error("%s; ending, so that a supervisor starts the agent anew", self._ill)
        return not self._ill

    def _mend_stamps(self) -> None:
        for spool in filter(None, (self._spool, self._express)):
            self._doubts.correct(spool)

    def _finished(self) -> bool:
        return self.settings.exit_when_done and self._source_done and not self._publisher.summary().waiting

    def _run_source(self) -> None:
        try:
            self._source.run(self._outlet, self.stop)
            self._source_done = not self.stop.is_set()
            self._source_ended = True
        except (EdgeError, OSError) as error:
            self._failure = error

    def _said(self) -> str:
        """What is wrong, in a few words; empty when all is well."""
        return "; ".join(filter(None, (self._outlet.trouble, self._source.trouble)))

    def _write_status(self, state: str) -> None:
        """For `vedette-edge status`. A disk that takes no more must not end the agent."""
        row = status_row(self.settings, self._publisher)
        row |= {"state": state, "detail": "; ".join(filter(None, (self._said(), self._publisher.trouble)))}
        if isinstance(self._source, Counting):
            row["source_facts"] = self._source.facts()
        try:
            write_whole(self._data / STATUS, json.dumps(row))
        except OSError as error:
            log.warning("cannot write %s: %s", self._data / STATUS, error.strerror)


def write_whole(path: Path, text: str) -> None:
    """Another file in its place. A full disk has no room for another: there the words go into the file itself."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        if error.errno != errno.ENOSPC or not path.exists():
            raise
        with path.open("r+") as file:
            file.write(text.ljust(path.stat().st_size))


def lives(source: object) -> bool:
    """Whether the source shows what is now; a recording is sent in its order and as fast as it goes."""
    return not isinstance(source, Tracks) and is_live(getattr(source, "url", "") or "now://")


def status_row(settings: Settings, publisher: Publisher) -> dict[str, Any]:
    """What the agent knows of itself, as it stands in status.json. Times in microseconds."""
    summary = publisher.summary()
    return {
        "device": settings.device,
        "source": type(settings.source).__name__.lower(),
        "pid": os.getpid(),
        "written": time.time_ns() // 1000,
        "connected": publisher.connected,
        "epoch": summary.epoch,
        "sent": max(publisher.sent, summary.base - 1),
        "confirmed": summary.base - 1,
        "waiting": summary.waiting,
        "oldest": summary.oldest,
        "bytes": summary.bytes,
        "dropped": summary.dropped,
    }


def lock(data: Path) -> IO[str]:
    """The data folder for this process alone. SetupError if another agent has it."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = (data / LOCK).open("a")
    except OSError as error:
        raise SetupError(f"{data}: cannot be written: {error.strerror}; name another folder with --data") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise SetupError(f"{data}: another agent is running on it; one device, one agent, one folder") from None
    return handle


def is_running(data: Path) -> bool:
    """Whether an agent holds the folder's lock now."""
    try:
        with (data / LOCK).open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
