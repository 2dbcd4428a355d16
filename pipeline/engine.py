"""The loop between the log and a stage: batches, retries, snapshots, acknowledgements.

    records ─► stage.handle (pure, per partition) ─► stage.commit (durable) ─► signals appended ─► snapshot ─► ack

A snapshot holds the state of a partition and the offset it includes, and it is the authority on where to go on:
an acknowledgement to Faust only follows it. Faust can commit past a record that was never handled (an in-flight
message, a rebalance); a first record that lies beyond the snapshot is therefore answered by seeking back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

import faust
from faust import Stream
from faust.types import TP, EventT

from pipeline.log import Log
from pipeline.ports import Snapshots
from pipeline.reload import Reload
from pipeline.retry import Patience
from pipeline.stage import Stage

logger = logging.getLogger(__name__)

S = TypeVar("S")
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


@dataclass(frozen=True)
class Saving:
    """A snapshot taken and not yet saved: the log may still lose its newest records in a power cut."""

    taken: float
    offset: int
    data: bytes
    events: list[EventT[Any]]


@dataclass
class Part(Generic[S]):
    """One partition in this worker: its state, the last offset in it, and the records not yet acknowledged."""

    state: S
    offset: int
    held: list[EventT[Any]] = field(default_factory=list)
    saving: Saving | None = None
    sought: bool = False


@dataclass
class Figures:
    """Counts since the start, for the pulse."""

    records: int = 0
    lost: int = 0
    handled: int = 0


class Engine(Generic[S, O]):
    """Runs one stage. Called from one Faust agent (`consume`) and one Faust task (`run`)."""

    def __init__(
        self,
        stage: Stage[S, O],
        *,
        name: str,
        log: Log,
        snapshots: Snapshots,
        interval: float,
        settle: float = 0.0,
        reload: Reload | None = None,
    ) -> None:
        self.stage, self._reload = stage, reload
        self.name = name
        self.figures = Figures()
        self._patience = Patience(name)
        self._log = log
        self._snapshots = snapshots
        self._interval, self._settle = interval, settle
        self._turned = time.monotonic()
        self._parts: dict[TP, Part[S]] = {}
        self._inbox: asyncio.Queue[EventT[Any]] = asyncio.Queue(maxsize=4 * stage.max_records)
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-stage")

    # -------------------------------------------------------------- called by Faust

    async def consume(self, app: faust.App, stream: Stream[bytes]) -> None:
        """The body of the agent: read ahead, at most four batches."""
        self._app = app
        async for event in stream.noack().events():
            await self._inbox.put(event)
        if not app.should_stop:
            raise RuntimeError(f"the stream of {self.stage.topic} ended by itself")

    async def run(self) -> None:
        """The body of the task: handle what is there, snapshot when it is time."""
        due = time.monotonic() + self._interval
        while True:
            self._turned = time.monotonic()
            events = await self._take(max(0.0, due - time.monotonic()))
            async with self._turn:
                if self._reload is not None and self._reload.due():
                    await self._renew(self._reload)
                if events:
                    await self._handle(events)
                if time.monotonic() >= due:
                    await self._snapshot()
                    due = time.monotonic() + self._interval

    async def release(self, partitions: Iterable[TP]) -> None:
        """Partitions are going to another worker: snapshot, acknowledge and forget them and what waits of them."""
        leaving = set(partitions)
        async with self._turn:
            await self._snapshot()
            for tp in leaving:
                self._parts.pop(tp, None)
            waiting = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
            for event in waiting:
                if event.message.tp not in leaving:
                    self._inbox.put_nowait(event)

    @property
    def trouble(self) -> str:
        """What the engine is waiting for right now, empty when nothing."""
        return self._patience.trouble

    @property
    def notice(self) -> str:
        """What a person has to mend, while the engine goes on; empty when nothing."""
        return self._reload.trouble if self._reload else ""

    @property
    def turning_for(self) -> float:
        """Seconds since the present turn began: more than a few means that a call hangs."""
        return time.monotonic() - self._turned

    def behind(self) -> int:
        """Records on the log that this worker has been given and has not handled, as far as it knows."""
        assigned = self._app.consumer.assignment()
        ends = {tp: self._app.consumer.highwater(tp) for tp in self._parts if tp in assigned}
        return sum(max(0, end - 1 - self._parts[tp].offset) for tp, end in ends.items() if end)

    @property
    def waiting(self) -> int:
        """Records read and not yet handled."""
        return self._inbox.qsize()

    @property
    def held(self) -> int:
        """Records handled and not yet acknowledged."""
        saving = [part.saving.events for part in self._parts.values() if part.saving]
        return sum(map(len, saving)) + sum(len(part.held) for part in self._parts.values())

    # -------------------------------------------------------------- one turn

    async def _take(self, patience: float) -> list[EventT[Any]]:
        """All that is waiting, up to a batch; waits for the first at most `patience` seconds."""
        try:
            async with asyncio.timeout(max(patience, 0.001)):
                events = [await self._inbox.get()]
        except TimeoutError:
            return []
        while len(events) < self.stage.max_records and not self._inbox.empty():
            events.append(self._inbox.get_nowait())
        return events

    async def _handle(self, events: list[EventT[Any]]) -> None:
        outcomes: list[O] = []
        assigned = self._app.consumer.assignment()
        for tp, group in _by_partition(events).items():
            if tp not in assigned:
                continue  # it went to another worker, which goes on from our snapshot
            part = await self._part(tp)
            fresh = [event for event in group if await self._due(tp, part, event)]
            if fresh:
                values = [event.value for event in fresh]
                part.state, outcome = await self._off(self.stage.handle, part.state, values)
                outcomes.append(outcome)
        await self._patience.insist(lambda: self._off(self.stage.commit, outcomes))
        records = [record for outcome in outcomes for record in self.stage.records(outcome)]
        await self._patience.insist(lambda: self._log.append(records))
        self.figures.records += len(events)
        self.figures.handled = time.time_ns() // 1000

    async def _renew(self, reload: Reload) -> None:
        """Go on under changed rules; a snapshot that is being saved is still one of the rules before."""
        parts = list(self._parts.values())
        renewed = await self._off(reload.renewed, self.stage, [part.state for part in parts])
        if renewed is None:
            return
        self.stage, states = renewed
        for part, state in zip(parts, states, strict=True):
            part.state = state

    async def _part(self, tp: TP) -> Part[S]:
        if tp not in self._parts:
            saved = await self._patience.insist(
                lambda: self._off(self._snapshots.load, self.name, tp.topic, tp.partition)
            )
            state, offset = (self.stage.restore(saved[1]), saved[0]) if saved else (self.stage.initial(), -1)
            self._parts[tp] = Part(state, await self._within(tp, offset))
        return self._parts[tp]

    async def _within(self, tp: TP, offset: int) -> int:
        """The snapshot's offset; -1 if the log ends before it: then it is another log, taken from its start."""
        end = (await self._app.consumer.highwaters(tp))[tp]
        if offset < end:
            return offset
        logger.error(
            "%s ends at %d, the snapshot includes %d: another log, taken from its beginning", tp, end, offset
        )
        return -1

    async def progress(self) -> tuple[int, int]:
        """(records handled in all, records still to handle on the log itself), for the watch.

        Raises RuntimeError if a log has been replaced by a shorter one under this worker.
        """
        parts = {tp: part for tp, part in self._parts.items() if tp in self._app.consumer.assignment()}
        offsets = {tp: part.offset for tp, part in parts.items()}
        ends = await self._app.consumer.highwaters(*offsets) if offsets else {}
        if replaced := [f"{tp}" for tp, offset in offsets.items() if offset >= ends[tp]]:
            raise RuntimeError(f"the log of {', '.join(replaced)} has been replaced")
        return self.figures.records, sum(ends[tp] - 1 - offset for tp, offset in offsets.items())

    async def _due(self, tp: TP, part: Part[S], event: EventT[Any]) -> bool:
        """Whether this record is the next of its partition; one already in the state is only held for the ack."""
        offset, expected = event.message.offset, part.offset + 1
        if offset > expected and not await self._trimmed_up_to(tp, offset):
            await self._seek_back(tp, part, offset)
            return False
        part.held.append(event)
        if offset < expected:
            return False
        if offset > expected:
            self._count_lost(tp, offset - expected)
        part.offset, part.sought = offset, False
        return True

    async def _trimmed_up_to(self, tp: TP, offset: int) -> bool:
        """Whether `offset` is the oldest record the log still has, so that nothing before it can be had."""
        earliest = await self._app.consumer.earliest_offsets(tp)
        return bool(earliest.get(tp, 0) >= offset)

    async def _seek_back(self, tp: TP, part: Part[S], offset: int) -> None:
        """Once a gap: records read ahead of the seek still come and are passed over."""
        if not part.sought:
            logger.warning("%s: record %d after %d: seeking back", tp, offset, part.offset)
            part.sought = True
            await self._app.consumer.seek(tp, part.offset + 1)

    def _count_lost(self, tp: TP, count: int) -> None:
        self.figures.lost += count
        logger.error("%s: %d records were trimmed from the log before this worker handled them", tp, count)

    async def _snapshot(self) -> None:
        """Take snapshots, and save those whose records the log has had for `settle` seconds."""
        for tp, part in self._parts.items():
            if part.held and part.saving is None:
                data = await self._off(self.stage.dump, part.state)
                part.saving = Saving(time.monotonic(), part.offset, data, part.held)
                part.held = []
            if part.saving and time.monotonic() - part.saving.taken >= self._settle:
                await self._save(tp, part.saving)
                part.saving = None

    async def _save(self, tp: TP, saving: Saving) -> None:
        row = (self.name, tp.topic, tp.partition, saving.offset, saving.data)
        await self._patience.insist(lambda: self._off(self._snapshots.save, *row))
        for event in saving.events:
            event.ack()

    # -------------------------------------------------------------- errors

    async def _off(self, call: Callable[..., T], *args: Any) -> T:
        """Run off the event loop, one call at a time, so that heartbeats go on during heavy work."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args))


def _by_partition(events: list[EventT[Any]]) -> dict[TP, list[EventT[Any]]]:
    groups: dict[TP, list[EventT[Any]]] = defaultdict(list)
    for event in events:
        groups[event.message.tp].append(event)
    return groups


def die(reason: str, error: BaseException | None = None) -> NoReturn:
    """End the process at once, before anything unhandled can be acknowledged; the supervisor starts it again."""
    logger.critical("%s", reason, exc_info=error)
    logging.shutdown()
    os._exit(70)


async def guarded(body: Awaitable[None], what: str) -> None:
    """Process edge: Faust acknowledges a record whose agent raised, so an exception must not reach it."""
    try:
        await body
    except Exception as error:  # noqa: BLE001 - the process edge named in docs/decisions
        die(f"{what} failed", error)
