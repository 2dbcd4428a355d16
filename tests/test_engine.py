"""The engine between log and stage: order, snapshots before acknowledgements, seeking back, patience.

The log here is a list of numbers; the stage adds them up, so a record lost or doubled shows in the sum.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from faust.types import TP

from pipeline.engine import Engine
from pipeline.ports import NotConnected, Retryable
from pipeline.record import Record

PART = TP("numbers", 0)


class Message:
    def __init__(self, tp: TP, offset: int) -> None:
        self.tp, self.offset = tp, offset


class Event:
    def __init__(self, offset: int, acked: list[int], tp: TP = PART) -> None:
        self.message, self.value, self._acked = Message(tp, offset), str(offset).encode(), acked

    def ack(self) -> bool:
        self._acked.append(self.message.offset)
        return True


class Consumer:
    """Faust's consumer as far as the engine asks it; `seek` makes the stream deliver from there again."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.assigned = {PART}
        self.end = 100
        self.sought: list[int] = []
        self.on_seek: Callable[[int], None] = self.sought.append

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self.first)

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self.end)

    async def seek(self, _tp: TP, offset: int) -> None:
        self.on_seek(offset)

    def assignment(self) -> set[TP]:
        return self.assigned

    def highwater(self, tp: TP) -> int:
        assert tp in self.assigned, "as aiokafka does"
        return 100


class App:
    def __init__(self, consumer: Consumer) -> None:
        self.consumer, self.should_stop = consumer, True


class Stream:
    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event


class Snapshots:
    """Keeps snapshots in a dict; `saved` tells when, relative to the acknowledgements."""

    def __init__(self, acked: list[int]) -> None:
        self.rows: dict[tuple[str, str, int], tuple[int, bytes]] = {}
        self.acked_at_save: list[int] = []
        self._acked = acked

    def load(self, app: str, topic: str, partition: int) -> tuple[int, bytes] | None:
        return self.rows.get((app, topic, partition))

    def save(self, app: str, topic: str, partition: int, offset: int, state: bytes) -> None:
        self.acked_at_save.append(len(self._acked))
        self.rows[app, topic, partition] = (offset, state)

    def drop(self, app: str, topic: str, partition: int) -> None:
        del self.rows[app, topic, partition]

    def close(self) -> None: ...


class Sums:
    """Adds up the numbers it is given and commits each run of them."""

    topic = "numbers"
    max_records = 3

    def __init__(self, failures: Sequence[Exception] = ()) -> None:
        self.committed: list[int] = []
        self._failures = list(failures)

    def initial(self) -> int:
        return 0

    def dump(self, state: int) -> bytes:
        return str(state).encode()

    def restore(self, data: bytes) -> int:
        return int(data)

    def handle(self, state: int, values: Sequence[bytes]) -> tuple[int, list[int]]:
        numbers = [int(v) for v in values]
        return state + sum(numbers), numbers

    def commit(self, outcomes: Sequence[list[int]]) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.committed += [n for outcome in outcomes for n in outcome]

    def figures(self) -> dict[str, Any]:
        return {}

    def records(self, outcome: list[int]) -> Iterable[Record]:
        return [Record("sums", 0, "", str(n).encode()) for n in outcome]


class Appended:
    """A log that keeps what is appended."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def append(self, records: Iterable[Record]) -> None:
        self.values += [r.value for r in records]


class Bench:
    """An engine over `Sums` with everything around it, run until the stream is used up."""

    def __init__(self, stage: Sums | None = None, first: int = 0) -> None:
        self.acked: list[int] = []
        self.stage = stage or Sums()
        self.consumer = Consumer(first)
        self.snapshots = Snapshots(self.acked)
        self.log = Appended()
        self.engine = self.make()

    def make(self, settle: float = 0.0) -> Engine[int, list[int]]:
        log: Any = self.log
        return Engine(self.stage, name="sums", log=log, snapshots=self.snapshots, interval=0.01, settle=settle)

    def run(self, offsets: Iterable[int]) -> None:
        asyncio.run(self._run([Event(n, self.acked) for n in offsets]))

    async def _run(self, events: list[Event]) -> None:
        app: Any = App(self.consumer)
        stream: Any = Stream(events)
        task = asyncio.ensure_future(self.engine.run())
        await self.engine.consume(app, stream)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not self.engine.waiting and not self.engine.held and not self.engine.trouble:
                break
        task.cancel()

    @property
    def saved(self) -> tuple[int, bytes] | None:
        return self.snapshots.rows.get(("sums", "numbers", 0))


def test_every_record_is_handled_once_and_acknowledged_in_order() -> None:
    bench = Bench()
    bench.run(range(10))
    assert bench.stage.committed == list(range(10))
    assert bench.acked == list(range(10))
    assert bench.saved == (9, b"45")
    assert bench.log.values == [str(n).encode() for n in range(10)]


def test_nothing_is_acknowledged_before_its_snapshot() -> None:
    bench = Bench()
    bench.run(range(4))
    assert bench.snapshots.acked_at_save[0] == 0
    assert len(bench.acked) == 4


def test_a_snapshot_waits_until_the_log_has_synced_what_it_includes() -> None:
    """Else a power cut takes records from the log, others come under their offsets, and are passed over."""
    bench = Bench()
    bench.engine = bench.make(settle=0.3)

    async def body() -> None:
        app: Any = App(bench.consumer)
        stream: Any = Stream([Event(0, bench.acked), Event(1, bench.acked)])
        await bench.engine.consume(app, stream)
        task = asyncio.ensure_future(bench.engine.run())
        await asyncio.sleep(0.15)
        assert (bench.stage.committed, bench.saved, bench.acked) == ([0, 1], None, [])
        await asyncio.sleep(0.4)
        task.cancel()

    asyncio.run(body())
    assert (bench.saved, bench.acked) == ((1, b"1"), [0, 1])


def test_a_restart_passes_over_what_the_snapshot_includes() -> None:
    bench = Bench()
    bench.run(range(5))
    bench.engine = bench.make()
    bench.run(range(3, 8))
    assert bench.stage.committed == list(range(8))
    assert bench.saved == (7, str(sum(range(8))).encode())


def test_a_commit_that_ran_ahead_is_answered_by_seeking_back() -> None:
    bench = Bench()
    bench.run(range(3))
    bench.engine = bench.make()
    bench.run([5, 6, 3, 4, 5, 6])
    assert bench.consumer.sought == [3]
    assert bench.stage.committed == list(range(7))


def test_records_trimmed_from_the_log_are_counted_and_the_rest_goes_on() -> None:
    bench = Bench(first=7)
    bench.run([7, 8])
    assert bench.stage.committed == [7, 8]
    assert bench.engine.figures.lost == 7


@pytest.mark.parametrize("error", [NotConnected("away"), Retryable(0.01, "busy")])
def test_the_same_call_is_repeated_until_it_goes_through(error: Exception) -> None:
    bench = Bench(Sums([error, error]))
    bench.run(range(3))
    assert bench.stage.committed == [0, 1, 2]
    assert bench.saved == (2, b"3")
    assert bench.engine.trouble == ""


def test_another_log_under_an_old_snapshot_is_taken_from_its_beginning() -> None:
    bench = Bench()
    bench.run(range(5))
    bench.engine = bench.make()
    bench.consumer.end = 2
    bench.run([0, 1])
    assert bench.stage.committed == [0, 1, 2, 3, 4, 0, 1]
    assert bench.saved == (1, b"11")


def test_a_log_replaced_under_a_running_worker_is_noticed() -> None:
    bench = Bench()
    bench.run(range(5))
    assert asyncio.run(bench.engine.progress()) == (5, 95)
    bench.consumer.end = 2
    with pytest.raises(RuntimeError, match="replaced"):
        asyncio.run(bench.engine.progress())


def test_release_saves_and_forgets() -> None:
    bench = Bench()

    async def body() -> None:
        app: Any = App(bench.consumer)
        stream: Any = Stream([Event(0, bench.acked), Event(1, bench.acked)])
        await bench.engine.consume(app, stream)
        await bench.engine._handle(await bench.engine._take(0.1))
        assert bench.saved is None
        await bench.engine.release([PART])

    asyncio.run(body())
    assert bench.saved == (1, b"1")
    assert bench.acked == [0, 1]


def test_records_of_a_partition_that_went_away_are_left_to_its_new_owner() -> None:
    bench = Bench()
    bench.run(range(3))
    bench.consumer.assigned = set()
    assert bench.engine.behind() == 0
    bench.run([3, 4])
    assert bench.stage.committed == [0, 1, 2]
    assert bench.acked == [0, 1, 2]


def test_release_empties_the_inbox_of_what_leaves() -> None:
    bench = Bench()
    other = TP("numbers", 1)

    async def body() -> None:
        app: Any = App(bench.consumer)
        stream: Any = Stream([Event(0, bench.acked), Event(0, bench.acked, other), Event(1, bench.acked)])
        await bench.engine.consume(app, stream)
        await bench.engine.release([PART])

    asyncio.run(body())
    assert bench.engine.waiting == 1
