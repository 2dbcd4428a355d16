"""The benches at sizes that prove nothing about speed: they measure what they say, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import wire
from pipeline.bench import fold, mqtt, telemetry, vision
from pipeline.bench.figure import HEADER, Figure, NotMeasured, json_line, percentile, spelled, table_line
from pipeline.bench.options import BATCH, FENCES, VERTICES, Options, Scale
from pipeline.bench.registry import BENCHES
from pipeline.bench.rig import rig, settings_in
from pipeline.bench.world import World, probe_name, unit_name
from pipeline.cli.bench import command
from pipeline.message import SECOND, PositionBatch
from pipeline.ports import UserError
from pipeline.rules.config import load as load_rules
from pipeline.rules.fences import FenceIndex, load_fences
from pipeline.rules.fleet import load_fleet
from pipeline.store import open_store

TINY = Scale(fold_records=20, records=20, stored=0, messages=300, paced_s=0.2, frames=8, soak=20, probes=2)
T0 = 1_800_000_000 * SECOND


def processes_with(text: str) -> list[str]:
    """Command lines of running processes that name `text`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environ = (folder / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue
        if folder.name.isdigit() and int(folder.name) != os.getpid() and text in line + environ:
            found.append(line)
    return found


# ---------------------------------------------------------------- figures


def test_a_figure_is_one_json_object_with_the_keys_of_the_contract() -> None:
    row = json.loads(json_line(Figure("fold", 123_456.7, "positions/s", 400_000, "the target")))
    assert row == {
        "name": "fold",
        "value": 123_500,
        "unit": "positions/s",
        "reference": 400_000,
        "ratio": 0.3086,
        "against": "the target",
    }


def test_the_table_lines_up_with_its_header() -> None:
    line = table_line(Figure("latency_p50_1k", 81.234, "ms", 100, "the target; lower is better"))
    assert line.split()[:5] == ["latency_p50_1k", "81.23", "ms", "100", "0.812"]
    assert line.index("the target") == HEADER.index("against")


@pytest.mark.parametrize(
    ("value", "text"),
    [(412_345.0, "412,300"), (1000.0, "1,000"), (43.126, "43.13"), (0.85349, "0.8535"), (2.0, "2")],
)
def test_numbers_have_four_digits_and_no_exponent(value: float, text: str) -> None:
    assert spelled(value) == text


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (50.0, 99.0, 7.0)
    with pytest.raises(NotMeasured):
        percentile([], 0.5)


# ---------------------------------------------------------------- what they run on


def batches(world: World, turns: int, *, first: int = 0) -> list[tuple[int, PositionBatch]]:
    records = world.records(turns, partitions=4, first=first)
    return [(record.partition, wire.decode_positions(record.value)) for record in records]


def test_records_are_full_and_each_unit_keeps_its_partition() -> None:
    for partition, batch in batches(World(start=T0, units=500), 10):
        assert len(batch) == BATCH
        assert {wire.partition_of(name, 4) for name in batch.units} == {partition}


def test_every_unit_moves_second_by_second_over_records_and_parts() -> None:
    world = World(start=T0, units=500)
    rows: dict[str, list[int]] = {}
    for _partition, batch in batches(world, 10) + batches(world, 10, first=10):
        for unit, at in zip(batch.unit.tolist(), batch.at.tolist(), strict=True):
            rows.setdefault(batch.units[unit], []).append((at - T0) // SECOND)
    assert len(rows) == 500
    for number in range(500):
        assert rows[unit_name(number)] == list(range(world.fixes_of(number, 20, partitions=4)))


def test_units_stay_in_the_region_at_the_pace_of_vehicles() -> None:
    world = World(start=T0, units=200)
    unit = np.arange(200, dtype=np.int64)
    before, after = (world.places(unit, np.full(200, s, np.int64)) for s in (9_999, 10_000))
    assert before[0].min() >= 50 and before[0].max() <= 51 and before[1].min() >= 10 and before[1].max() <= 11.5
    metres = np.hypot(after[0] - before[0], (after[1] - before[1]) * 0.636) * 111_320
    assert np.median(metres) == pytest.approx(16.5, abs=2)


def test_the_world_is_one_that_rules_and_fleet_take(tmp_path: Path) -> None:
    world = World(start=T0, units=50)
    world.write(tmp_path)
    fences = load_fences(tmp_path / "fences.geojson", source="fences.geojson")
    assert len(fences) == FENCES and {len(f.shape.exterior.coords) - 1 for f in fences} == {VERTICES}
    fleet = load_fleet(tmp_path / "fleet.csv")
    assert {unit_name(49), probe_name(0)} <= fleet.units
    assert len(load_rules(tmp_path / "rules.toml").telemetry(fleet)) == 3
    lat, lon = (np.array(c) for c in zip(*(world.centre(n) for n in range(FENCES)), strict=True))
    rows, inside = FenceIndex(fences).within(lat, lon)
    assert rows.tolist() == inside.tolist() == list(range(FENCES))


def test_enough_fences_are_crossed_that_rules_have_work(tmp_path: Path) -> None:
    from pipeline.app import telemetry_stages

    world = World(start=T0, units=400)
    world.write(tmp_path)
    stage, *_others = telemetry_stages(settings_in(tmp_path))
    values = [record.value for record in world.records(100, partitions=1)]
    _state, outcome = stage.handle(stage.initial(), values)
    said = [s for s in outcome.signals if s.kind == "geofence"]
    assert 20 < len(said) < 400 and not outcome.refusals


# ---------------------------------------------------------------- tiny runs


def test_fold_counts_positions_by_the_clock_and_by_the_cpu() -> None:
    by_clock, by_cpu = fold.run(Options(TINY))
    assert (by_clock.name, by_cpu.name, by_clock.reference) == ("fold", "fold_per_core", 400_000)
    assert 1_000 < by_clock.value <= by_cpu.value * 1.05


def test_a_position_that_is_not_in_the_store_spoils_the_figure(tmp_path: Path) -> None:
    world, settings = World(start=T0, units=40), settings_in(tmp_path)
    values = [record.value for record in world.records(3, partitions=settings.log.partitions)]
    store = open_store(settings)
    store.write_positions([wire.decode_positions(value) for value in values])
    store.close()
    telemetry.check(settings, world, turns=3)
    with pytest.raises(NotMeasured, match="positions are in the store"):
        telemetry.check(settings, world, turns=4)


def test_vision_is_held_against_the_bare_session(tmp_path: Path) -> None:
    model = Path(settings_in(tmp_path).vision.model)
    if not (model / "model.onnx").is_file():
        pytest.skip(f"no model in {model}")
    stage, detect, per_core, memory, p50, p95 = vision.run(Options(TINY))
    assert stage.reference == detect.reference > 0.05
    assert all(0.1 < figure.ratio < 3 for figure in (stage, detect))
    assert 0.3 < per_core.ratio < 1.2
    assert 5 < p50.value <= p95.value and p95.reference == 1000
    assert 50 < memory.reference < 2000 and 0.5 < memory.ratio < 2


def test_mqtt_from_publisher_to_store() -> None:
    rate, per_core, p50, p99 = mqtt.run(Options(TINY))
    assert rate.value > 1 and rate.reference > 10
    assert per_core.value > rate.value / 2
    assert 0.9 * p50.reference < p50.value <= p99.value


# ---------------------------------------------------------------- nothing stays


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that nobody else uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path


def test_a_rig_ends_with_its_block(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), rig(World(start=T0, units=1).write) as system:
        assert processes_with(str(temporary))
        assert system.folder.parent == temporary
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []
    assert processes_with(str(temporary)) == []


def test_a_part_that_ends_is_told_with_its_last_words(temporary: Path) -> None:
    with rig(World(start=T0, units=1).write) as system:
        system.spawn("sink", mqtt.SINK, {"port": 1, "messages": 1})
        with pytest.raises(NotMeasured, match=r"sink.*refused"):
            system.result("sink", 30)
    assert processes_with(str(temporary)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(temporary: Path, number: signal.Signals) -> None:
    run = [sys.executable, "-m", "pipeline", "bench", "mqtt"]
    bench = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 40
        while len(processes_with(str(temporary))) < 3:
            assert time.monotonic() < deadline and bench.poll() is None, "the bench did not start its parts"
            time.sleep(0.05)
        bench.send_signal(number)
        assert bench.wait(30) == 130
    finally:
        bench.kill()
    assert processes_with(str(temporary)) == []
    assert list(temporary.iterdir()) == []


# ---------------------------------------------------------------- command


def test_every_bench_of_the_help_can_be_loaded() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    for name, bench in BENCHES.items():
        assert name in text and callable(bench.load())


def test_an_unknown_bench_is_named() -> None:
    outcome = CliRunner().invoke(command, ["folt"])
    assert isinstance(outcome.exception, UserError) and "no bench 'folt'" in str(outcome.exception)


def test_influx_needs_its_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VEDETTE_BENCH_INFLUX_TOKEN", raising=False)
    outcome = CliRunner().invoke(command, ["fold", "--influx", "http://127.0.0.1:1"])
    assert isinstance(outcome.exception, UserError) and "VEDETTE_BENCH_INFLUX_TOKEN" in str(outcome.exception)


def test_the_command_prints_a_line_each_and_fails_when_one_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules["pipeline.bench.options"].SCALES, "small", TINY)
    outcome = CliRunner().invoke(command, ["fold", "telemetry", "--json", "--kafka", "127.0.0.1:1"])
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["name"] for row in rows] == ["fold", "fold_per_core"]
    assert outcome.exit_code == 1 and "bench telemetry: not measured" in outcome.stderr
