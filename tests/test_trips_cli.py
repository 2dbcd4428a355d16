"""`vedette trips`: from track files, and from the store for a stated purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.alarms.book import SqlAlarmBook, open_book
from pipeline.settings import load
from pipeline.store.sqlite import SqliteStore
from tests.commandline import vedette
from tests.contract.test_store import SEC, T0, batch

MINUTE = 60 * SEC
EAST = [0, 500, 1000, 1500, *[2000] * 8, 2500, 3000]
PLACES = [("bus-1", T0 + n * MINUTE, 0.5, 10 + metres / 111_320) for n, metres in enumerate(EAST)]


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    rows = [f"bus-1,2000-01-01T00:{n:02}:00Z,0.5,{lon},20" for n, (*_, lon) in enumerate(PLACES)]
    path.write_text("\n".join(["unit,at,lat,lon,speed", *rows, "bus-1,2000-01-01T00:59:00Z,0,0,20"]))
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("unit,group,operator,purpose\nbus-1,bus,City Lines,safety\n")
    monkeypatch.setenv("VEDETTE_FLEET_FILE", str(fleet))
    store = SqliteStore(tmp_path / "data" / "series")
    store.write_positions([batch(PLACES, speed=np.full(len(PLACES), 20.0).tolist())])
    store.close()
    return tmp_path / "data"


@pytest.fixture
def book(data: Path) -> Iterator[SqlAlarmBook]:
    made = open_book(load(data=data, environ={}))
    assert made.audits() == []
    yield made
    made.close()


def told(*words: str | Path) -> list[dict[str, Any]]:
    done = vedette("trips", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_segments_are_json_lines_unit_by_unit(track: Path) -> None:
    first, second, third = told(track)
    assert (first["kind"], first["start"], first["end"]) == ("trip", "2000-01-01T00:00:00Z", "2000-01-01T00:04:00Z")
    assert first["distance_m"] == pytest.approx(2000, rel=0.005)
    assert first["mean_speed"] == pytest.approx(2000 / 240, rel=0.005)
    assert (first["top_speed"], first["open"], first["from"]) == (20, False, {"lat": 0.5, "lon": 10.0})
    assert (second["kind"], second["end"], second["duration_s"]) == ("stop", "2000-01-01T00:11:00Z", 420)
    assert (third["kind"], third["open"]) == ("trip", True)
    assert told(track, "--kind", "stop") == [second]


def test_traccars_parameters_and_speeding(track: Path) -> None:
    assert [row["kind"] for row in told(track, "--parameters", "traccar")] == ["trip", "stop", "trip"]
    assert told(track, "--parameters", "traccar", "--kind", "stop")[0]["start"] == "2000-01-01T00:08:00Z"
    (over,) = told(track, "--kind", "overspeed", "--limit-kmh", "50", "--limit-s", "90")
    assert over == {
        "unit": "bus-1",
        "kind": "overspeed",
        "at": "2000-01-01T00:02:00Z",
        "speed": 20,
        "limit": 13.889,
    }


def test_a_table_is_for_people(track: Path) -> None:
    done = vedette("trips", track, "--limit-kmh", "50")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][:2] == ["UNIT", "KIND"]
    assert [line[1] for line in lines[1:]] == ["trip", "stop", "trip", "overspeed"]
    assert "refused, null_island: 1" in done.stderr


def test_the_store_says_the_same_and_remembers_who_asked(data: Path, book: SqlAlarmBook) -> None:
    found = told("bus-1", "--purpose", "accident", "--data", data)
    assert [row["kind"] for row in found] == ["trip", "stop", "trip"]
    (entry,) = book.audits()
    assert (entry["what"], entry["subject"], entry["purpose"]) == ("trips", "bus-1", "accident")


@pytest.mark.parametrize("words", [("bus-1",), ("bus-2", "--purpose", "curious")])
def test_without_purpose_or_enrolment_nothing_is_read(
    data: Path, book: SqlAlarmBook, words: tuple[str, ...]
) -> None:
    done = vedette("trips", *words, "--data", data)
    assert done.returncode == 2 and done.stdout == ""
    assert book.audits() == []


def test_a_file_that_is_no_track_is_no_unit_either(tmp_path: Path) -> None:
    (tmp_path / "day.txt").write_text("unit,at\n")
    done = vedette("trips", tmp_path / "day.txt")
    assert done.returncode == 2
    assert "day.txt: no track file (.csv, .csv.gz), and no name of a unit" in done.stderr
