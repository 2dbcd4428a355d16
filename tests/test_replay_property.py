"""However the input is cut, and wherever it runs, the rules say the same: the whole fold, every kind of rule."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.picture import encode
from edge.settings import Camera
from pipeline import wire
from pipeline.message import SECOND, Frame, FrameRecord, PositionBatch, Signal
from pipeline.replay import replay_batch, scored_frames
from pipeline.rules.config import RuleSet, load
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import in_order
from pipeline.telemetry.fold import Fold
from pipeline.telemetry.meeting import CompanyStage, Meeting
from pipeline.telemetry.stage import PositionStage
from tests.doubles import MemoryStore
from tests.moving import T0, F, batch_of
from tests.test_vision_stage import Bright, made

ROOT = Path(__file__).resolve().parent.parent
FLEET = Fleet({"tanker-1": "hazmat", "escort-1": "", "van": "bus"})
NARROW = {
    "geofence": 4,
    "speed": 1,
    "silence": 1,
    "long_stop": 1,
    "trip_hours": 1,
    "route": 1,
    "harsh": 1,
    "company": 1,
}


@cache
def shipped() -> RuleSet:
    """config/rules.toml with every rule in it switched on."""
    every = ROOT / "config" / "rules.toml"
    text = every.read_text("utf-8").replace("enabled = false", "enabled = true")
    beside = every.with_name("every.test.toml")
    beside.write_text(text, "utf-8")
    try:
        return load(beside)
    finally:
        beside.unlink()


@cache
def around() -> tuple[float, float, float, float]:
    """South, west, north, east of the fences of those rules, and a little more."""
    shapes = [fence.shape.bounds for fences in shipped().fences.values() for fence in fences]
    west, south, east, north = (f(s[i] for s in shapes) for i, f in enumerate((min, min, max, max)))
    return south - 0.002, west - 0.002, north + 0.002, east + 0.002


def test_every_kind_of_rule_over_units_is_in_the_shipped_file() -> None:
    kinds = [spec.kind for spec in shipped().specs]
    assert {kind: kinds.count(kind) for kind in NARROW} == NARROW


def day_of(seed: int) -> PositionBatch:
    """Walks of three units over the fences: steps of 1 s to 40 min; some late, doubled, far off, without a speed.

    Drawn from a seed: hypothesis would take longer to draw and shrink them than to run them.
    """
    chance, rows = np.random.default_rng(seed), list[F]()
    south, west, north, east = around()
    for unit in FLEET.groups:
        steps = int(chance.integers(0, 26))
        at = chance.choice([1.0, 2.0, 2.0, 20.0, 60.0, 400.0, 2400.0, 0.0, -90.0], steps).cumsum().clip(0)
        y = chance.random() + chance.choice([0.0, 0.01, 0.1, -0.1, 0.5], steps).cumsum()
        x = chance.random() + chance.choice([0.0, 0.01, 0.1, -0.1, -0.5], steps).cumsum()
        speed = chance.choice([0.0, 8.0, 20.0, 33.0, 45.0, float("nan")], steps)
        lat, lon = south + (north - south) * (y % 1), west + (east - west) * (x % 1)
        columns = (at.tolist(), lat.tolist(), lon.tolist(), speed.tolist())
        rows += [F(unit, *values) for values in zip(*columns, strict=True)]
    due = np.array([T0 + round((row.t + chance.choice([0, 0, 0, 300])) * SECOND) for row in rows], np.int64)
    arrival = np.argsort(due, kind="stable")
    return batch_of([rows[int(i)] for i in arrival], received=due[arrival])


days = st.integers(0, 2**32 - 1).map(day_of)


def pieces(batch: PositionBatch, cuts: list[int]) -> list[PositionBatch]:
    ends = sorted({min(cut, len(batch)) for cut in cuts} | {len(batch)})
    return [batch.select(np.arange(a, b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


@cache
def rules_over_units() -> tuple[Fold, Meeting]:
    return Fold(shipped().telemetry(FLEET), enrolled=FLEET.units), Meeting(shipped().company(FLEET))


def folded(parts: list[PositionBatch], *, restart: bool = False) -> tuple[list[Signal], list[Any], list[Any]]:
    """Signals, stored rows and refusals; with `restart` the state goes through bytes after each part."""
    fold, meeting = rules_over_units()
    state, met = fold.initial(), meeting.initial()
    signals: list[Signal] = []
    stored: list[Any] = []
    refused: list[Any] = []
    for part in parts:
        state, result = fold.step(state, part)
        signals += result.signals
        if concerned := meeting.concerned(result.stored):
            met, said = meeting.step(met, concerned)
            signals += said
        rows = result.stored
        names = (rows.units[u] for u in rows.unit.tolist())
        stored += zip(names, rows.at.tolist(), rows.lat.tolist(), rows.lon.tolist(), strict=True)
        refused += [(r.device, r.reason, r.count) for r in result.refusals]
        state = fold.restore(fold.dump(state)) if restart else state
    return in_order(signals), sorted(stored), refused


def counted(refused: list[Any]) -> dict[Any, int]:
    """Rows of one reason may be told together or apart; how many there are may not differ."""
    counts: dict[Any, int] = {}
    for device, reason, count in refused:
        counts[device, reason] = counts.get((device, reason), 0) + count
    return counts


@settings(max_examples=120, deadline=None)
@given(day=days, cuts=st.lists(st.integers(0, 75), max_size=6), restart=st.booleans())
def test_a_batch_may_be_cut_anywhere(day: PositionBatch, cuts: list[int], restart: bool) -> None:
    whole, parts = folded([day]), folded(pieces(day, cuts), restart=restart)
    assert parts[0] == whole[0]
    assert parts[1] == whole[1]
    assert counted(parts[2]) == counted(whole[2])


@settings(max_examples=60, deadline=None)
@given(day=days, cuts=st.lists(st.integers(0, 75), max_size=6))
def test_replay_says_what_the_worker_says(day: PositionBatch, cuts: list[int]) -> None:
    """Records as on the log through the stages of the telemetry worker, a snapshot between them, then the tick."""
    fold, meeting = rules_over_units()
    stage = PositionStage(fold, MemoryStore(), meeting)
    company, told = CompanyStage(meeting), list[Signal]()
    state, met = stage.initial(), company.initial()
    records = [wire.encode_positions(part) for part in pieces(day, cuts)]
    if len(day):
        nothing = batch_of([], ticks=[("gw", (int(day.at.max()) - T0) / SECOND)])
        records.append(wire.encode_positions(nothing))
    for value in records:
        state, done = stage.handle(state, [value])
        stage.commit([done])
        told += done.signals
        handed = [record.value for record in stage.records(done) if record.topic == wire.COMPANY]
        met, said = company.handle(met, handed)
        told += [item for item in said if isinstance(item, Signal)]
        state = stage.restore(stage.dump(state))
    assert in_order(told) == replay_batch(day, shipped(), fleet=FLEET)


def test_a_video_is_scored_as_the_live_stage_scores_it(tmp_path: Path) -> None:
    """The agent's JPEG, decoded at half its size: the same boxes, scores and changes, in the same pixels."""
    chance, film, need = np.random.default_rng(1), tmp_path / "tower.mp4", 320
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 2, (1600, 900))
    for i in range(12):
        picture = chance.integers(30, 50, (900, 1600, 3), np.uint8)
        cv2.circle(picture, (700 + 9 * i, 400), 20 + i % 5, (90, 190, 250), -1)
        writer.write(picture)
    writer.release()
    replayed = Bright()
    found = list(scored_frames(film, replayed, start=0, live_side=need))
    detector = Bright()
    stage, _book, _store = made(detector, need=need)
    usual, capture, state, seen = Camera(url=""), cv2.VideoCapture(str(film)), stage.initial(), []
    for seq in range(1, 13):
        _read, picture = capture.read()
        at = (seq - 1) * SECOND // 2
        frame = Frame(at, encode(picture, usual.jpeg_quality, usual.max_side, max_bytes=usual.max_bytes))
        state, done = stage.handle(state, [wire.pack(FrameRecord("tower", 1, seq, at, frame))])
        seen += done.frames
    assert replayed.sizes == detector.sizes
    assert max(replayed.sizes[0]) < 1280 == found[0].width
    assert [(f.at, f.width, f.height, f.detections, f.changes) for f in found] == [
        (f.at, f.width, f.height, f.detections, f.changes) for f in seen
    ]
    assert any(change for frame in found for change in frame.changes)
