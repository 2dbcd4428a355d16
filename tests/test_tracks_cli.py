"""`vedette tracks`: only enrolled units, only for a purpose, and on record before a position is out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.alarms.book import SqlAlarmBook, open_book
from pipeline.ports import UserError
from pipeline.settings import load
from pipeline.store.sqlite import SqliteStore
from pipeline.trackfile import read_columns
from tests.contract.test_store import SEC, T0, batch

FIXES = [("bus-1", T0, 62.123456789, 6.1), ("bus-1", T0 + 1_500_000, 62.2, 6.2), ("bus-2", T0, 1.0, 2.0)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("unit,group,operator,purpose\nbus-1,bus,City Lines,safety\nbus-9,bus,City Lines,safety\n")
    monkeypatch.setenv("VEDETTE_FLEET_FILE", str(fleet))
    store = SqliteStore(tmp_path / "data" / "series")
    store.write_positions([batch(FIXES, speed=[12.3, float("nan"), 1.0])])
    store.close()
    return tmp_path / "data"


@pytest.fixture
def book(data: Path) -> Iterator[SqlAlarmBook]:
    made = open_book(load(data=data, environ={}))
    assert made.audits() == []
    yield made
    made.close()


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["tracks", *words, "--data", str(data)])


def test_json_has_a_fix_a_line(data: Path, book: SqlAlarmBook) -> None:
    found = [json.loads(line) for line in run(data, "bus-1", "--purpose", "accident", "--json").stdout.splitlines()]
    first = {"unit": "bus-1", "at": "2016-11-24T15:06:40Z", "lat": 62.123456789, "lon": 6.1, "speed": 12.3}
    assert found[0] == {**first, "course": None, "alt": None, "accuracy": None}
    assert [(fix["at"], fix["speed"]) for fix in found[1:]] == [("2016-11-24T15:06:41.5Z", None)]
    assert len(book.audits()) == 1


def test_csv_is_a_track_file_that_can_be_read_again(data: Path, book: SqlAlarmBook, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(run(data, "bus-1", "--purpose", "export", "--csv").stdout)
    assert path.read_text().splitlines()[0] == "unit,at,lat,lon,speed,course,alt,accuracy"
    again = read_columns([path])
    assert (again.units, again.at.tolist()) == (("bus-1",), [T0, T0 + 1_500_000])
    assert again.lat.tolist() == [62.123456789, 62.2]
    assert book.audits()[0]["purpose"] == "export"


def test_geojson_is_a_line_with_its_times(data: Path, book: SqlAlarmBook) -> None:
    feature = json.loads(run(data, "bus-1", "--purpose", "map", "--geojson").stdout)
    assert feature["geometry"] == {"type": "LineString", "coordinates": [[6.1, 62.123456789], [6.2, 62.2]]}
    assert feature["properties"]["times"] == ["2016-11-24T15:06:40Z", "2016-11-24T15:06:41.5Z"]
    assert feature["properties"]["speed"] == [12.3, None]
    one = json.loads(run(data, "bus-1", "--purpose", "map", "--geojson", "--limit", "1").stdout)
    assert one["geometry"] == {"type": "Point", "coordinates": [6.1, 62.123456789]}
    none = json.loads(run(data, "bus-9", "--purpose", "map", "--geojson").stdout)
    assert none["geometry"] is None
    assert len(book.audits()) == 3


def test_the_reading_is_recorded_with_purpose_and_period(data: Path, book: SqlAlarmBook) -> None:
    times = ("--from", "2016-11-24T15:06:41Z", "--to", "2016-11-24T16:06:42+01:00")
    result = run(data, "bus-1", *times, "--purpose", "accident on the bridge")
    assert result.stdout.splitlines()[1].split()[:3] == ["2016-11-24T15:06:41.5Z", "62.2", "6.2"]
    (entry,) = book.audits()
    assert (entry["what"], entry["subject"], entry["purpose"]) == ("track", "bus-1", "accident on the bridge")
    assert entry["detail"].startswith("2016-11-24T15:06:41Z to 2016-11-24T15:06:42Z")
    assert entry["who"]


@pytest.mark.parametrize("unit", ["bus-2", "stranger"])
def test_a_unit_that_is_not_enrolled_is_not_read(data: Path, book: SqlAlarmBook, unit: str) -> None:
    result = run(data, unit, "--purpose", "curious")
    assert isinstance(result.exception, UserError)
    assert unit in str(result.exception)
    assert "fleet.csv" in str(result.exception)
    assert result.stdout == ""
    assert book.audits() == []


def test_without_a_purpose_nothing_is_read(data: Path, book: SqlAlarmBook) -> None:
    assert run(data, "bus-1").exit_code == 2
    assert isinstance(run(data, "bus-1", "--purpose", "  ").exception, UserError)
    assert book.audits() == []


def test_if_it_cannot_be_recorded_it_is_not_read(data: Path) -> None:
    result = run(data, "bus-1", "--purpose", "accident")
    assert isinstance(result.exception, UserError)
    assert "no alarm book" in str(result.exception)
    assert result.stdout == ""


def test_a_time_without_offset_is_not_guessed(data: Path, book: SqlAlarmBook) -> None:
    result = run(data, "bus-1", "--purpose", "p", "--from", "2016-11-24T15:06:41")
    assert result.exit_code == 2
    assert "offset" in result.stderr
    assert book.audits() == []


def test_a_track_that_was_cut_says_where_to_go_on(data: Path, book: SqlAlarmBook) -> None:
    result = run(data, "bus-1", "--purpose", "p", "--limit", "1", "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "go on with --from 2016-11-24T15:06:40Z" in result.stderr
    assert T0 % SEC == 0
    assert len(book.audits()) == 1


def test_an_empty_period_says_so(data: Path, book: SqlAlarmBook) -> None:
    result = run(data, "bus-9", "--purpose", "p")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no positions of bus-9" in result.stderr
    assert len(book.audits()) == 1


def test_no_store_is_named(tmp_path: Path, data: Path) -> None:
    result = run(tmp_path / "elsewhere", "bus-1", "--purpose", "p")
    assert isinstance(result.exception, UserError)
    assert "elsewhere" in str(result.exception)
    assert not (tmp_path / "elsewhere").exists()
    assert data.exists()


def test_a_period_that_is_turned_round_is_refused_before_it_is_on_record(data: Path, book: SqlAlarmBook) -> None:
    done = run(data, "bus-1", "--purpose", "x", "--from", "2016-11-24T16:00:00Z", "--to", "2016-11-24T15:00:00Z")
    assert isinstance(done.exception, UserError)
    assert "--from 2016-11-24T16:00:00Z is not before --to 2016-11-24T15:00:00Z" in str(done.exception)
    assert book.audits() == []


def test_a_time_without_an_offset_is_told_once_how_to_write_it(data: Path) -> None:
    done = run(data, "bus-1", "--purpose", "x", "--from", "2016-11-24")
    assert done.exit_code == 2
    assert done.output.count("write it like") == 1
