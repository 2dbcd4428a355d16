"""Composition root of the processes that carry the flow: each worker is a Faust app, the bridge a plain loop.

Nothing connects at import or in a constructor; `worker` and `run_bridge` open what they need and hand it down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from pipeline import faustapp, topics
from pipeline.alarms.book import open_book
from pipeline.alarms.merge import open_merge
from pipeline.alarms.relay import Relay
from pipeline.alarms.stage import DeviceStage, QuarantineStage, SignalStage
from pipeline.alarms.sweep import Sweep
from pipeline.bridge import Bridge
from pipeline.engine import Engine, die, guarded
from pipeline.log import Log
from pipeline.pulse import beating
from pipeline.renewal import reload_of
from pipeline.retry import Patience
from pipeline.rules.config import RuleSet
from pipeline.rules.config import load as load_rules
from pipeline.settings import Settings
from pipeline.stage import Stage
from pipeline.state import State, open_state
from pipeline.store import open_store
from pipeline.store.blobs import open_blobs
from pipeline.telemetry.clean import Limits
from pipeline.weather import open_weather

logger = logging.getLogger(__name__)
AnyStage = Stage[Any, Any]
HAND_OVER = 4.0
"""Seconds a rebalance waits for us, below the broker's patience: a store that is away must not hold it up."""

WATCH_EVERY = 10.0
STALLED = 60.0
STUCK = 180.0
"""Seconds one turn of an engine may take before the process ends itself: some call hangs."""


def telemetry_stages(settings: Settings) -> list[AnyStage]:
    """positions: clean → rules → store; readings: sift → rules → store; company: rules over several partitions."""
    from pipeline.renewal import fold_under, meeting_under
    from pipeline.telemetry.correct import Corrector, Patience
    from pipeline.telemetry.meeting import CompanyStage
    from pipeline.telemetry.readings import ReadingStage
    from pipeline.telemetry.stage import PositionStage

    book = open_book(settings)
    store = open_store(settings, book.refuse)
    rules, limits = rule_file(settings), Limits.of(settings.clean)
    meeting, board = meeting_under(settings, rules), open_weather(settings)
    corrector = Corrector(store, lambda unit: book.alarms(subject=unit), Patience.of(settings.clean))
    positions = PositionStage(fold_under(settings, rules), store, meeting, corrector)
    readings = ReadingStage(store, rules.readings(), limits=limits, weather=rules.fire_weather(), board=board)
    return [positions, readings, CompanyStage(meeting)]


def vision_stages(settings: Settings) -> list[AnyStage]:
    """frames: decode → detect → store → sighting."""
    from pipeline.renewal import sightings_under
    from pipeline.vision.detector import OnnxDetector
    from pipeline.vision.picture import decode_for
    from pipeline.vision.shadow import LEDGER_FILE, Ledger, Shadow
    from pipeline.vision.stage import Sinks, VisionStage

    threads, providers = settings.vision.threads, settings.vision.providers
    detector = OnnxDetector.load(Path(settings.vision.model), threads=threads, providers=providers)
    second = settings.vision.shadow
    beside = OnnxDetector.load(Path(second), threads=threads, providers=providers) if second else None
    shadow = Shadow(beside, Ledger(Path(settings.data) / LEDGER_FILE)) if beside else None
    side = max(detector.input_side, beside.input_side if beside else 0)
    book = open_book(settings)
    stage = VisionStage(
        detector,
        sightings_under(settings, rule_file(settings), detector.thresholds),
        Sinks(open_store(settings, book.refuse), open_blobs(settings), book),
        decode=lambda data: decode_for(data, side),
        batch=settings.vision.batch_frames,
        max_age_s=settings.vision.max_age_s,
        now=lambda: time.time_ns() // 1000,
        shadow=shadow,
    )
    return [stage]


def alarm_stages(settings: Settings) -> list[AnyStage]:
    """signals, refusals and devices into the alarm book."""
    book = open_book(settings)
    devices = DeviceStage(rule_file(settings).devices(), book)
    return [SignalStage(book, open_merge(settings)), QuarantineStage(book), devices]


def rule_file(settings: Settings) -> RuleSet:
    return load_rules(Path(settings.rules.file))


STAGES = {"telemetry": telemetry_stages, "vision": vision_stages, "alarms": alarm_stages}


def worker(settings: Settings, kind: str) -> faust.App:
    """The Faust app of one worker, ready to be run."""
    app = faustapp.create(settings, kind, buffer=16 if kind == "vision" else 256)
    state = open_state(settings)
    engines = [
        Engine(
            stage,
            name=f"{kind}-{stage.topic}",
            log=Log(app),
            snapshots=state,
            interval=settings.state.snapshot_interval_s,
            settle=settings.log.receipt_delay_s,
            reload=reload_of(settings, stage),
        )
        for stage in STAGES[kind](settings)
    ]
    for engine in engines:
        _attach(app, engine, partitions=topics.partitions(engine.stage.topic, settings.log))
    _watch(app, engines, state, f"worker-{kind}")
    if kind == "alarms":
        relay = Relay(open_book(settings), Log(app), state, settle=settings.log.receipt_delay_s)
        app.task(lambda: guarded(relay.run(), "relay"))
        sweep = Sweep(open_book(settings), rule_file(settings))
        app.task(lambda: guarded(sweep.run(), "sweep"))
    return app


def _attach(app: faust.App, engine: Engine[Any, Any], *, partitions: int) -> None:
    """One agent and one task an engine."""
    topic = app.topic(engine.stage.topic, value_type=bytes, key_type=bytes, partitions=partitions, allow_empty=True)

    async def agent(stream: Any) -> None:
        await guarded(engine.consume(app, stream), engine.name)

    async def process() -> None:
        await guarded(engine.run(), engine.name)

    app.agent(topic, name=engine.name, concurrency=1)(agent)
    app.task(process)


def _watch(app: faust.App, engines: Sequence[Engine[Any, Any]], state: State, part: str) -> None:
    """Pulse, hand-over of partitions, and an end for a process that only looks alive."""

    async def revoked(_app: Any, revoked: Any, **_: Any) -> None:
        leaving = [engine.release(tp for tp in revoked if tp.topic == engine.stage.topic) for engine in engines]
        with contextlib.suppress(TimeoutError):  # what is not saved now, the next owner does again
            await asyncio.wait_for(asyncio.gather(*leaving), HAND_OVER)

    async def beat() -> None:
        await guarded(beating(state, part, lambda: _row(engines)), "pulse")

    async def watch() -> None:
        await guarded(watching(engines), "watch")

    app.on_partitions_revoked.connect(revoked, weak=False)  # type: ignore[arg-type]
    app.task(beat)
    app.task(watch)


async def watching(engines: Sequence[Engine[Any, Any]]) -> None:
    """End the process when a call hangs, or when records lie on the log and none is handled."""
    seen: dict[str, tuple[int, float]] = {}
    while True:
        await asyncio.sleep(WATCH_EVERY)
        for engine in engines:
            if engine.turning_for > STUCK and not engine.trouble:
                die(f"{engine.name}: one turn has taken {engine.turning_for:.0f} s")
            try:
                handled, behind = await engine.progress()
            except (FaustError, KafkaError, OSError, TimeoutError) as error:
                logger.warning("%s: the log cannot be asked how far it is: %s", engine.name, error)
                continue
            if not behind or engine.trouble or seen.get(engine.name, (-1, 0.0))[0] != handled:
                seen[engine.name] = (handled, time.monotonic())
            elif time.monotonic() - seen[engine.name][1] > STALLED:
                die(f"{engine.name}: {behind} records wait and none has been handled for {STALLED:.0f} s")


def _row(engines: Sequence[Engine[Any, Any]]) -> dict[str, Any]:
    lost = [f"{e.name}: {e.figures.lost} records were trimmed unseen" for e in engines if e.figures.lost]
    notices = dict.fromkeys(e.notice for e in engines if e.notice)
    trouble = "; ".join([e.trouble for e in engines if e.trouble] + lost + list(notices))
    row: dict[str, Any] = {"ready": True, "trouble": trouble}
    for engine in engines:
        topic = engine.stage.topic
        row[topic] = {
            "records": engine.figures.records,
            "lost": engine.figures.lost,
            "waiting": engine.waiting,
            "held": engine.held,
            "behind": engine.behind(),
            "handled": engine.figures.handled,
            **engine.stage.figures(),
        }
    return row


def run_worker(settings: Settings, kind: str, *, loglevel: str) -> None:
    """Until SIGTERM or SIGINT; ends the process."""
    asyncio.run(_await_topics(settings))
    app = worker(settings, kind)
    Path(app.conf.datadir).mkdir(parents=True, exist_ok=True)
    faust.Worker(app, loglevel=loglevel, quiet=True, blocking_timeout=30.0).execute_from_commandline()


async def _await_topics(settings: Settings) -> None:
    """Every process makes sure of the topics, so that the order in which parts start does not matter."""
    await Patience("topics").insist(lambda: topics.ensure(settings))


async def run_bridge(settings: Settings) -> None:
    """Until cancelled."""
    await _await_topics(settings)
    app = faustapp.create(settings, "bridge")
    log = Log(app)
    await log.open()
    bridge = Bridge(settings, log)
    state = open_state(settings)
    try:
        await asyncio.gather(bridge.run(), beating(state, "bridge", bridge.figures))
    finally:
        await log.close()
