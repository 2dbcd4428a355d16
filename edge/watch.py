"""Reading from something that may hang: the watchdog stands outside the read.

A read that blocks for good cannot be interrupted from Python. So each opening of a source reads in a thread of its
own; when that thread has said nothing for too long it is abandoned and another opening is tried, later each time.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edge.errors import HungTooOften, SourceError

log = logging.getLogger(__name__)
T = TypeVar("T")
TURN_S = 0.1
LAST_READ_S = 1.5
"""Longest wait for a read to end when all ends."""
MOST_ABANDONED = 8
"""Hung reads after which the process gives up, so that its supervisor frees what they hold."""


@dataclass(slots=True)
class BackOff:
    """Waiting times that double from `first` to `most` seconds, each with full jitter in its upper half."""

    first: float = 1.0
    most: float = 60.0
    chance: random.Random = field(default_factory=random.Random)
    _tries: int = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        whole = min(self.first * 2.0 ** min(self._tries, 30), self.most)
        self._tries += 1
        return whole * self.chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The source is well again."""
        self._tries = 0


@dataclass(frozen=True, slots=True)
class _End:
    trouble: str = ""


class Watched(Generic[T]):
    """Items of a source that is opened again whenever it ends, fails or stalls.

    `open_source` returns an iterator; both run in a reader thread, and whatever they raise becomes the `trouble`.
    The iterator must look at the event it is given and end when it is set. With `once` the end of the iterator is
    the end of the input. It may take `open_s` seconds to the first item, and `stall_s` to each further one.
    `turn` is called several times a second in the thread that takes the items, whether or not any come.
    """

    def __init__(
        self,
        open_source: Callable[[threading.Event], Iterator[T]],
        *,
        stall_s: float,
        open_s: float = 0.0,
        once: bool = False,
        back_off: BackOff | None = None,
        turn: Callable[[], None] = lambda: None,
    ) -> None:
        self.trouble = ""
        self._open = open_source
        self._stall_s, self._open_s = stall_s, max(open_s, stall_s)
        self._once = once
        self._turn = turn
        self._back_off = back_off or BackOff()
        self._abandoned: list[threading.Thread] = []

    def items(self, stop: threading.Event) -> Iterator[T]:
        """Until `stop` is set, or the input ends with `once`. HungTooOften after too many hung reads."""
        while not stop.is_set():
            try:
                yield from self._one_opening(stop)
                if self._once or stop.is_set():
                    return
                self._say("the source ended")
            except SourceError as error:
                self._say(str(error))
            wait = self._back_off.next()
            log.warning("%s; trying again in %.1f s", self.trouble, wait)
            self._rest(wait, stop)

    def _say(self, trouble: str) -> None:
        self.trouble = trouble

    def _rest(self, seconds: float, stop: threading.Event) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, TURN_S)):
            self._turn()

    def _one_opening(self, stop: threading.Event) -> Iterator[T]:
        """Items of one opening. SourceError when it fails or stalls."""
        closing = threading.Event()
        # Two slots: a reader that is faster than we are waits in `put`, and the newest picture is never far behind.
        items: queue.Queue[T | _End] = queue.Queue(2)
        thread = threading.Thread(target=self._read, args=(items, closing), name="reader", daemon=True)
        thread.start()
        heard, limit = time.monotonic(), self._open_s
        try:
            while not stop.is_set():
                self._turn()
                try:
                    item = items.get(timeout=TURN_S)
                except queue.Empty:
                    if time.monotonic() - heard > limit:
                        self._abandon(thread, limit)
                    continue
                if isinstance(item, _End):
                    if item.trouble:
                        raise SourceError(item.trouble)
                    return
                self.trouble = ""
                self._back_off.reset()
                yield item
                heard, limit = time.monotonic(), self._stall_s
        finally:
            closing.set()
            if stop.is_set():  # a thread that is within OpenCV when Python ends takes the process down with it
                thread.join(LAST_READ_S)

    def _read(self, items: queue.Queue[T | _End], closing: threading.Event) -> None:
        """The reader thread. What goes wrong here, OpenCV's own errors too, is told where the items are awaited."""
        end = _End()
        try:
            for item in self._open(closing):
                if not _put(items, item, closing):
                    return
        except (SourceError, OSError, ValueError) as error:
            end = _End(str(error) or type(error).__name__)
        except Exception as error:  # process edge: a thread that ended without a word would look like a stall
            log.exception("reading ended by an error that nobody foresaw")
            end = _End(" ".join(f"{type(error).__name__}: {error}".split()))
        _put(items, end, closing)

    def _abandon(self, thread: threading.Thread, limit: float) -> None:
        self._abandoned = [*(t for t in self._abandoned if t.is_alive()), thread]
        if len(self._abandoned) > MOST_ABANDONED:
            raise HungTooOften(f"{len(self._abandoned)} reads hang; starting the process anew is the only cure")
        raise SourceError(f"nothing came for {limit:g} s")


def _put(items: queue.Queue[T | _End], item: T | _End, closing: threading.Event) -> bool:
    """Wait for room, but not when nobody listens any more."""
    while not closing.is_set():
        try:
            items.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False
