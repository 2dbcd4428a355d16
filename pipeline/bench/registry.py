"""Every bench, in the order of a whole run. A bench is loaded only when it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.bench.figure import Figure
from pipeline.bench.options import Options

Run = Callable[[Options], Iterable[Figure]]


@dataclass(frozen=True, slots=True)
class Bench:
    """A module of this package and what it measures. Its function `run(options)` gives figures as they come."""

    module: str
    about: str

    def load(self) -> Run:
        run: Run = importlib.import_module(f"pipeline.bench.{self.module}").run
        return run


BENCHES = {
    "fold": Bench("fold", "positions/s through clean and rules alone"),
    "telemetry": Bench("telemetry", "positions/s of the telemetry worker, from the log to committed store writes"),
    "mqtt": Bench("mqtt", "messages/s from MQTT to the store, one position each, and the time to their receipt"),
    "vision": Bench("vision", "frames/s of the vision stage against bare ONNX Runtime; ms to the store; memory"),
    "latency": Bench("latency", "ms from a published fix to its alarm on the operators' stream"),
    "query": Bench("query", "ms for one vehicle's day of 86,400 fixes out of a full store"),
    "crowd": Bench("crowd", "MB that the fold keeps of 100,000 units"),
    "start": Bench("start", "seconds from `vedette up --demo` to ready and to alarms"),
}
