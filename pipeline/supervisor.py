"""Child processes that are started, watched, started again when they end, and never left behind.

A child dies with its parent, even by kill -9 (PR_SET_PDEATHSIG): so every child is started from the main thread,
because the kernel means the thread that forked. It has a session of its own, so that a Ctrl-C in the terminal
reaches only the parent, who ends the parts in their order. What a child prints goes to a log of bounded size.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import logging.handlers
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_BYTES, LOG_FILES = 5_000_000, 2
"""Of one part: three files of 5 MB at the most."""
BACK_OFF_S, BACK_OFF_MAX_S, STEADY_S = 0.5, 30.0, 60.0
"""A part that ends is started again after 0.5 s, 1 s, 2 s, ...; one that held a minute starts over at 0.5 s."""
USER_ERROR = 2
"""Exit status of a part that says what a person has to mend."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the system. Parts end in ascending `order`, those of one order together, within `grace` s."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    order: int = 0
    grace: float = 4.0


@dataclass(slots=True)
class Child:
    """A part while it is supervised. `due` is when to start it again; None while it runs or is done."""

    part: Part
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    reader: threading.Thread
    restarts: int = 0
    back_off: float = BACK_OFF_S
    due: float | None = None
    done: bool = False


@dataclass(slots=True)
class Supervisor:
    """`start` parts, call `tend` often, `stop` at the end; all from the main thread. `say` tells the person."""

    folder: Path
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)

    def start(self, part: Part) -> None:
        """Start a part. OSError if its program cannot be run."""
        log = self.folder / f"{part.name}.log"
        process, reader = _spawn(part, log)
        self.children[part.name] = Child(part, process, log, time.monotonic(), reader)
        self.say(f"  {part.name:<18} pid {process.pid}")

    def restart(self, name: str, why: str) -> None:
        """End a part that runs but does not work; `tend` starts it again."""
        self.say(f"  {name:<18} is started again: {why}")
        child = self.children[name]
        child.process.terminate()
        try:
            child.process.wait(child.part.grace)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.due = time.monotonic()

    def running(self, name: str) -> bool:
        """Whether the part runs at this moment."""
        return name in self.children and self.children[name].process.poll() is None

    def tend(self) -> None:
        """Notice what has ended, start again what is due."""
        for child in self.children.values():
            if child.due is not None:
                self._restart_if_due(child)
            elif not child.done and child.process.poll() is not None:
                self._ended(child)

    def last_words(self, name: str) -> str:
        """The last line that a part has printed."""
        child = self.children[name]
        child.reader.join(1.0)
        lines = child.log.read_text("utf-8", "replace").splitlines() if child.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def status(self, name: str) -> int | None:
        """Exit status of a part that has ended; None while it runs."""
        return self.children[name].process.poll()

    def stop(self) -> None:
        """End all parts by SIGTERM in their order, by SIGKILL where that takes too long; none is left."""
        for order in sorted({child.part.order for child in self.children.values()}):
            _end([child for child in self.children.values() if child.part.order == order])

    def _ended(self, child: Child) -> None:
        status = child.process.returncode
        if status == 0:
            child.done = True
            self.say(f"  {child.part.name:<18} is done")
            return
        if time.monotonic() - child.started > STEADY_S:
            child.back_off = BACK_OFF_S
        child.due = time.monotonic() + child.back_off
        how = f"signal {-status}" if status < 0 else f"exit {status}"
        words = f": {self.last_words(child.part.name)[:200]}" if status > 0 else ""
        self.say(f"  {child.part.name:<18} ended ({how}), again in {child.back_off:g} s{words}")
        child.back_off = min(2 * child.back_off, BACK_OFF_MAX_S)

    def _restart_if_due(self, child: Child) -> None:
        if child.due is None or time.monotonic() < child.due:
            return
        child.due = None
        child.restarts += 1
        child.started = time.monotonic()
        child.process, child.reader = _spawn(child.part, child.log)
        self.say(f"  {child.part.name:<18} pid {child.process.pid} (restart {child.restarts})")


def _end(children: Sequence[Child]) -> None:
    for child in children:
        child.due, child.done = None, True
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + max((child.part.grace for child in children), default=0.0)
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.reader.join(1.0)


def _spawn(part: Part, log: Path) -> tuple[subprocess.Popen[bytes], threading.Thread]:
    _libc()
    process = subprocess.Popen(
        list(part.command),
        env=dict(part.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=functools.partial(_die_with_parent, os.getpid()),
    )
    reader = threading.Thread(target=_keep, args=(process, log), name=f"log of {part.name}", daemon=True)
    reader.start()
    return process, reader


def _keep(process: subprocess.Popen[bytes], path: Path) -> None:
    """Copy what the child prints into its log until it ends."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    assert process.stdout is not None
    for line in process.stdout:
        handler.handle(logging.makeLogRecord({"msg": line.decode("utf-8", "replace").rstrip("\n"), "args": None}))
    handler.close()
    process.stdout.close()


@functools.cache
def _libc() -> ctypes.CDLL:
    """Loaded before the fork: between fork and exec nothing may be imported."""
    return ctypes.CDLL(None)


def _die_with_parent(parent: int) -> None:
    """In the child, before exec. The parent may have died before prctl was called."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
