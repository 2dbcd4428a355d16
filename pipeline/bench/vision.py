"""`vision`: the vision worker's stage beside bare ONNX Runtime on the same model, input and threads.

Stage and bare runs take turns, a batch each, so that whatever else the machine does weighs on both alike. Then the
worker in the real stack (`soak`): time to the store below saturation, and memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort  # type: ignore[import-untyped]

from pipeline import wire
from pipeline.bench import soak
from pipeline.bench.figure import Figure, median
from pipeline.bench.options import Options
from pipeline.bench.picture import SIZE, jpegs
from pipeline.bench.rig import settings_in
from pipeline.message import SECOND, Float32s, Frame, FrameRecord
from pipeline.settings import Settings
from pipeline.vision.card import load_card, load_weights
from pipeline.vision.detector import Letterbox, OnnxDetector, output_names
from pipeline.vision.families import family
from pipeline.vision.picture import Picture, decode

PICTURES = 16
"""Different pictures at the most; they take turns."""


@dataclass(slots=True)
class Watch:
    """One way of doing it: frames/s of each turn, by the clock and by the process's CPU time."""

    step: Callable[[int], int]
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, number: int) -> None:
        begun, used = time.perf_counter(), time.process_time()
        frames = self.step(number)
        self.cpu.append(frames / (time.process_time() - used))
        self.clock.append(frames / (time.perf_counter() - begun))

    def forget(self) -> None:
        """What came so far only warmed caches."""
        self.clock.clear()
        self.cpu.clear()


def run(options: Options) -> Iterator[Figure]:
    figures = beside_bare(options)
    yield from figures
    yield from soak.run(options, figures[0].value)


def beside_bare(options: Options) -> list[Figure]:
    """Frames/s of the stage, of the detector alone, and of the stage by CPU time."""
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        soak.write_world(Path(folder))
        settings = settings_in(Path(folder))
        options.say("vision: rendering and encoding pictures")
        pictures = jpegs(min(PICTURES, max(1, options.scale.frames // 4)))
        ways = _ways(settings, pictures)
        turns = max(1, options.scale.frames // settings.vision.batch_frames)
        options.say(f"vision: {turns} turns of {settings.vision.batch_frames} frames")
        for way in ways:
            way.turn(0)
            way.forget()
        for number in range(1, turns + 1):
            for way in ways:
                way.turn(number)
    return _figures(*ways, threads=settings.vision.threads)


def _figures(stage: Watch, detect: Watch, *bare: Watch, threads: int) -> list[Figure]:
    fastest, cheapest = max(median(b.clock) for b in bare), max(median(b.cpu) for b in bare)
    plain = (
        f"bare ONNX Runtime, session.run on ready tensors, {threads} threads, same process, the faster of spinning "
        "and sleeping threads; target ratio 0.9"
    )
    whole = (
        f"JPEG of {SIZE[0]} x {SIZE[1]} to committed store: decode, letterbox, model, suppression, rules, evidence"
    )
    return [
        Figure("vision", median(stage.clock), "frames/s", fastest, f"{plain}; ours: {whole}"),
        Figure(
            "vision_detect", median(detect.clock), "frames/s", fastest, f"{plain}; ours: all but decoding and rules"
        ),
        Figure("vision_per_core", median(stage.cpu), "frames/s", cheapest, "vision by CPU seconds of all threads"),
    ]


def _ways(settings: Settings, pictures: Sequence[bytes]) -> tuple[Watch, ...]:
    """The stage, the detector alone, and the bare session in two settings."""
    detector = OnnxDetector.load(Path(settings.vision.model), threads=settings.vision.threads)
    decoded = [decode(picture) for picture in pictures]
    card = detector.card.input
    tensors = [detector.tensor(p, Letterbox.fit(p.shape[1], p.shape[0], card)) for p in decoded]
    batch = settings.vision.batch_frames
    return (
        Watch(step=_stage_step(settings, pictures, batch)),
        Watch(step=_detect_step(detector, decoded, batch)),
        Watch(step=_bare_step(settings, card.tensor, tensors, spin=True)),
        Watch(step=_bare_step(settings, card.tensor, tensors, spin=False)),
    )


def _stage_step(settings: Settings, pictures: Sequence[bytes], batch: int) -> Callable[[int], int]:
    """What the worker does with a run of records: handle, then commit."""
    from pipeline.app import vision_stages

    (stage,) = vision_stages(settings)
    start, state = time.time_ns() // 1000, stage.initial()

    def step(turn: int) -> int:
        nonlocal state
        values = []
        for seq in range(turn * batch + 1, (turn + 1) * batch + 1):
            at = start + seq * SECOND
            frame = Frame(at, pictures[seq % len(pictures)])
            record = FrameRecord("bench-tower", 1, seq, time.time_ns() // 1000, frame)
            values.append(wire.pack(record))
        state, seen = stage.handle(state, values)
        stage.commit([seen])
        return len(seen.frames)

    return step


def _detect_step(detector: OnnxDetector, pictures: Sequence[Picture], batch: int) -> Callable[[int], int]:
    def step(turn: int) -> int:
        return len(detector.detect([pictures[(turn * batch + n) % len(pictures)] for n in range(batch)]))

    return step


def _bare_step(settings: Settings, name: str, tensors: Sequence[Float32s], *, spin: bool) -> Callable[[int], int]:
    """ONNX Runtime as anyone would set it up; `spin` is its default, our detector's threads sleep instead."""
    folder, batch = Path(settings.vision.model), settings.vision.batch_frames
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = settings.vision.threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    card = load_card(folder)
    weights, wanted = load_weights(folder, card), output_names(card.output, family(card.family))
    session: Any = ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def step(turn: int) -> int:
        for n in range(batch):
            session.run(wanted, {name: tensors[(turn * batch + n) % len(tensors)]})
        return batch

    return step
