"""Two models over the same pictures: a ledger of a shadow, or a folder of pictures; where they differ, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.ports import Detector, InvalidMessage
from pipeline.vision.picture import decode
from pipeline.vision.shadow import KEPT, Both, best_scores, says, tallies


class Comparison(msgspec.Struct):
    """Counts by camera, how often both agree, and the frames that differ most, largest first."""

    main: str
    shadow: str
    frames: int
    agreement: float
    cameras: dict[str, dict[str, float]]
    largest: list[dict[str, Any]]
    unreadable: int = 0


def over_pictures(files: Iterable[Path], one: Detector, other: Detector) -> tuple[list[Both], int]:
    """What both see in each file (its folder is the camera, its number the time), and how many cannot be read."""
    seen, unreadable = [], 0
    for number, path in enumerate(files):
        try:
            image = decode(path.read_bytes())
        except (InvalidMessage, OSError):
            unreadable += 1
            continue
        (first,), (second,) = one.detect([image]), other.detect([image])
        seen.append(Both(str(path), number, one.model, other.model, list(first)[:KEPT], list(second)[:KEPT]))
    return seen, unreadable


def compare(
    frames: Sequence[Both],
    main: Mapping[str, float],
    shadow: Mapping[str, float],
    *,
    top: int,
    by_camera: bool = True,
) -> Comparison:
    """`main` and `shadow` are each one's thresholds by label."""
    named = frames if by_camera else [msgspec.structs.replace(f, camera=str(Path(f.camera).parent)) for f in frames]
    counted = tallies(named, main, shadow)
    agreed = sum(t.both + t.neither for t in counted.values())
    largest = sorted(frames, key=lambda f: -f.difference)[:top]
    return Comparison(
        main=frames[0].main if frames else "",
        shadow=frames[0].shadow if frames else "",
        frames=len(frames),
        agreement=agreed / len(frames) if frames else float("nan"),
        cameras={name: {**msgspec.to_builtins(t), "agreement": t.agreement} for name, t in counted.items()},
        largest=[_told(frame, main, shadow) for frame in largest if frame.difference > 0],
    )


def _told(frame: Both, main: Mapping[str, float], shadow: Mapping[str, float]) -> dict[str, Any]:
    return {
        "camera": frame.camera,
        "at": frame.at,
        "difference": round(frame.difference, 4),
        "main": _best(frame.saw),
        "shadow": _best(frame.shadow_saw),
        "main_says": says(frame.saw, main),
        "shadow_says": says(frame.shadow_saw, shadow),
    }


def _best(saw: Any) -> dict[str, float]:
    return {label: round(score, 4) for label, score in best_scores(saw).items()}
