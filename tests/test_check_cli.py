"""`vedette check` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commandline import Done, vedette
from tests.tinyonnx import write_model


def check(*words: str | Path) -> Done:
    return vedette("check", *words)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    boxes, scores = np.array([[16, 16, 32, 48]], np.float32), np.array([[0.8, 0.2]], np.float32)
    return write_model(tmp_path / "model", boxes, scores)


@pytest.fixture
def deployment(tmp_path: Path, root: Path, model: Path) -> Path:
    """A settings file that names the shipped rules, a fleet and a model."""
    (tmp_path / "fleet.csv").write_text("unit,group\nt1,hazmat\n")
    path = tmp_path / "vedette.toml"
    rules = json.dumps(str(root / "config" / "rules.toml"))
    tables = f'[fleet]\nfile = "fleet.csv"\n[rules]\nfile = {rules}\n[vision]\nmodel = "{model.name}"\n'
    path.write_text(tables)
    return path


def test_a_good_deployment_is_fine(deployment: Path) -> None:
    done = check("--config", deployment)
    assert done.returncode == 0, done.stdout
    said = done.stdout.splitlines()
    assert {"settings", "rules", "fleet", "model", "cameras"} <= {line.split()[1] for line in said}
    assert all(line.startswith("fine ") for line in said)
    assert "9 rules, 4 fences" in said[1]


def test_a_cameras_file_is_checked_against_the_model(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.toml"
    everything = "[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]"
    cameras.write_text(
        f'[[camera]]\nname = "tower"\nthresholds = {{ fyre = 0.4 }}\nmasks = [ {{ polygon = {everything} }} ]\n'
    )
    done = check("--cameras", cameras, "--model", Path(__file__).parents[1] / "models" / "fire-smoke")
    assert done.returncode == 2
    assert (
        "camera tower: thresholds.fyre: label 'fyre' is not one the model sees: known: fire, smoke" in done.stdout
    )
    assert "doubt" in done.stdout and "everything in the picture is masked for smoke" in done.stdout
    cameras.write_text('[[camera]]\nname = "tower"\nnight = { fire = 0.4 }\n')
    done = check("--cameras", cameras)
    assert (done.returncode, "night: without a pose" in done.stdout) == (2, True), done.stdout


def test_findings_are_json_lines_and_the_status_is_2(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "r"\nkind = "speed"\nlimit_khm = 9\n')
    done = check("--rules", tmp_path / "rules.toml", "--json")
    assert done.returncode == 2
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "file": str(tmp_path / "rules.toml"),
            "line": 4,
            "rule": "r",
            "key": "limit_khm",
            "reason": "no such key in a speed rule",
            "fix": 'did you mean "limit_kmh"?',
            "level": "error",
        }
    ]


def test_an_unknown_setting_is_named_with_its_line(deployment: Path) -> None:
    deployment.write_text(deployment.read_text() + '[log]\nengin = "kafka"\n')
    done = check("--config", deployment)
    assert done.returncode == 2
    assert done.stdout == f"wrong  {deployment}:8: engin: unknown key 'engin' in [log]: did you mean 'engine'?\n"


def test_a_setting_of_the_wrong_type_is_named_with_its_line(deployment: Path) -> None:
    deployment.write_text(deployment.read_text() + '[log]\npartitions = "many"\n')
    assert check("--config", deployment).stdout.startswith(f"wrong  {deployment}:8: log.partitions: Expected `int`")


def test_what_settings_name_and_is_not_there_is_told(deployment: Path) -> None:
    text = deployment.read_text().replace("fleet.csv", "none.csv").replace('"model"', '"nowhere"')
    deployment.write_text(text + '[mqtt]\nca_file = "ca.pem"\n[clean]\nearliest = "2000-01-01"\n')
    done = check("--config", deployment)
    assert done.returncode == 2
    for words in (
        "no fleet file",
        "no model card",
        "mqtt.ca_file: there is no file",
        "earliest: time '2000-01-01'",
    ):
        assert words in done.stdout


def test_a_model_that_is_not_the_cards_is_refused(model: Path) -> None:
    assert check("--model", model).returncode == 0
    (model / "model.onnx").write_bytes((model / "model.onnx").read_bytes()[:-9])
    done = check("--model", model)
    assert done.returncode == 2
    assert "sha256" in done.stdout


def test_the_shadow_and_the_providers_of_the_settings_are_checked(tmp_path: Path, model: Path) -> None:
    settings = tmp_path / "vedette.toml"
    settings.write_text(f'[vision]\nshadow = "{model}"\n')
    done = check("--config", settings)
    assert done.returncode == 0 and f"model {model}" in done.stdout, done.stdout
    (model / "model.onnx").write_bytes(b"cut")
    assert "cut or changed" in check("--config", settings).stdout
    settings.write_text('[vision]\nproviders = ["NoSuchProvider"]\n')
    done = check("--config", settings)
    assert done.returncode == 2 and "no execution provider NoSuchProvider" in done.stdout


def test_a_label_that_the_model_does_not_see_is_told(tmp_path: Path, model: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "r"\nkind = "sighting"\nlabel = "steam"\n')
    done = check("--rules", tmp_path / "rules.toml", "--model", model)
    assert done.returncode == 2
    assert "rule r: label 'steam' is not one the model sees" in done.stdout


def test_every_bad_fence_of_a_file_is_told(tmp_path: Path) -> None:
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]]]}
    short = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0]]]}
    features = [
        {"type": "Feature", "properties": {"id": name}, "geometry": shape}
        for name, shape in (("a", bow), ("b", short))
    ]
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    done = check("--fences", tmp_path / "f.geojson")
    assert done.returncode == 2
    first, second = done.stdout.splitlines()
    assert "fence a: crosses itself near 0.500000, 0.500000" in first
    assert "fence b: a ring has 2 points" in second


def test_a_group_nobody_belongs_to_is_told(tmp_path: Path, root: Path) -> None:
    (tmp_path / "fleet.csv").write_text("unit,group\nb1,bus\n")
    done = check("--rules", root / "config" / "rules.toml", "--fleet", tmp_path / "fleet.csv")
    assert done.returncode == 0
    assert "doubt" in done.stdout
    assert (
        "rule hazmat-leaves-district: groups: no unit belongs to group 'hazmat': groups of the fleet file: bus"
        in (done.stdout)
    )
    assert "fine   groups" not in done.stdout


def test_the_files_as_they_are_shipped_stop_nothing() -> None:
    assert check().returncode == 0
