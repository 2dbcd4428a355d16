"""Why a camera may be blind, one function a cause: the newest picture against the camera's own past.

Each answers with a `Sign`, or None. A cause that already stands or is suspected (`on`) is held by a weaker sign
than the one that raised it, so that nothing flutters. Fog, snowfall, dusk and night take detail away slowly; what
goes at once is a hand, a cover or a fall. The numbers stand in docs/blindness.md.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.message import SECOND, Clock, Look, ScoredFrame
from pipeline.rules.eye import HOUR, Eye, View, daylight, hidden_share, light, nothing_in_it, structured, usual
from pipeline.rules.head import spell_s

BLACK, WHITE, FROZEN, COVERED, MOVED, DEFOCUSED, STALE = (
    "black",
    "white",
    "frozen",
    "covered",
    "moved",
    "defocused",
    "stale",
)
STOPPED, STILL = 4, 60
"""Times the limit of exact repeats: for a picture that stopped from one frame to the next, and one merely still."""

NIGHT = 16 * HOUR
"""Darkness that lasts longer than this is no night."""

SUDDEN = 5 * SECOND
SUDDEN_SLOW = 180 * SECOND
"""The same for a camera that sends a picture a minute, where it must be seen in the light as well."""


class Limits(msgspec.Struct, frozen=True):
    """Times in microseconds: see the keys of kind `blind` in config/rules.toml."""

    persist: int = 20 * SECOND
    frozen: int = 30 * SECOND
    close: int = 30 * SECOND
    stale: int = 300 * SECOND
    slow: int = 12 * HOUR
    settle: int = 60 * SECOND
    accept: int = HOUR
    min_frames: int = 3
    max_gap: int = HOUR


class Sign(msgspec.Struct, frozen=True):
    """A cause as it looks in the newest picture: in words, and for how long it must last to be believed.

    `since` and `seen` tell how long it has lasted and over how many pictures, where the cause itself counts them.
    """

    words: str
    lasts: int
    frames: int
    since: int = 0
    seen: int = 0


class Case(msgspec.Struct, frozen=True):
    """The newest picture, what is remembered, and how the two compare."""

    eye: Eye
    frame: ScoredFrame
    look: Look
    view: View | None
    limits: Limits

    def sign(self, words: str, *, lasts: int | None = None, frames: int | None = None) -> Sign:
        limits = self.limits
        return Sign(words, limits.persist if lasts is None else lasts, frames or limits.min_frames)

    def just_now(self, then: int) -> bool:
        """Whether something was so until a moment ago; cameras that send rarely get two pictures' time."""
        return then > 0 and self.frame.at - then <= max(SUDDEN, min(2 * self.eye.gap, SUDDEN_SLOW))


def black(case: Case, on: bool) -> Sign | None:
    """Nothing in it, where a moment ago, or at this hour yesterday, was daylight; a night is no fault."""
    eye, look, at = case.eye, case.look, case.frame.at
    if not nothing_in_it(look):
        return None
    if on or case.just_now(eye.day_at) or _day_by_hour(eye, at) or at - eye.dark_since > NIGHT:
        return case.sign(f"black: mean {look.mean:.0f}, contrast {look.contrast:.1f} of 255 grey levels")
    return None


def _day_by_hour(eye: Eye, at: int) -> bool:
    """Whether the last two days had daylight at this hour and the hours about it."""
    hour = at // HOUR
    return all(eye.days[h % 24] and at - eye.days[h % 24] < 50 * HOUR for h in (hour - 1, hour, hour + 1))


def white(case: Case, on: bool) -> Sign | None:
    look = case.look
    if look.bright < (0.7 if on else 0.85):
        return None
    return case.sign(f"white: {look.bright:.0%} of the picture is overexposed, mean {look.mean:.0f} of 255")


def frozen(case: Case, _on: bool) -> Sign | None:
    """The same picture again and again, or one in which nearly nothing changes any more.

    Suspected after a while only: a camera that is slower than its agent gives each picture twice.
    """
    eye, look, at, limit = case.eye, case.look, case.frame.at, case.limits.frozen
    if nothing_in_it(look):
        return None
    same, still = at - eye.same_since, at - eye.still_since
    if eye.same_frames >= 3 and same >= limit // 3:
        words = f"frozen: the same picture {eye.same_frames} times in {spell_s(same)}"
        return Sign(words, limit, case.limits.min_frames, eye.same_since, eye.same_frames)
    if eye.still_frames < 3 or still < limit // 3 or not (eye.stopped or daylight(look)):
        return None
    words = f"frozen: nothing but coding noise, or a clock, has changed for {spell_s(still)}"
    if eye.stopped:
        words += f", while each picture usually changes by {eye.lively:.1f} grey levels"
        return Sign(words, STOPPED * limit, 10, eye.still_since, eye.still_frames)
    if still < STILL * limit:  # a calm day is often still for a while: that must keep no alarm from ending
        return None
    return Sign(words, STILL * limit, 30, eye.still_since, eye.still_frames)


def covered(case: Case, on: bool) -> Sign | None:
    """Most of the structure is gone: at once (a hand, a bag), or for hours of daylight (ice, dirt)."""
    eye, look = case.eye, case.look
    share = hidden_share(eye, look)
    if share is None or nothing_in_it(look) or share < (0.4 if on else 0.6):
        return None
    words = f"covered: {share:.0%} of the picture has lost its structure"
    if eye.hidden >= case.limits.slow:
        return case.sign(f"{words} for {spell_s(eye.hidden)} of daylight: ice, dirt, or a very long fog")
    at_once = case.frame.at - eye.clear_at <= SUDDEN or look.mean < 0.6 * eye.clear_mean
    if on or (at_once and case.just_now(eye.clear_at)):
        return case.sign(f"{words} at once: something before the lens, or far out of focus")
    return None


def moved(case: Case, on: bool) -> Sign | None:
    """The edges are elsewhere, or are others, while there are as many as before and the light is the same."""
    eye, view = case.eye, case.view
    if view is None or structured(case.look) < 24 or (eye.settled < case.limits.settle and not on):
        return None
    shifted = view.elsewhere >= 0.4 and view.elsewhere - view.here >= 0.2
    if shifted:
        right, down = view.shift
        words = f"moved: the view has gone {abs(right):.0%} {'right' if right > 0 else 'left'}"
        words += f" and {abs(down):.0%} {'down' if down > 0 else 'up'}"
    else:
        words = "moved: the view is another one"
    words += f" (likeness {max(view.here, 0):.2f} in place, {view.elsewhere:.2f} there)"
    if on:
        return case.sign(words) if shifted or view.here < 0.4 else None
    same_light = 0.5 < case.look.mean / max(eye.clear_mean, 1) < 2 and daylight(case.look)
    other = view.here < 0.2 and same_light and case.just_now(eye.like_at)
    return case.sign(words) if shifted or other else None


def defocused(case: Case, on: bool) -> Sign | None:
    """Fine detail is gone while coarse structure is as ever: fog would have taken both."""
    eye, look = case.eye, case.look
    sharp, contrast = (usual(eye, look, name) for name in ("sharpness", "contrast"))
    if sharp is None or contrast is None or look.sharpness is None or look.contrast < 0.6 * contrast[0]:
        return None
    low, high = sharp
    if look.sharpness >= low * (0.6 if on else 0.4) or (hidden_share(eye, look) or 0) >= 0.6:
        return None
    words = f"defocused: sharpness {look.sharpness:.0f}, usually {low:.0f} to {high:.0f} by {light(look)}"
    return case.sign(words, lasts=2 * case.limits.persist)


def stale(case: Case, on: bool) -> Sign | None:
    """Old on arrival, by a clock that can be believed: recordings name none, and are never stale."""
    age = case.frame.received - case.frame.at
    if case.frame.clock is not Clock.SYNCED or age < case.limits.stale * (0.5 if on else 1.0):
        return None
    return case.sign(f"stale: its pictures are {spell_s(age)} old when they arrive")


CAUSES: dict[str, Callable[[Case, bool], Sign | None]] = {
    BLACK: black,
    WHITE: white,
    FROZEN: frozen,
    COVERED: covered,
    MOVED: moved,
    DEFOCUSED: defocused,
    STALE: stale,
}
"""By name; where several hold, the first is named."""
