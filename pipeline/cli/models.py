"""`vedette models`: bring a model of your own, look whether it is read rightly, compare it with another."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipeline.cli import compared
from pipeline.cli.common import settings_options
from pipeline.cli.detect import as_row
from pipeline.ports import InvalidMessage, UserError
from pipeline.settings import PACKAGE, Settings
from pipeline.vision import doctor as clinic
from pipeline.vision.adopt import Adopted, Wish, adopt, parse_keys, read_labels
from pipeline.vision.card import CARD_FILE, ModelCard, load_card
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.frigate import read_frigate, wish_of
from pipeline.vision.picture import Picture, decode

FOLDER = click.Path(path_type=Path)
LEAST_SCORE = 0.05


@click.group(commands={"compare": compared.command})
def command() -> None:
    """Bring a model of your own: any ONNX file of a layout known here, or one that Frigate is configured for.

    `add` reads the graph, tells its family, and writes a model card beside the weights; `doctor` shows on a picture
    whether they are read rightly; then name the folder in [vision] model, or in [vision] shadow to watch it first.
    """


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a person may have to say of an ONNX file."""
    for option in (
        click.option("--frigate", type=FOLDER, help="Frigate's config.yml, or a TOML file with its model keys."),
        click.option(
            "--set", "keys", multiple=True, metavar="KEY=VALUE", help="A key of the card: input.width=640."
        ),
        click.option("--family", default="", help="The layout of its outputs, when the graph leaves it open."),
        click.option("--labels", default="", help="File with a class a line, or names: smoke,fire."),
        click.option("--name", default="", help="Name of the model (default: from the file)."),
    ):
        command = option(command)
    return command


@command.command()
@click.argument("file", required=False, type=FOLDER)
@click.option(
    "--into", type=FOLDER, default=Path("models"), show_default=True, help="Folder for the model's folder."
)
@model_options
def add(file: Path | None, into: Path, **said: Any) -> None:
    """Take an ONNX file as a model: its card and its bytes go to INTO/NAME.

    What cannot be told from the graph is asked for by the key to set. Nothing is guessed that could be two things.
    """
    wish = _wish(file, **said)
    folder, found = adopt(wish, into)
    _tell(found)
    click.echo(f"added  {folder}; see what it sees: vedette models doctor {folder}")


@command.command()
@click.argument("place", required=False, type=FOLDER)
@click.option("--image", type=FOLDER, help="Picture to look at (default: one drawn here, 1280 x 720).")
@click.option("--out", type=FOLDER, help="PNG to write the picture with boxes to.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@model_options
@settings_options
def doctor(
    place: Path | None, image: Path | None, out: Path | None, as_json: bool, settings: Settings, **said: Any
) -> None:
    """Try a model (its folder, or an ONNX file) on a picture that is not square, and say what looks wrong.

    Exit status 1 if something does.
    """
    picture = _picture(image) if image else clinic.scene()
    with _opened(place, settings, said) as detector:
        report = clinic.examine(detector, picture)
        if out:
            clinic.drawn(picture, report.found, detector.thresholds, out)
        _show(detector, report, out, as_json=as_json)
    if report.wrong:
        raise SystemExit(1)


@command.command(name="list")
@click.option("--into", type=FOLDER, default=Path("models"), show_default=True, help="Folder of models' folders.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model, a line each.")
@settings_options
def list_(into: Path, as_json: bool, settings: Settings) -> None:
    """Models in a folder, and those that are shipped: family, input, classes, which is in use."""
    for folder in _folders(into):
        try:
            card = load_card(folder)
        except UserError as error:
            click.echo(f"broken  {error}", err=True)
            continue
        use = _use(folder, settings)
        row = {"name": card.name, "folder": str(folder), "family": card.family, "use": use, **_summary(card)}
        click.echo(
            json.dumps(row)
            if as_json
            else f"{card.title:<32} {card.family:<12} {_size(card):<10} {', '.join(card.classes)[:40]:<40} {use}"
        )


# ---------------------------------------------------------------- what was said, and what is told


def _wish(
    file: Path | None, *, name: str, labels: str, family: str, keys: tuple[str, ...], frigate: Path | None
) -> Wish:
    given = parse_keys(keys) | ({"family": family} if family else {})
    names = read_labels(labels) if labels else []
    if frigate is None:
        if file is None:
            raise UserError("name an ONNX file, or Frigate's configuration with --frigate")
        return Wish(file, name, names, given)
    theirs = read_frigate(frigate)
    if file is not None:
        theirs["path"] = str(file)
    wish = wish_of(frigate, theirs, name=name, labels=names)
    return Wish(wish.file, wish.name, wish.labels, {**wish.keys, **given})


@contextmanager
def _opened(place: Path | None, settings: Settings, said: dict[str, Any]) -> Iterator[OnnxDetector]:
    """The model of a folder, or of a file for as long as it is looked at."""
    providers, threads = settings.vision.providers, settings.vision.threads
    if place is not None and place.is_dir():
        yield OnnxDetector.load(place, threads=threads, min_score=LEAST_SCORE, providers=providers)
        return
    with tempfile.TemporaryDirectory(prefix="vedette-doctor-") as folder:
        made, found = adopt(_wish(place, **said), Path(folder))
        _tell(found)
        yield OnnxDetector.load(made, threads=threads, min_score=LEAST_SCORE, providers=providers)


def _tell(found: Adopted) -> None:
    card = found.card
    click.echo(f"family {card.family}: {found.because}", err=True)
    click.echo(
        f"input  {card.input.tensor} {_size(card)} {card.input.colour} {card.input.dtype}, {card.input.fit}",
        err=True,
    )
    for doubt in found.doubts:
        click.echo(f"doubt  {doubt}", err=True)


def _picture(path: Path) -> Picture:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"picture {path} cannot be read: {error.strerror}") from error
    except InvalidMessage as refusal:
        raise UserError(f"{path}: {refusal}") from refusal


def _show(detector: OnnxDetector, report: clinic.Report, out: Path | None, *, as_json: bool) -> None:
    card = detector.card
    rows = [as_row(*d) for d in report.found]
    passing = [r for r in rows if r["score"] >= detector.thresholds[r["label"]]]
    if as_json:
        figures = {"median_ms": report.median_ms, "p95_ms": report.p95_ms, "peak_mib": report.peak_mib}
        told = {"model": card.title, "family": card.family, **_summary(card), "providers": detector.providers}
        click.echo(json.dumps({**told, **figures, "wrong": report.wrong, "detections": rows}))
        return
    click.echo(f"model      {card.title}, family {card.family}, {', '.join(detector.providers)}")
    click.echo(
        f"input      {_size(card)} {card.input.colour} {card.input.dtype} {card.input.layout}, {card.input.fit}"
    )
    click.echo(f"classes    {', '.join(f'{label} from {least:g}' for label, least in detector.thresholds.items())}")
    click.echo(f"time       median {report.median_ms:.1f} ms, p95 {report.p95_ms:.1f} ms a picture")
    click.echo(f"memory     {report.peak_mib:.0f} MiB at most, the whole process")
    click.echo(f"found      {len(passing)} from their thresholds, {len(rows)} from {LEAST_SCORE}")
    for row in passing[:10]:
        click.echo(f"           {row['label']} {row['score']:.2f} at {row['box']}")
    for words in report.wrong or ["nothing looks wrong; whether boxes are right, your eyes must tell"]:
        click.echo(f"{'wrong' if report.wrong else 'fine':<10} {words}")
    if out:
        click.echo(f"picture    {out}")


def _folders(into: Path) -> list[Path]:
    cards = {path.resolve().parent for root in (into, PACKAGE / "models") for path in root.rglob(CARD_FILE)}
    return sorted(cards)


def _use(folder: Path, settings: Settings) -> str:
    uses = {"model": settings.vision.model, "shadow": settings.vision.shadow}
    return ", ".join(key for key, value in uses.items() if value and Path(value).resolve() == folder)


def _summary(card: ModelCard) -> dict[str, Any]:
    return {"width": card.input.width, "height": card.input.height, "classes": card.classes, "sha256": card.sha256}


def _size(card: ModelCard) -> str:
    return f"{card.input.width} x {card.input.height}"
