"""`vedette check`: settings, rules, fences, fleet and model, before they are used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.cli.common import settings_for
from pipeline.ports import UserError
from pipeline.rules.cameras import load_cameras
from pipeline.rules.config import RuleSet, inspect
from pipeline.rules.fences import datum_doubt, inspect_fences
from pipeline.rules.fleet import Fleet, load_fleet
from pipeline.rules.shapes import Reading
from pipeline.rules.tables import Finding
from pipeline.settings import Settings
from pipeline.telemetry.clean import Limits

Checks = Iterator[tuple[str, list[Finding]]]
"""For each thing looked at: what it holds, in a few words, and what is wrong with it."""


class Files(msgspec.Struct):
    """What is to be looked at; None: not."""

    rules: Path | None = None
    fences: Path | None = None
    fleet: Path | None = None
    model: Path | None = None
    shadow: Path | None = None
    providers: tuple[str, ...] = ()
    cameras: Path | None = None

    def named(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


def path_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, type=click.Path(path_type=Path), help=text)


NO_GROUPS = "none; give units one in its column `group`, or take the rule out"


@click.command()
@path_option("--config", "Settings file; all that it names is checked (default: $VEDETTE_CONFIG, else built-in).")
@path_option("--data", "Data folder of a system, as given to `vedette up --data`.")
@path_option("--rules", "Check this rules file and its fences.")
@path_option("--fences", "Check this fence file (GeoJSON, KML, GPX, WKT).")
@path_option("--fleet", "Check this fleet file.")
@path_option("--model", "Check this model folder: card, hash, graph.")
@path_option("--cameras", "Check this cameras file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding, a line each.")
def command(config: Path | None, data: Path | None, as_json: bool, **named: Any) -> None:
    """Check settings, rules, fences, fleet, model, cameras; tell file, line, key, reason and fix of each mistake.

    With --rules, --fences, --fleet, --model or --cameras only those are looked at, without them all that the
    settings name.
    Exit status 2 if anything is wrong, else 0; a doubt (level warning) is told, and stops nothing.
    """
    files = Files(**named)
    wrong = 0
    for holds, findings in everything(files, config, data):
        mistakes = [finding for finding in findings if finding.level == "error"]
        wrong += len(mistakes)
        for finding in findings:
            word = "wrong" if finding.level == "error" else "doubt"
            click.echo(msgspec.json.encode(finding).decode() if as_json else f"{word}  {finding}")
        if holds and not mistakes and not as_json:
            click.echo(f"fine   {holds}")
    sys.exit(2 if wrong else 0)


def everything(files: Files, config: Path | None, data: Path | None) -> Checks:
    if not files.named() or config is not None:
        settings, findings = check_settings(config, data)
        yield f"settings {config or 'built in'}", findings
        if settings is None:
            return
        if not files.named():
            files = _files_of(settings)
    rules = fleet = None
    if files.rules:
        rules, holds, findings = check_rules(files.rules)
        yield holds, findings
    if files.fences:
        yield check_fences(files.fences)
    if files.fleet:
        fleet, holds, findings = check_fleet(files.fleet)
        yield holds, findings
    if files.model:
        yield check_model(files.model, rules, files.providers)
    if files.shadow:
        yield check_model(files.shadow, None, files.providers)
    if files.cameras:
        yield check_cameras(files.cameras, files.model)
    if rules and fleet:
        findings = [*check_groups(rules, fleet), *refused(rules, lambda: rules.company(fleet))]
        yield "" if findings else "groups named by rules", findings


def _files_of(settings: Settings) -> Files:
    model = Path(settings.vision.model)
    cameras = Path(settings.cameras.file)
    shadow = Path(settings.vision.shadow) if settings.vision.shadow else None
    return Files(
        rules=Path(settings.rules.file),
        fleet=Path(settings.fleet.file),
        model=model,
        shadow=shadow,
        providers=settings.vision.providers,
        cameras=cameras,
    )


# ---------------------------------------------------------------- one thing each


def check_settings(config: Path | None, data: Path | None) -> tuple[Settings | None, list[Finding]]:
    """The settings, None if they cannot be used at all."""
    file = str(config or "settings")
    try:
        settings = settings_for(data, config)
    except UserError as error:
        return None, [_from_text(file, config, str(error))]
    findings = []
    try:
        Limits.of(settings.clean)
    except ValueError as error:
        findings.append(Finding(file, _line(config, "earliest"), "", "earliest", str(error), "write it in UTC"))
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(settings.mqtt, key)
        if path and not Path(path).is_file():
            reason = f"there is no file {path}"
            findings.append(Finding(file, _line(config, key), "", f"mqtt.{key}", reason, "check the path"))
    return settings, findings


def check_rules(path: Path) -> tuple[RuleSet, str, list[Finding]]:
    rules, findings = inspect(path)
    findings += refused(rules, rules.fire_weather)
    fences = len({fence.key for fences in rules.fences.values() for fence in fences})
    return rules, f"rules {path}: {len(rules.specs)} rules, {fences} fences, version {rules.version}", findings


def check_fences(path: Path, how: Reading | None = None) -> tuple[str, list[Finding]]:
    how = how or Reading()
    fences, errors = inspect_fences(path, how=how)
    findings = [Finding(str(path), 0, "", e.where.partition(": ")[2], e.reason, e.fix) for e in errors]
    doubt = None if how.datum else datum_doubt(fences)
    if doubt:
        findings.append(Finding(str(path), 0, "", "", *doubt, level="warning"))
    return f"fences {path}: {len(fences)} fences", findings


def check_fleet(path: Path) -> tuple[Fleet | None, str, list[Finding]]:
    try:
        fleet = load_fleet(path)
    except UserError as error:
        return None, "", [_from_text(str(path), None, str(error))]
    groups = sorted({group for group in fleet.groups.values() if group})
    return fleet, f"fleet {path}: {len(fleet.units)} units, groups {', '.join(groups) or 'none'}", []


def check_model(folder: Path, rules: RuleSet | None, providers: Sequence[str]) -> tuple[str, list[Finding]]:
    """Card, hash and graph, and whether it knows the labels that rules name."""
    from pipeline.vision.detector import OnnxDetector
    from pipeline.vision.session import CPU

    try:
        detector = OnnxDetector.load(folder, threads=1, providers=providers or CPU)
    except UserError as error:
        return "", [_from_text(str(folder), None, str(error))]
    labels = ", ".join(f"{label} from {score:g}" for label, score in sorted(detector.thresholds.items()))
    try:
        if rules is not None:
            rules.sightings(detector.thresholds)
    except UserError as error:
        return "", [_from_text(str(rules.path if rules else folder), None, str(error))]
    return f"model {folder}: {detector.model}, {labels}", []


def check_cameras(path: Path, model: Path | None) -> tuple[str, list[Finding]]:
    """The file itself, and whether it fits the model, if there is one."""
    from pipeline.rules.views import doubts
    from pipeline.vision.card import load_card

    try:
        cameras = load_cameras(path)
    except UserError as error:
        return "", [_from_text(str(path), path, str(error))]
    try:
        labels = load_card(model).classes if model else None
    except UserError:  # told of the model itself
        labels = None
    found = [
        Finding(str(path), 0, f"camera {camera}", key, reason, fix, level=level)
        for camera, key, reason, fix, level in doubts(cameras, labels)
    ]
    return f"cameras {path}: {len(cameras)} cameras", found


def check_groups(rules: RuleSet, fleet: Fleet) -> Iterator[Finding]:
    """A rule about a group that nobody belongs to never says anything."""
    known = {group for group in fleet.groups.values() if group}
    for rule, groups in rules.groups().items():
        for group in groups:
            if group not in known:
                fix = f"groups of the fleet file: {', '.join(sorted(known)) or NO_GROUPS}"
                reason = f"no unit belongs to group {group!r}"
                yield Finding(str(rules.path), 0, rule, "groups", reason, fix, level="warning")


def refused(rules: RuleSet, make: Callable[[], object]) -> Iterator[Finding]:
    """Why rules cannot be made: a library that is not installed, more pairs of units than can be watched."""
    try:
        make()
    except UserError as error:
        yield _from_text(str(rules.path), None, str(error))


def _from_text(file: str, config: Path | None, text: str) -> Finding:
    """A UserError's sentence as a finding: the file is said once, the key and its line are found again."""
    text = text.removeprefix(f"{file}: ")
    key = re.search(r"unknown key '(\w+)'|at `\$\.([\w.]+)", text)
    name = (key[1] or key[2]) if key else ""
    reason, _, fix = text.partition("; ")
    return Finding(file, _line(config, name.rpartition(".")[2]), "", name, reason.partition(" - at `")[0], fix)


def _line(path: Path | None, key: str) -> int:
    """The line of a settings file where a key is set, 0 if it cannot be told."""
    if path is None or not path.is_file() or not key:
        return 0
    lines = enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
    return next((n for n, line in lines if re.match(rf"\s*\[?\s*{re.escape(key)}\b", line)), 0)
