"""Fixes, batches and a run of rules for tests, in seconds and degrees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline import wire
from pipeline.message import SECOND, PositionBatch, Signal, Source, codes
from pipeline.rules.head import Head, Scope
from pipeline.rules.moves import Slots, arrange, no_slots

T0 = 1_700_000_000 * SECOND


class F(NamedTuple):
    """A fix `t` seconds after T0."""

    unit: str
    t: float
    lat: float
    lon: float
    speed: float = float("nan")


def batch_of(
    rows: Sequence[F],
    *,
    device: str = "gw",
    seq: Sequence[int] | None = None,
    ticks: Iterable[tuple[str, float]] = (),
    **columns: Any,
) -> PositionBatch:
    """A batch of `rows` in that order, all of one device, a message a row unless `seq` says otherwise."""
    n = len(rows)
    units, unit = codes([row.unit for row in rows])
    at = np.array([T0 + round(row.t * SECOND) for row in rows], np.int64)
    values: dict[str, Any] = {
        "at": at,
        "received": at,
        "lat": np.array([row.lat for row in rows], np.float64),
        "lon": np.array([row.lon for row in rows], np.float64),
        "speed": np.array([row.speed for row in rows], np.float32),
        **{name: np.full(n, np.nan, np.float32) for name in ("course", "alt", "accuracy")},
        "clock": np.full(n, 4, np.uint8),
        "seq": np.array(seq if seq is not None else range(1, n + 1), np.int64),
        "source": np.zeros(n, np.uint32),
        **columns,
    }
    return PositionBatch(
        units=units,
        sources=(Source(device, 1),),
        unit=unit,
        ticks=tuple((name, T0 + round(t * SECOND)) for name, t in ticks),
        **values,
    )


def head(kind: str = "geofence", *, name: str = "rule", scope: Scope | None = None) -> Head:
    return Head(name, kind, severity="high", version="v1", scope=scope)


def run(rule: Any, *batches: Sequence[F], kind: type[Any] | None = None) -> list[Signal]:
    """What a rule over moves says of batches; with `kind`, its state is packed and unpacked between them."""
    slots, state = no_slots(), rule.initial()
    signals: list[Signal] = []
    for rows in batches:
        state, said = rule.step(state, arrange(slots, batch_of(rows)))
        signals += said
        if kind is not None:
            state = wire.unpack_state(wire.pack_state(state), kind)
            slots = wire.unpack_state(wire.pack_state(slots), Slots)
    return signals


def brief(signals: Iterable[Signal]) -> list[tuple[str, str, str, float, float]]:
    """(subject, place, change, at, start), times in seconds after T0, in order of time."""
    words = [(s.subject, s.place, s.change.value, (s.at - T0) / SECOND, (s.start - T0) / SECOND) for s in signals]
    return sorted(words, key=lambda w: (w[3], w))
