"""What a source is given: the place to put what it saw. Every message is on the disk when `send` returns."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from edge.doubt import Doubts
from edge.errors import SpoolError, TooLarge
from edge.settings import MOST_FIXES
from edge.spool import OVERHEAD, Spool
from pipeline import wire
from pipeline.message import Fixes, Readings

log = logging.getLogger(__name__)
MOST_WAITING = 20_000


class Outlet:
    """Encodes, spools, and wakes the publisher. `trouble` says why something could not be kept, if so.

    What is urgent, and while a backlog goes out also the pictures of now, go into the `express` spool, if there is
    one. Positions and readings never overtake their own kind: rules want them in order.
    """

    def __init__(
        self,
        spool: Spool,
        wake: Callable[[], None],
        doubts: Doubts | None = None,
        *,
        express: Spool | None = None,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._spool, self._express, self._behind = spool, express, behind
        self._doubts = doubts
        self._wake = wake
        self._complained = 0.0
        self.trouble = ""

    @property
    def cursor(self) -> str:
        """Where a source of recorded input stood when the last message was kept."""
        return self._spool.cursor

    @property
    def full(self) -> float:
        """The share of the spool that is taken."""
        return self._spool.bytes / self._spool.max_bytes

    def send(
        self, kind: str, bodies: Sequence[msgspec.Struct], *, cursor: str | None = None, urgent: bool = False
    ) -> bool:
        """Keep the bodies; False if the disk or the size forbids it. Then they are lost and counted as dropped.

        A body with more fixes or readings than one message may have becomes several. What is `urgent` (alarm
        evidence) goes before all else and never gives way in a full spool.
        """
        parts = [part for body in bodies for part in parted(body)]
        encoded = [wire.encode_body(part, binary=kind == "frame") for part in parts]
        spool = self._spool_for(kind, sum(map(len, encoded)), urgent=urgent)
        try:
            last = spool.append(kind, *encoded, cursor=cursor, keep=urgent)
        except (SpoolError, TooLarge) as error:
            self._complain(str(error))
            return False
        if self._doubts:
            self._doubts.note(spool, last, parts)
        self.trouble = ""
        self._wake()
        return True

    def _spool_for(self, kind: str, size: int, *, urgent: bool) -> Spool:
        """Evidence that the express spool has no room for waits with the rest: better late than never."""
        express = self._express
        if express is None or not (urgent or (kind == "frame" and self._behind())):
            return self._spool
        has_room = express.bytes + size + OVERHEAD * MOST_FIXES < express.max_bytes
        return express if has_room or not urgent else self._spool

    def wait_for_room(self, stop: threading.Event) -> bool:
        """For recorded input, which can wait: until the spool has emptied somewhat. False when stopping."""
        while not stop.is_set():
            summary = self._spool.summary()
            if summary.waiting < MOST_WAITING and summary.bytes < self._spool.max_bytes // 2:
                return True
            stop.wait(0.05)
        return False

    def _complain(self, text: str) -> None:
        """At most once in ten seconds: a full disk must not fill the log as well."""
        if text != self.trouble or time.monotonic() - self._complained > 10:
            log.error("not kept: %s", text)
            self._complained = time.monotonic()
        self.trouble = text


def parted(body: msgspec.Struct) -> Iterator[msgspec.Struct]:
    """The body, in several if it is too long; what it promises (`until`) is said by the last of them."""
    match body:
        case Fixes(fixes=fixes) if len(fixes) > MOST_FIXES:
            for start in range(0, len(fixes), MOST_FIXES):
                last = start + MOST_FIXES >= len(fixes)
                yield Fixes(fixes[start : start + MOST_FIXES], body.until if last else None)
        case Readings(readings=readings) if len(readings) > MOST_FIXES:
            for start in range(0, len(readings), MOST_FIXES):
                yield Readings(readings[start : start + MOST_FIXES])
        case _:
            yield body


class Source(Protocol):
    """A camera, a receiver, a file. `run` blocks in a thread of its own until `stop` is set or the input ends.

    It may raise SetupError (a person must mend it) and OSError; what comes and goes it handles itself and says so
    in `trouble`, which is empty when all is well.
    """

    @property
    def trouble(self) -> str: ...

    def run(self, outlet: Outlet, stop: threading.Event) -> None: ...


@runtime_checkable
class Counting(Protocol):
    """A source that has more to tell `status` than its trouble. Called by another thread, twice a second."""

    def facts(self) -> dict[str, Any]: ...
