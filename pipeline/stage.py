"""The contract between the engine and what a worker does with one topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from pipeline.record import Record

S = TypeVar("S")
O = TypeVar("O")  # noqa: E741


class Stage(Protocol[S, O]):
    """What a worker does with one topic. `handle` is pure in its state; `commit` makes outcomes durable."""

    topic: str
    max_records: int

    def initial(self) -> S: ...
    def dump(self, state: S) -> bytes: ...
    def restore(self, data: bytes) -> S: ...

    def handle(self, state: S, values: Sequence[bytes]) -> tuple[S, O]:
        """Fold records of one partition, in order, each once. Bad input is part of the outcome, never raised."""
        ...

    def commit(self, outcomes: Sequence[O]) -> None:
        """Returns when everything in `outcomes` is durable; idempotent. NotConnected and Retryable are repeated."""
        ...

    def records(self, outcome: O) -> Iterable[Record]:
        """What goes on to the log after `commit`."""
        ...

    def figures(self) -> dict[str, Any]:
        """Counts of its own for the pulse."""
        ...


class Stateless:
    """The half of a stage that keeps nothing between records."""

    def initial(self) -> None:
        return None

    def dump(self, _state: None) -> bytes:
        return b""

    def restore(self, _data: bytes) -> None:
        return None

    def figures(self) -> dict[str, Any]:
        return {}
