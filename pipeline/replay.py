"""Recorded tracks and videos through the rules, in event time, with no server.

    track files ─► PositionBatch ─► Fold (clean, geofence, speed, silence) ─┐
    videos ─► frames ─► Detector ─► ScoredFrame ─► Sighting ────────────────┴─► Signal ─► episode ─► Change

The functions are those of the workers, so a recorded day gives the alarms, by id, that it gave live. Nothing
depends on the clock, the machine or how the input is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline.alarms import episode
from pipeline.alarms.merge import Merge
from pipeline.message import SECOND, Alarm, Fix, PositionBatch, Refusal, ScoredFrame, Signal, Source, codes
from pipeline.ports import Detector, UserError
from pipeline.rules.cameras import Cameras
from pipeline.rules.config import RuleSet
from pipeline.rules.fleet import Fleet
from pipeline.rules.head import in_order
from pipeline.telemetry.clean import Limits
from pipeline.telemetry.fold import Fold, State
from pipeline.telemetry.meeting import Meeting
from pipeline.wire import rfc3339

if TYPE_CHECKING:
    from pipeline.vision.picture import Decoded

BATCH_ROWS = 10_000
DEVICE = "tracks"
"""Name of the device that the fixes of a recording come from, when their source names none."""

Rows = Callable[[int], object]
"""Told how many rows or frames were just done."""


class AlarmChange(msgspec.Struct, frozen=True):
    """One change in the life of an alarm, as `vedette replay --json` prints it; `at` is event time, RFC 3339."""

    alarm: str
    rule: str
    subject: str
    change: str
    at: str
    reason: str


class Outcome(msgspec.Struct):
    """Filled while a replay runs: its refusals, and the fold's state at the end."""

    refusals: list[Refusal] = []
    state: State | None = None


def replay(
    fixes: Iterable[Fix], rules: RuleSet, *, fleet: Fleet | None = None, batch_rows: int = BATCH_ROWS
) -> Iterator[Signal]:
    """The signals of `fixes`, in order of event time. Fixes are taken in the order given, which stands for arrival.

    Without a fleet every unit of the recording counts as enrolled.
    """
    yield from replay_batch(batch_of(list(fixes)), rules, fleet=fleet, batch_rows=batch_rows)


def replay_batch(
    batch: PositionBatch,
    rules: RuleSet,
    *,
    fleet: Fleet | None = None,
    batch_rows: int = BATCH_ROWS,
    limits: Limits | None = None,
    outcome: Outcome | None = None,
    done: Rows = lambda _rows: None,
) -> list[Signal]:
    """As `replay`, for fixes in columns. At the end `until` is the last event time, as the live agent sends it."""
    outcome = outcome if outcome is not None else Outcome()
    fold = Fold(rules.telemetry(fleet), enrolled=fleet.units if fleet else None, limits=limits)
    meeting = Meeting(rules.company(fleet))
    state, met, signals = fold.initial(), meeting.initial(), list[Signal]()
    for part in _pieces(batch, batch_rows):
        state, result = fold.step(state, part)
        signals += result.signals
        if concerned := meeting.concerned(result.stored):
            met, said = meeting.step(met, concerned)
            signals += said
        outcome.refusals += result.refusals
        done(len(part))
    outcome.state = state
    return in_order(signals)


def replay_frames(
    frames: Iterable[ScoredFrame], rules: RuleSet, thresholds: dict[str, float], cameras: Cameras | None = None
) -> list[Signal]:
    """The signals of scored frames, in order of event time. `thresholds` are the model card's."""
    signals: list[Signal] = []
    sightings = [rule for rule, _kind in rules.sightings(thresholds, cameras)]
    states = [rule.initial() for rule in sightings]
    for frame in frames:
        for i, rule in enumerate(sightings):
            states[i], said = rule.step(states[i], [frame])
            signals += said
    return in_order(signals)


def changes(
    signals: Iterable[Signal], merge: Merge | None = None, alarms: dict[str, Alarm] | None = None
) -> Iterator[AlarmChange]:
    """The life of each alarm as the alarm book would write it, from signals in order of event time.

    `merge` knows the cameras' poses, and so which of them see one fire; without it each episode is an alarm.
    `alarms` is filled with each alarm as it stands.
    """
    merge = merge or Merge()
    alarms = {} if alarms is None else alarms
    state = merge.initial()
    for signal in signals:
        state, merged = merge.step(state, signal)
        key, steps = episode.settle(alarms, merged)
        alarm = alarms[key]
        for step in steps:
            yield AlarmChange(alarm.id, alarm.rule, alarm.subject, step.change, rfc3339(step.at), step.reason)


def batch_of(fixes: Sequence[Fix], device: str = DEVICE) -> PositionBatch:
    """Fixes as columns, received when they were taken, numbered from 1."""
    units, unit = codes([fix.unit for fix in fixes])
    at = np.array([fix.at for fix in fixes], np.int64)
    floats: dict[str, Any] = {
        name: np.array([getattr(fix, name) for fix in fixes], np.float64)  # None becomes NaN
        for name in ("lat", "lon", "speed", "course", "alt", "accuracy")
    }
    for name in ("speed", "course", "alt", "accuracy"):
        floats[name] = floats[name].astype(np.float32)
    return PositionBatch(
        units=units,
        sources=(Source(device, 1),),
        unit=unit,
        source=np.zeros(len(fixes), np.uint32),
        seq=np.arange(1, len(fixes) + 1, dtype=np.int64),
        at=at,
        received=at,
        clock=np.array([fix.clock for fix in fixes], np.uint8),
        **floats,
    )


def _pieces(batch: PositionBatch, rows: int) -> Iterator[PositionBatch]:
    """Parts of at most `rows` rows; the last one carries the tick."""
    for start in range(0, len(batch), rows):
        piece = batch.select(np.arange(start, min(start + rows, len(batch))))
        if start + rows >= len(batch):
            until = int(batch.at.max())
            ticks = tuple((source.device, until) for source in batch.sources)
            piece = replace(piece, ticks=ticks)
        yield piece


# ---------------------------------------------------------------- videos


def scored_frames(
    video: Path,
    detector: Detector,
    *,
    start: int,
    every_s: float = 0.0,
    pace: float = 1.0,
    live_side: int | None = None,
    done: Rows = lambda _rows: None,
) -> Iterator[ScoredFrame]:
    """Frames of a video as the detector sees them; event time is `start` plus `pace` times the time in the video.

    `every_s` leaves out frames that come sooner after the one before, in event time; `pace` is above 1 for time
    lapse. `live_side`, the longer side of the model's input, has each picture encoded as an edge agent encodes it
    and decoded as the vision worker decodes it, so that the scores are those of a live run; without it the
    detector gets the video's own pixels. The file's name is the camera's name. Raises UserError for a file that
    cannot be opened as video.
    """
    from pipeline.vision.look import measure
    from pipeline.vision.motion import Patch, look
    from pipeline.vision.stage import enlarged

    camera = re.sub(r"[^A-Za-z0-9_-]+", "-", video.stem).strip("-_")[:63] or "video"
    due, patches = 0.0, list[Patch]()
    for shown, picture in _pictures(video):
        done(1)
        seconds = shown * pace
        if seconds + 1e-6 < due:
            continue
        due = seconds + every_s
        image, seen = (b"", _whole(picture)) if live_side is None else _as_live(picture, live_side)
        (detected,) = detector.detect([seen.picture])
        found, scale = enlarged(detected, seen), seen.picture.shape[1] / seen.width
        at = start + round(seconds * SECOND)
        moving, patches = look(seen.picture, found, patches, at=at, scale=scale)
        whole = measure(seen.picture, image)
        yield ScoredFrame(
            camera, at, at, seen.width, seen.height, detector.model, found, changes=moving, look=whole
        )


def _whole(picture: Any) -> Decoded:
    from pipeline.vision.picture import Decoded

    return Decoded(picture, picture.shape[1], picture.shape[0])


def _as_live(picture: Any, side: int) -> tuple[bytes, Decoded]:
    """The JPEG that an agent with its default settings sends, and what the vision worker makes of it."""
    from edge.picture import encode
    from edge.settings import Camera
    from pipeline.vision.picture import decode_for

    usual = Camera(url="")
    image = encode(picture, usual.jpeg_quality, usual.max_side, max_bytes=usual.max_bytes)
    return image, decode_for(image, side)


def frame_count(video: Path) -> int:
    """How many frames a video says it has; 0 if it does not say."""
    from pipeline.vision.picture import cv2

    capture = cv2.VideoCapture(str(video))
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def frame_rate(video: Path) -> float:
    """Frames a second, as the video says. UserError for a file that cannot be opened as video."""
    from pipeline.vision.picture import cv2

    if not video.is_file():
        raise UserError(f"no video {video}: check the path")
    capture = cv2.VideoCapture(str(video))
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        if not capture.isOpened() or not 0.001 < rate <= 1000:
            raise UserError(f"{video} cannot be read as video: convert it to MP4 (H.264)")
        return rate
    finally:
        capture.release()


def _pictures(video: Path) -> Iterator[tuple[float, Any]]:
    """(seconds since the beginning, H x W x 3 BGR)."""
    from pipeline.vision.picture import cv2

    rate = frame_rate(video)
    capture = cv2.VideoCapture(str(video))
    try:
        number = 0
        while True:
            read, picture = capture.read()
            if not read:
                return
            yield number / rate, picture
            number += 1
    finally:
        capture.release()
