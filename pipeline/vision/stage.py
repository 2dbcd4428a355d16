"""The vision worker's stage: decode → detect → store, and the sighting rules over what was seen."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline import wire
from pipeline.message import SECOND, Change, Detections, FrameRecord, HeldBack, Refusal, ScoredFrame, Signal
from pipeline.ports import AlarmBook, Blobs, Detector, InvalidMessage, Rule, Store
from pipeline.record import RAW_KEPT, Record, decoded, refusal_record, signal_record
from pipeline.rules import states
from pipeline.rules.blind import Blind
from pipeline.rules.sighted import take_held_back
from pipeline.vision import motion
from pipeline.vision.look import measure
from pipeline.vision.motion import Detection, Patch
from pipeline.vision.picture import Decoded
from pipeline.vision.shadow import Both, Shadow


class VisionState(msgspec.Struct):
    """Per partition: the rules' own states, and the last number seen of each stream `device/epoch`."""

    rules: list[Any]
    last: dict[str, int]
    patches: dict[str, list[Patch]] = {}
    """By camera, what its detections are compared with (`vision.motion`)."""


class Saved(msgspec.Struct, array_like=True):
    """`VisionState` as a snapshot holds it; what is added goes last, so that older ones can be read."""

    rules: dict[str, bytes]
    last: dict[str, int]
    patches: dict[str, list[Patch]] = {}


@dataclass
class Seen:
    """What a run of frames comes to. `pictures` are the encoded frames that signals refer to."""

    frames: list[ScoredFrame] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    held: list[HeldBack] = field(default_factory=list)
    both: list[tuple[Both, bytes]] = field(default_factory=list)
    blind: set[tuple[str, int]] = field(default_factory=set)
    """(camera, time) of pictures in which the camera was blind: scored, and no sign that it sees."""


@dataclass(frozen=True)
class Sinks:
    """Where what was seen goes."""

    store: Store
    blobs: Blobs
    book: AlarmBook


class VisionStage:
    """`now` is asked only for which frames give way when more come than can be scored; never by a rule."""

    topic = wire.FRAMES
    max_records = 64

    def __init__(
        self,
        detector: Detector,
        rules: Sequence[tuple[Rule[Any, Sequence[ScoredFrame]], type[Any]]],
        sinks: Sinks,
        *,
        decode: Callable[[bytes], Decoded],
        batch: int,
        max_age_s: float,
        now: Callable[[], int],
        shadow: Shadow | None = None,
    ) -> None:
        self._detector = detector
        self._rules = rules
        self._sinks = sinks
        self._decode = decode
        self._batch = batch
        self._max_age = int(max_age_s * SECOND)
        self._now = now
        self._shadow = shadow
        self._blind = [(i, rule) for i, (rule, _kind) in enumerate(rules) if isinstance(rule, Blind)]
        self.shed: Counter[str] = Counter()
        self.scored: Counter[str] = Counter()

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Of the model's card, by label."""
        return self._detector.thresholds

    def under(self, rules: Sequence[tuple[Rule[Any, Sequence[ScoredFrame]], type[Any]]]) -> VisionStage:
        """The same stage with other rules."""
        other = copy.copy(self)
        other._rules = rules
        return other

    def initial(self) -> VisionState:
        return VisionState(states.initial(self._rules), {})

    def dump(self, state: VisionState) -> bytes:
        return msgspec.msgpack.encode(Saved(states.pack(self._rules, state.rules), state.last, state.patches))

    def restore(self, data: bytes) -> VisionState:
        saved = msgspec.msgpack.decode(data, type=Saved)
        return VisionState(states.unpack(self._rules, saved.rules), saved.last, saved.patches)

    def figures(self) -> dict[str, Any]:
        """Frames by camera: scored, and given way to newer ones unscored."""
        told = {"scored": dict(self.scored), "shed": dict(self.shed)}
        return told if self._shadow is None else {**told, "shadow": self._shadow.figures()}

    def handle(self, state: VisionState, values: Sequence[bytes]) -> tuple[VisionState, Seen]:
        seen = Seen()
        records = self._give_way(self._fresh(state, values, seen))
        for start in range(0, len(records), self._batch):
            self._score(state, records[start : start + self._batch], seen)
        return state, seen

    def commit(self, outcomes: Sequence[Seen]) -> None:
        """Evidence first: a signal must never point at a picture that is not there."""
        for picture in (p for seen in outcomes for p in seen.pictures):
            self._sinks.blobs.put(picture)
        self._sinks.book.hold_back([held for seen in outcomes for held in seen.held])
        if self._shadow is not None and any(seen.both for seen in outcomes):
            self._shadow.write([pair for seen in outcomes for pair in seen.both])
        frames = [frame for seen in outcomes for frame in seen.frames]
        if frames:
            self._sinks.store.write_frames(frames)
            unseen = {picture for seen in outcomes for picture in seen.blind}
            fresh = [frame for frame in frames if (frame.camera, frame.at) not in unseen]
            newest = {frame.camera: min(frame.at, frame.received) for frame in fresh}
            rows = [{"device": camera, "frame_scored": at} for camera, at in newest.items()]
            if rows:
                self._sinks.book.report_devices(rows)

    def records(self, outcome: Seen) -> Iterable[Record]:
        yield from map(signal_record, outcome.signals)
        yield from map(refusal_record, outcome.refusals)

    # -------------------------------------------------------------- one run of frames

    def _fresh(self, state: VisionState, values: Sequence[bytes], seen: Seen) -> list[FrameRecord]:
        """Frames not seen before; a bridge that was restarted may put one on the log twice."""
        fresh = []
        for value in values:
            record = decoded(self.topic, value, wire.unpack_frame)
            if isinstance(record, Refusal):
                seen.refusals.append(record)
                continue
            stream = f"{record.device}/{record.epoch}"
            if record.seq > state.last.get(stream, 0):
                state.last[stream] = record.seq
                fresh.append(record)
        return fresh

    def _give_way(self, records: list[FrameRecord]) -> list[FrameRecord]:
        """While the oldest is too old to be of use live: the oldest frame of the busiest camera gives way."""
        kept = list(records)
        while len(kept) > self._batch and self._now() - kept[0].received > self._max_age:
            busiest = Counter(r.device for r in kept).most_common(1)[0][0]
            kept.remove(next(r for r in kept if r.device == busiest))
            self.shed[busiest] += 1
        return kept

    def _score(self, state: VisionState, records: list[FrameRecord], seen: Seen) -> None:
        readable = [(r, picture) for r in records if (picture := self._picture(r, seen)) is not None]
        if not readable:
            return
        found = self._detector.detect([shown.picture for _record, shown in readable])
        for (record, shown), detections in zip(readable, found, strict=True):
            scored = self._scored(state, record, shown, detections)
            self.scored[record.device] += 1
            seen.frames.append(scored)
            self._apply_shadow(scored, shown, record.frame.image, seen)
            self._apply_rules(state, scored, record.frame.image, seen)

    def _scored(
        self, state: VisionState, record: FrameRecord, shown: Decoded, detections: Detections
    ) -> ScoredFrame:
        """Boxes in pixels of the stored picture, and how much changes inside each."""
        found = enlarged(detections, shown)
        scale = shown.picture.shape[1] / shown.width
        before = state.patches.pop(record.device, [])
        changes, patches = motion.look(shown.picture, found, before, at=record.frame.at, scale=scale)
        if patches:
            state.patches[record.device] = patches
        return ScoredFrame(
            camera=record.device,
            at=record.frame.at,
            received=record.received,
            width=shown.width,
            height=shown.height,
            model=self._detector.model,
            detections=found,
            clock=record.frame.clock,
            changes=changes,
            look=measure(shown.picture, record.frame.image) if self._blind else None,
        )

    def _apply_shadow(self, scored: ScoredFrame, shown: Decoded, image: bytes, seen: Seen) -> None:
        """The second model's look, unless frames have begun to wait: it gives way before any of them does."""
        if self._shadow is None or self._now() - scored.received > self._max_age // 2:
            return
        if (both := self._shadow.see(scored, shown.picture)) is not None:
            seen.both.append((both, image))

    def _picture(self, record: FrameRecord, seen: Seen) -> Decoded | None:
        try:
            return self._decode(record.frame.image)
        except InvalidMessage as error:
            topic = wire.topic(record.device, "frame")
            raw = record.frame.image[:RAW_KEPT]
            seen.refusals.append(Refusal(record.device, topic, error.reason, error.detail, record.received, raw))
            return None

    def _apply_rules(self, state: VisionState, scored: ScoredFrame, image: bytes, seen: Seen) -> None:
        for i, (rule, _kind) in enumerate(self._rules):
            state.rules[i], signals = rule.step(state.rules[i], [scored])
            seen.held += take_held_back(state.rules[i])
            for signal in signals:
                seen.signals.append(self._with_picture(signal, image, seen))
        if any(rule.stands(state.rules[i], scored.camera) for i, rule in self._blind):
            seen.blind.add((scored.camera, scored.at))

    def _with_picture(self, signal: Signal, image: bytes, seen: Seen) -> Signal:
        """The frame that made the rule speak goes with its word, by the hash of its bytes."""
        if signal.change is Change.ENDED:
            return signal
        seen.pictures.append(image)
        key = hashlib.sha256(image).hexdigest()
        return msgspec.structs.replace(signal, evidence={**signal.evidence, "frame": key})


def enlarged(detections: Detections, shown: Decoded) -> list[Detection]:
    """Boxes of the picture that was decoded, in pixels of the one that is stored."""
    high, wide = shown.picture.shape[:2]
    x, y = shown.width / wide, shown.height / high
    return [(label, score, (b[0] * x, b[1] * y, b[2] * x, b[3] * y)) for label, score, b in detections]
