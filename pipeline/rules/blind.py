"""A camera that no longer sees: one episode a camera, whatever its causes.

    picture ─► eye (what the camera usually shows) ─► causes (what is wrong now) ─► suspicion ─► episode

A cause is believed when its sign has lasted long enough in event time and over enough pictures. The episode begins
with the first cause believed, says so when another takes over, and ends when none has held for `close`. Causes are
named in `pipeline.rules.causes`; a camera that sends nothing at all is `pipeline.rules.pictures`' concern.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from pipeline.message import SECOND, Change, Look, ScoredFrame, Signal
from pipeline.rules import eye as eyes
from pipeline.rules.causes import CAUSES, FROZEN, MOVED, STALE, Case, Limits, Sign
from pipeline.rules.eye import Eye
from pipeline.rules.head import Head, spell_s
from pipeline.rules.pictures import NoPictures, PictureState
from pipeline.rules.sighting import FUTURE
from pipeline.rules.spec import Common, NotNegative, Positive

WELL_FRAMES = 3
Cause = Literal["black", "white", "frozen", "covered", "moved", "defocused", "stale", "silent"]
"""Those of `causes.CAUSES`, and the one that is told without any picture."""


class Spec(Common, frozen=True, kw_only=True):
    cameras: list[str] = msgspec.field(default_factory=list)
    causes: list[Cause] = msgspec.field(default_factory=list)
    persist_s: NotNegative = 20.0
    frozen_s: Positive = 30.0
    close_s: NotNegative = 30.0
    stale_s: Positive = 300.0
    slow_s: Positive = 43_200.0
    settle_s: NotNegative = 60.0
    accept_s: Positive = 3600.0
    silent_s: Positive = 120.0

    def limits(self) -> Limits:
        """Its times in microseconds."""
        names = ("persist", "frozen", "close", "stale", "slow", "settle", "accept")
        return Limits(**{name: round(getattr(self, f"{name}_s") * SECOND) for name in names})


class Suspicion(msgspec.Struct):
    """A cause whose sign holds: since when (by the clock that the cause is told in), and over how many pictures."""

    since: int
    frames: int


class Episode(msgspec.Struct):
    """The camera is blind. `well_since` and `well_frames` count what speaks for its end."""

    start: int
    cause: str
    since: int
    well_since: int = 0
    well_frames: int = 0


class Camera(msgspec.Struct):
    eye: Eye
    suspicions: dict[str, Suspicion] = {}
    episode: Episode | None = None


class State(msgspec.Struct):
    """By camera. `passed_over` counts pictures out of order or with a stamp from the future."""

    cameras: dict[str, Camera]
    passed_over: int = 0


class Blind:
    """Satisfies `pipeline.ports.Rule` for `Sequence[ScoredFrame]`; a frame without a look says nothing."""

    def __init__(self, head: Head, limits: Limits, causes: Collection[str] = ()) -> None:
        self.name = head.name
        self._head, self._limits = head, limits
        self._causes = {name: CAUSES[name] for name in CAUSES if not causes or name in causes}

    def initial(self) -> State:
        return State({})

    def step(self, state: State, batch: Sequence[ScoredFrame]) -> tuple[State, list[Signal]]:
        signals: list[Signal] = []
        for frame in batch:
            if frame.look is not None and self._head.scope.covers(frame.camera):
                signals += self._frame(state, frame, frame.look)
        return state, signals

    def tick(self, state: State, watermark: object) -> tuple[State, list[Signal]]:
        """Nothing: without pictures nobody knows whether it sees again."""
        return state, []

    def stands(self, state: State, camera: str) -> bool:
        """Whether the camera is blind as of its last picture, so that the picture counts for nothing."""
        known = state.cameras.get(camera)
        return known is not None and known.episode is not None

    # -------------------------------------------------------------- one picture

    def _frame(self, state: State, frame: ScoredFrame, look: Look) -> list[Signal]:
        camera = state.cameras.setdefault(frame.camera, Camera(Eye()))
        eye = camera.eye
        if frame.at <= eye.at or frame.at - frame.received > FUTURE:
            state.passed_over += 1
            return []
        if eye.at and frame.at - eye.at < eyes.EVERY:
            return []
        self._after_gap(camera, frame)
        signs = self._look(camera, frame, look)
        eye.at = frame.at
        return self._judge(camera, frame, signs)

    def _after_gap(self, camera: Camera, frame: ScoredFrame) -> None:
        """After a long gap suspicions begin anew; a picture of another size is no measure of sharpness."""
        eye = camera.eye
        eye.gap = frame.at - eye.at if eye.at else 0
        if eye.gap > self._limits.max_gap:
            camera.suspicions = {}
            eye.mark, eye.anchor_thumb = "", b""
        if eye.size != (frame.width, frame.height):
            eye.size, eye.usual, eye.anchor_thumb = (frame.width, frame.height), {}, b""

    def _look(self, camera: Camera, frame: ScoredFrame, look: Look) -> dict[str, Sign]:
        """The signs of each cause that is watched; what is well is learned."""
        eye, at = camera.eye, frame.at
        eyes.repeat(eye, look, at)
        eyes.stillness(eye, look, at)
        eye.dark_since = (eye.dark_since or at) if eyes.nothing_in_it(look) else 0
        edges = eyes.outline(look.thumb)
        case = Case(eye, frame, look, eyes.view(eye, edges), self._limits)
        found = {name: cause(case, self._on(camera, name)) for name, cause in self._causes.items()}
        signs = {name: sign for name, sign in found.items() if sign is not None}
        if not set(signs) - {STALE, FROZEN} and camera.episode is None:
            eyes.learn(eye, look, edges, at)
        _remember(case)
        return signs

    def _on(self, camera: Camera, cause: str) -> bool:
        return cause in camera.suspicions or (camera.episode is not None and camera.episode.cause == cause)

    # -------------------------------------------------------------- suspicion and episode

    def _judge(self, camera: Camera, frame: ScoredFrame, signs: dict[str, Sign]) -> list[Signal]:
        camera.suspicions = {name: self._suspicion(camera, frame, name, sign) for name, sign in signs.items()}
        believed = [name for name, sign in signs.items() if self._believed(camera, frame, name, sign)]
        if camera.episode is None:
            return [self._began(camera, frame, believed[0], signs)] if believed else []
        if signs:
            camera.episode.well_since = camera.episode.well_frames = 0
        return self._go_on(camera, frame, believed, signs) if believed else self._recover(camera, frame, signs)

    def _suspicion(self, camera: Camera, frame: ScoredFrame, name: str, sign: Sign) -> Suspicion:
        if sign.since:
            return Suspicion(sign.since, sign.seen)
        known = camera.suspicions.get(name)
        return Suspicion(known.since, known.frames + 1) if known else Suspicion(_clock(frame, name), 1)

    def _believed(self, camera: Camera, frame: ScoredFrame, name: str, sign: Sign) -> bool:
        suspicion = camera.suspicions[name]
        return _clock(frame, name) - suspicion.since >= sign.lasts and suspicion.frames >= sign.frames

    def _began(self, camera: Camera, frame: ScoredFrame, name: str, signs: dict[str, Sign]) -> Signal:
        since = camera.suspicions[name].since
        camera.episode = Episode(start=since, cause=name, since=since)
        return self._say(Change.BEGAN, camera.episode, frame, f"{frame.camera} is blind, {signs[name].words}")

    def _go_on(
        self, camera: Camera, frame: ScoredFrame, believed: Sequence[str], signs: dict[str, Sign]
    ) -> list[Signal]:
        """A plainer cause takes over, or any when the named one has gone; a new view is accepted in time."""
        episode = camera.episode
        assert episode is not None
        if _overrules(believed[0], episode.cause, signs):
            episode.cause, episode.since = believed[0], camera.suspicions[believed[0]].since
            words = f"{frame.camera} is still blind, now {signs[episode.cause].words}"
            return [self._say(Change.STILL, episode, frame, words)]
        if set(signs) <= {MOVED} and frame.at - episode.since >= self._limits.accept:
            eyes.forget_view(camera.eye)
            words = (
                f"{frame.camera} has kept its new view for {spell_s(frame.at - episode.since)}: it is its own now"
            )
            return [self._end(camera, episode, frame, words)]
        return []

    def _recover(self, camera: Camera, frame: ScoredFrame, signs: dict[str, Sign]) -> list[Signal]:
        episode = camera.episode
        if signs or episode is None:
            return []
        episode.well_since = episode.well_since or frame.at
        episode.well_frames += 1
        if frame.at - episode.well_since < self._limits.close or episode.well_frames < WELL_FRAMES:
            return []
        words = f"{frame.camera} sees again: it was {episode.cause}, and nothing has been wrong for "
        return [self._end(camera, episode, frame, words + spell_s(frame.at - episode.well_since))]

    def _end(self, camera: Camera, episode: Episode, frame: ScoredFrame, words: str) -> Signal:
        camera.episode, camera.suspicions = None, {}
        return self._say(Change.ENDED, episode, frame, words)

    def _say(self, change: Change, episode: Episode, frame: ScoredFrame, words: str) -> Signal:
        return self._head.signal(
            change,
            frame.camera,
            at=max(_clock(frame, episode.cause), episode.start),
            start=episode.start,
            reason=words,
            camera=frame.camera,
            cause=episode.cause,
            label=episode.cause,
            clock=frame.clock.name.lower(),
            size=[frame.width, frame.height],
            look=_numbers(frame.look),
        )


def _overrules(cause: str, named: str, signs: Collection[str]) -> bool:
    """White hides what a cover would hide too: the cause that stands first in the table is named."""
    order = list(CAUSES)
    return named not in signs or order.index(cause) < order.index(named)


def _remember(case: Case) -> None:
    """Until when it was day, clear, and the view the learned one: by that a sudden change is told."""
    eye, look, at, view = case.eye, case.look, case.frame.at, case.view
    day, share = eyes.daylight(look), eyes.hidden_share(eye, look)
    eye.day_at = at if day else eye.day_at
    if share is not None and share < 0.3 and day:
        eye.clear_at, eye.clear_mean, eye.hidden = at, look.mean, 0
    elif share is not None and share >= 0.6 and day:
        eye.hidden += min(eye.gap, case.limits.max_gap)
    if view is not None and view.here >= 0.5:
        eye.like_at, eye.settled = at, eye.settled + eye.gap
    elif view is not None and view.here < 0.3 and not eye.settled >= case.limits.settle:
        eye.settled = 0


def _clock(frame: ScoredFrame, cause: str) -> int:
    """Event time; how long pictures have been coming late is told by the clock they arrive by."""
    return frame.received if cause == STALE else frame.at


def _numbers(look: Look | None) -> dict[str, Any]:
    names = ("mean", "contrast", "dark", "bright", "sharpness")
    return {name: getattr(look, name) for name in names} if look else {}


def build(spec: Spec, head: Head) -> tuple[Blind, type[State]]:
    """The rule over `ScoredFrame`."""
    return Blind(head, spec.limits(), spec.causes), State


def build_silent(spec: Spec, head: Head) -> list[tuple[NoPictures, type[PictureState]]]:
    """The rule over `DeviceRecord`, where the table watches for cameras that send nothing."""
    watched = not spec.causes or "silent" in spec.causes
    return [(NoPictures(head, round(spec.silent_s * SECOND)), PictureState)] if watched else []
