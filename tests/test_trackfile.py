"""Track files: order, aliases, and a bad line that says where and what to do."""

import gzip
from pathlib import Path

import pytest

from pipeline import trackfile, wire
from pipeline.message import Fix
from pipeline.trackfile import Progress, TrackError, read_columns, read_fixes

HEADER = "unit,at,lat,lon,speed,course,alt,accuracy\n"
ROW = "bus-1,2026-01-31T12:00:{:02d}Z,30.5,-97.5,{},,,\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_rows_become_fixes_with_absent_values_absent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "bus-1,2026-01-31T12:00:00.25+01:00,30.5,-97.5,1.5,90,,8\n")
    at = wire.parse_rfc3339("2026-01-31T11:00:00.25Z")
    assert list(read_fixes([path])) == [Fix("bus-1", at, 30.5, -97.5, 1.5, 90.0, None, 8.0)]


def test_files_merge_in_event_time_order_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", HEADER + ROW.format(3, 1) + ROW.format(1, 2) + ROW.format(1, 3))
    second = write(tmp_path / "b.csv", HEADER + ROW.format(2, 4) + ROW.format(1, 5))
    assert [fix.speed for fix in read_fixes([first, second])] == [2, 3, 5, 4, 1]


def test_columns_say_the_same_as_fixes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ROW.format(1, 7) + ROW.format(0, ""))
    batch = read_columns([path], device="replayed")
    assert list(trackfile.fixes_of(batch)) == list(read_fixes([path]))
    assert batch.sources[0].device == "replayed"
    assert batch.seq.tolist() == [1, 2]


def test_aliases_extra_columns_any_order_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "real.csv.gz"
    text = "\ufeffLat,Lon,vehicle_id,time_utc,speed_mps,extra\n30.5,-97.5,7,2016-11-24T06:00:51Z,12.96416,route=1\n"
    path.write_bytes(gzip.compress(text.encode("utf-8")))
    (fix,) = read_fixes([path])
    assert (fix.unit, fix.lat, fix.lon) == ("7", 30.5, -97.5)
    assert fix.speed == pytest.approx(12.96416, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("bus 1,2026-01-31T12:00:00Z,30,-97,,,,", "unit", "bus 1"),
        ("bus-1,2026-01-31T12:00:00,30,-97,,,,", "at", "2026-01-31T12:00:00"),
        ("bus-1,yesterday,30,-97,,,,", "at", "yesterday"),
        ("bus-1,2026-01-31T12:00:00Z,,-97,,,,", "lat", ""),
        ("bus-1,2026-01-31T12:00:00Z,30,nan,,,,", "lon", "nan"),
        ("bus-1,2026-01-31T12:00:00Z,30,-97,fast,,,", "speed", "fast"),
        ("bus-1,2026-01-31T12:00:00Z,30,-97,,,,inf", "accuracy", "inf"),
    ],
)
def test_a_bad_line_names_file_line_column_value_and_fix(tmp_path: Path, row: str, column: str, value: str) -> None:
    path = write(tmp_path / "a.csv", HEADER + ROW.format(0, 1) + row + "\n")
    with pytest.raises(TrackError) as caught:
        list(read_fixes([path]))
    assert f"{path}, line 3: column {column!r}: {value!r} cannot be read; " in str(caught.value)
    assert str(caught.value).endswith(trackfile.FIXES[column])


def test_a_short_line_says_how_many_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "bus-1,2026-01-31T12:00:00Z\n")
    with pytest.raises(TrackError, match="line 2: 2 cells; the header names 8"):
        list(read_fixes([path]))


def test_skipping_keeps_the_good_lines_and_lists_the_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ROW.format(0, 1) + ROW.format(1, "x") + ROW.format(2, 3))
    progress = Progress()
    assert [fix.speed for fix in read_fixes([path], on_bad="skip", progress=progress)] == [1, 3]
    assert [(bad.line, bad.column) for bad in progress.skipped] == [(3, "speed")]
    assert progress.lines == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"unit,at,lat\n", "no column lon"),
        (b"", "no column unit, at, lat, lon"),
        (b"unit,vehicle_id,at,lat,lon\n", "both 'unit' and 'vehicle_id' mean 'unit'"),
        (b"unit,at,lat,lon\n\xff\xfe\n", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_track_file_is_an_error_even_when_skipping(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(TrackError, match=message):
        list(read_fixes([path], on_bad="skip"))


def test_a_missing_or_cut_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrackError, match=r"csv: there is no such file; check the path$"):
        list(read_fixes([tmp_path / "none.csv"]))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress((HEADER + ROW.format(0, 1) * 1000).encode())[:-20])
    with pytest.raises(TrackError, match=r"cut\.csv\.gz: cannot be read"):
        list(read_fixes([cut]))


def test_the_shared_bus_day_loads_whole_and_in_order(data_dir: Path) -> None:
    path = data_dir / "vehicles/tracks/capmetro_austin_bus_20161216.csv.gz"
    with gzip.open(path, "rt") as text:
        rows = sum(1 for _ in text) - 1
    batch = read_columns([path])
    assert len(batch) == rows
    assert (batch.at[1:] >= batch.at[:-1]).all()
    assert trackfile.summary(batch)["units"] == 279
