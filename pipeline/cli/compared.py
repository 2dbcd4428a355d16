"""`vedette models compare`: where two models differ, on what ran in shadow or on a folder of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.cli.common import settings_options
from pipeline.cli.detect import find
from pipeline.ports import UserError
from pipeline.settings import Settings
from pipeline.vision.card import ModelCard, load_card
from pipeline.vision.compare import Comparison, compare, over_pictures
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.shadow import LEDGER_FILE, Ledger
from pipeline.wire import parse_rfc3339, rfc3339

FOLDER = click.Path(path_type=Path)
LEAST_SCORE = 0.05
FOREVER = 2**62
PNG = b"\x89PNG"


@click.command()
@click.argument("models", nargs=-1, type=FOLDER)
@click.option("--images", type=FOLDER, help="Folder of pictures to show to both MODELS now, with nothing running.")
@click.option("--from", "start", default="", help="Only frames from this time on (RFC 3339).")
@click.option("--to", "end", default="", help="Only frames before this time.")
@click.option("--camera", default="", help="Only this camera.")
@click.option("--top", default=10, show_default=True, help="How many of the largest differences to list.")
@click.option("--save", type=FOLDER, help="Folder to write the pictures of the largest differences to.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@settings_options
def command(models: tuple[Path, ...], images: Path | None, as_json: bool, settings: Settings, **asked: Any) -> None:
    """Where two models differ: how often each speaks, at its own thresholds, and the largest differences.

    Without --images: what the model in [vision] shadow saw beside the one in use, of the system in --data. With
    --images DIR A B: both are shown every picture there.
    """
    if images is not None:
        found = _offline(images, models, settings, asked["top"])
    else:
        found = _from_ledger(settings, **asked)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found)))
        return
    _show(found, times=images is None)


def _offline(images: Path, models: Sequence[Path], settings: Settings, top: int) -> Comparison:
    if len(models) != 2:
        raise UserError("--images DIR needs two model folders after it: vedette models compare --images DIR A B")
    vision = settings.vision
    one, other = (
        OnnxDetector.load(m, threads=vision.threads, min_score=LEAST_SCORE, providers=vision.providers)
        for m in models
    )
    frames, unreadable = over_pictures(find((images,)), one, other)
    found = compare(frames, one.thresholds, other.thresholds, top=top, by_camera=False)
    found.unreadable = unreadable
    return found


def _from_ledger(
    settings: Settings, *, start: str, end: str, camera: str, top: int, save: Path | None
) -> Comparison:
    ledger = Ledger(Path(settings.data) / LEDGER_FILE)
    frames = ledger.read(_time(start, 0), _time(end, FOREVER), camera)
    if not frames:
        raise UserError(f"no frames in {ledger.path} for that camera and time")
    pair = (frames[-1].main, frames[-1].shadow)
    frames = [f for f in frames if (f.main, f.shadow) == pair]
    main, shadow = (_thresholds(name, settings) for name in pair)
    found = compare(frames, main, shadow, top=top)
    if save:
        _save(ledger, found, save)
    return found


def _time(text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no time: write 2026-11-22T06:00:00Z") from error


def _thresholds(title: str, settings: Settings) -> dict[str, float]:
    """Those of the card that has this title. Raises UserError if neither setting names it any more."""
    for folder in (settings.vision.model, settings.vision.shadow):
        card: ModelCard | None = load_card(Path(folder)) if folder else None
        if card is not None and card.title == title:
            return dict(card.thresholds)
    raise UserError(f"{title} scored last, but neither [vision] model nor shadow is that model now: name it there")


def _save(ledger: Ledger, found: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in found.largest:
        image = ledger.picture(row["camera"], row["at"])
        if image is not None:
            name = f"{row['difference']:.2f}-{row['camera']}-{rfc3339(row['at']).replace(':', '')}"
            suffix = "png" if image.startswith(PNG) else "jpg"
            (folder / f"{name}.{suffix}").write_bytes(image)


def _show(found: Comparison, *, times: bool) -> None:
    click.echo(f"main {found.main}, shadow {found.shadow}: {found.frames} frames, agree on {found.agreement:.1%}")
    if found.unreadable:
        click.echo(f"{found.unreadable} pictures could not be read")
    click.echo(f"{'camera':<32} {'frames':>7} {'both':>6} {'main':>6} {'shadow':>6} {'neither':>7} {'agree':>7}")
    for name, row in found.cameras.items():
        counts = f"{row['both']:>6} {row['main_only']:>6} {row['shadow_only']:>6} {row['neither']:>7}"
        click.echo(f"{name[-32:]:<32} {row['frames']:>7} {counts} {row['agreement']:>7.1%}")
    for far in found.largest:
        place = f"{far['camera']} {rfc3339(far['at'])}" if times else far["camera"]
        click.echo(
            f"{far['difference']:.2f}  {place}  main {_scores(far['main'])}  shadow {_scores(far['shadow'])}"
        )


def _scores(best: dict[str, float]) -> str:
    return ", ".join(f"{label} {score:.2f}" for label, score in best.items()) or "nothing"
