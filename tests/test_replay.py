"""`vedette replay`: recorded tracks and videos, the same bytes each time, whatever the batch size."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.message import SECOND, Fix
from pipeline.replay import Outcome, changes, replay, replay_batch
from pipeline.rules.config import RuleSet, load
from pipeline.rules.fences import load_fences
from pipeline.rules.fleet import Fleet
from pipeline.rules.transitions import transitions
from pipeline.trackfile import read_columns
from pipeline.wire import parse_rfc3339, rfc3339
from tests.commandline import vedette
from tests.moving import T0
from tests.tinyonnx import write_model

SQUARE = [[10.0, 50.0], [10.1, 50.0], [10.1, 50.1], [10.0, 50.1], [10.0, 50.0]]
RULES = """
[[rule]]
name = "keep-out"
kind = "geofence"
fences = "{fences}"

[[rule]]
name = "fast"
kind = "speed"
limit = 30
min_duration_s = 10

[[rule]]
name = "quiet"
kind = "silence"
limit_s = 600

[[rule]]
name = "fire"
kind = "sighting"
label = "fire"
persist_s = 2
close_s = 2
"""


def write_rules(folder: Path) -> RuleSet:
    """rules.toml with depot.geojson beside it."""
    feature = {
        "type": "Feature",
        "properties": {"id": "depot"},
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
    }
    (folder / "depot.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (folder / "rules.toml").write_text(RULES.format(fences="depot.geojson"))
    return load(folder / "rules.toml")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> RuleSet:
    return write_rules(tmp_path_factory.mktemp("rules"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules and day.csv: `a` passes the depot too fast, `b` falls silent for good."""
    write_rules(tmp_path)
    rows = ["unit,at,lat,lon,speed"]
    rows += [f"a,{rfc3339(T0 + i * 20 * SECOND)},50.05,{9.8 + i * 0.02:.2f},35" for i in range(40)]
    rows += [f"b,{rfc3339(T0)},40,10,0"]
    (tmp_path / "day.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def lines(*words: str | Path) -> list[dict[str, str]]:
    done = vedette("replay", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_alarm_change_is_one_line_in_order_of_time(folder: Path) -> None:
    found = lines(folder / "day.csv", "--rules", folder / "rules.toml")
    assert [(row["rule"], row["subject"], row["change"]) for row in found] == [
        ("fast", "a", "raised"),
        ("keep-out", "a", "raised"),
        ("keep-out", "a", "cleared"),
        ("quiet", "b", "raised"),
    ]
    assert [(parse_rfc3339(row["at"]) - T0) // SECOND for row in found] == [20, 200, 320, 600]
    assert all(list(row) == ["alarm", "rule", "subject", "change", "at", "reason"] for row in found)
    assert found[1]["alarm"] == found[2]["alarm"]
    assert found[1]["reason"] == "unit a entered depot at 50.05000, 10.00000, 35 m/s (126 km/h)"


def test_the_same_input_gives_the_same_bytes(folder: Path) -> None:
    (folder / "day.csv.gz").write_bytes(gzip.compress((folder / "day.csv").read_bytes()))
    words = ["--rules", folder / "rules.toml", "--json"]
    command = [sys.executable, "-m", "pipeline", "replay", folder / "day.csv", *words]
    plain, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert plain == again == vedette("replay", folder / "day.csv.gz", *words).stdout != ""


def test_without_json_there_is_a_table_and_a_total(folder: Path) -> None:
    done = vedette("replay", folder / "day.csv", "--rules", folder / "rules.toml")
    assert done.stdout.splitlines()[-1] == "3 alarms: fast 1, keep-out 1, quiet 1"
    assert "entered depot" in done.stdout
    assert "41 fixes of 2 units over 0.2 h" in done.stderr


def test_a_fleet_says_who_is_read_and_in_which_group(folder: Path) -> None:
    (folder / "fleet.csv").write_text("unit,group\na,truck\n")
    words = [folder / "day.csv", "--rules", folder / "rules.toml", "--fleet", folder / "fleet.csv"]
    assert {row["subject"] for row in lines(*words)} == {"a"}
    assert "truck a entered depot" in vedette("replay", *words).stdout
    assert "refused, not_enrolled: 1" in vedette("replay", *words).stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.csv", "unit,at,lat,lon\na,2026-01-01T00:00:00Z,north,10\n", "line 2: column 'lat': 'north'"),
        ("none.csv", None, "no such file"),
        ("notes.txt", "hello", "neither a track file"),
        ("cut.mp4", "not a video", "cannot be read as video"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(folder: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (folder / name).write_text(content)
    model = write_model(folder / "model", np.array([[1, 1, 9, 9]], np.float32), np.array([[0, 1]], np.float32))
    done = vedette("replay", folder / name, "--rules", folder / "rules.toml", "--model", model)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_bad_lines_can_be_left_out(folder: Path) -> None:
    day = folder / "day.csv"
    day.write_text(day.read_text() + "a,yesterday,50,10,3\n")
    assert vedette("replay", day, "--rules", folder / "rules.toml").returncode == 2
    done = vedette("replay", day, "--rules", folder / "rules.toml", "--skip-bad")
    assert (done.returncode, "\n1 bad line left out" in done.stderr) == (0, True)


def test_wrong_positions_are_refused_and_counted(folder: Path) -> None:
    day = folder / "day.csv"
    day.write_text(
        day.read_text() + f"a,{rfc3339(T0 + 90 * SECOND)},95,10,3\n" * 2 + "a,1970-01-01T00:00:00Z,50,10,3\n"
    )
    done = vedette("replay", day, "--rules", folder / "rules.toml")
    assert "refused, latitude_range: 2" in done.stderr
    assert "refused, clock_early: 1" in done.stderr


def test_a_video_is_watched_in_event_time(folder: Path) -> None:
    """White frames are fire to this model: they come from second 2 to second 6 of 12."""
    model = write_model(folder / "model", np.array([[8, 8, 24, 24]], np.float32), np.array([[0, 0.9]], np.float32))
    video = folder / "tower 1.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for i in range(120):
        writer.write(np.full((64, 64, 3), 255 if 20 <= i < 60 else 0, np.uint8))
    writer.release()
    words = [video, "--rules", folder / "rules.toml", "--model", model, "--start", "2026-01-01T00:00:00Z"]
    found = lines(*words)
    assert [(row["subject"], row["change"], row["at"]) for row in found] == [
        ("tower-1", "raised", "2026-01-01T00:00:04Z"),
        ("tower-1", "cleared", "2026-01-01T00:00:07.8Z"),
    ]
    assert vedette("replay", *words, "--json").stdout == vedette("replay", *words, "--json").stdout


# ---------------------------------------------------------------- as a library


fixes = st.lists(
    st.builds(
        lambda unit, t, lon, speed: Fix(unit, T0 + t * 7 * SECOND, 50.05, lon, speed),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 400),
        st.sampled_from([9.9, 10.01, 10.05, 10.2]),
        st.sampled_from([None, 10.0, 31.0]),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(sent=fixes, rows=st.integers(1, 20))
def test_the_batch_size_changes_nothing(rules: RuleSet, sent: list[Fix], rows: int) -> None:
    sent = sorted(sent, key=lambda fix: fix.at)
    assert list(replay(sent, rules, batch_rows=rows)) == list(replay(sent, rules))


def test_units_out_of_the_fleet_are_refused(rules: RuleSet) -> None:
    sent = [Fix("a", T0, 50.05, 10.05), Fix("b", T0, 50.05, 10.05)]
    assert {s.subject for s in replay(sent, rules, fleet=Fleet({"b": ""}))} == {"b"}


def test_nothing_in_nothing_out(rules: RuleSet) -> None:
    assert list(replay([], rules)) == []


def test_a_real_day_of_buses(folder: Path, data_dir: Path) -> None:
    """Every transition of the fences is an alarm change, and the batch size is not seen in the result."""
    vehicles = data_dir / "vehicles"
    fences = vehicles / "fences" / "us_austin_neighborhoods.geojson"
    (folder / "rules.toml").write_text(RULES.format(fences=fences))
    day = read_columns([vehicles / "tracks" / "capmetro_austin_bus_20161124.csv.gz"])
    rules, outcome = load(folder / "rules.toml"), Outcome()
    told = list(changes(replay_batch(day, rules, outcome=outcome)))
    assert told == list(changes(replay_batch(day, rules, batch_rows=501)))
    kinds = {"raised": "enter", "cleared": "exit"}
    crossed = sorted((c.subject, kinds[c.change], parse_rfc3339(c.at)) for c in told if c.rule == "keep-out")
    expected = sorted((unit, what, at) for unit, _fence, what, at in transitions(load_fences(fences), [day]))
    assert crossed == expected != []
    assert outcome.refusals == []
    assert {c.rule for c in told} == {"keep-out", "quiet"}
