"""`vedette fences`, and what peers say of the same fences."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from pipeline.message import SECOND
from pipeline.rules.fences import Fence, FenceIndex
from pipeline.rules.fencewkt import geometries
from pipeline.rules.shapes import Reading, shape_of
from pipeline.rules.transitions import transitions
from tests.commandline import vedette
from tests.moving import T0, F, batch_of

SQUARE = "POLYGON ((10 50, 11 50, 11 51, 10 51, 10 50))"
TRACK = """unit,at,lat,lon,accuracy
a,2026-01-01T00:00:00Z,50.5,10.5,5
a,2026-01-01T00:00:10Z,50.5,11.0001,5
a,2026-01-01T00:00:20Z,50.5,10.5,5
b,2026-01-01T00:00:05Z,50.5,9,5
b,2026-01-01T00:00:05.5Z,50,10,5
a,2026-01-01T00:00:30Z,0,0,5
"""


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(TRACK)
    return path


@pytest.fixture
def fences(tmp_path: Path) -> Path:
    path = tmp_path / "yard.wkt"
    path.write_text(SQUARE)
    return path


def said(*words: str | Path) -> list[dict[str, str]]:
    done = vedette("fences", "transitions", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_transitions_are_json_lines_by_time_and_unit(track: Path, fences: Path) -> None:
    assert said(track, "--fences", fences, "--plain") == [
        {"unit": "a", "fence": "yard", "event": "enter", "at": "2026-01-01T00:00:00Z"},
        {"unit": "b", "fence": "yard", "event": "enter", "at": "2026-01-01T00:00:05.5Z"},
        {"unit": "a", "fence": "yard", "event": "exit", "at": "2026-01-01T00:00:10Z"},
        {"unit": "a", "fence": "yard", "event": "enter", "at": "2026-01-01T00:00:20Z"},
        {"unit": "a", "fence": "yard", "event": "exit", "at": "2026-01-01T00:00:30Z"},
    ]


def test_plainly_every_fix_counts_also_several_at_one_time_and_out_of_order(tmp_path: Path, fences: Path) -> None:
    """As Traccar does, which passes over only what is older than the newest fix; rows are brought into order."""
    inside, outside = next(line for line in TRACK.splitlines() if line.startswith("a,")).split(",")[2:4], ["0", "0"]
    rows = [("20", outside), ("10", inside), ("10", inside), ("20", inside), ("20", outside), ("15", inside)]
    text = ["unit,at,lat,lon", *(f"a,2026-01-01T00:00:{s}Z,{','.join(place)}" for s, place in rows)]
    track = tmp_path / "ties.csv"
    track.write_text("\n".join(text))
    found = [(row["event"], row["at"][17:19]) for row in said(track, "--fences", fences, "--plain")]
    assert found == [("enter", "10"), ("exit", "20"), ("enter", "20"), ("exit", "20")]
    assert [row["event"] for row in said(track, "--fences", fences)] == ["enter"]


def test_hysteresis_and_belief_are_what_plain_leaves_out(track: Path, fences: Path) -> None:
    """10 m outside, then 0/0: without --plain neither is a leaving; the corner is on the edge, so not sure."""
    options = ("--fences", fences, "--hysteresis-m", "20", "--accuracy")
    assert [(row["unit"], row["event"]) for row in said(track, *options)] == [("a", "enter")]
    assert len(said(track, *options, "--plain")) == 5
    assert said(track, "--fences", fences, "--hysteresis-s", "20") == []


def test_the_fences_of_rules_are_crossed_as_configured(tmp_path: Path, track: Path, fences: Path) -> None:
    rules = tmp_path / "rules.toml"
    table = f'kind = "geofence"\nfences = "{fences.name}"\n'
    rules.write_text(
        f'[[rule]]\nname = "wide"\n{table}hysteresis_m = 20\nunits = ["a"]\n'
        f'[[rule]]\nname = "plain"\n{table}groups = ["hazmat"]\n'
    )
    (tmp_path / "fleet.csv").write_text("unit,group\na,bus\nb,hazmat\n")
    found = said(track, "--rules", rules, "--fleet", tmp_path / "fleet.csv")
    assert [(row["unit"], row["rule"], row["event"]) for row in found] == [
        ("a", "wide", "enter"),
        ("b", "plain", "enter"),
    ]
    assert len(said(track, "--rules", rules, "--plain")) == 4  # no group without a fleet
    for words in ((), ("--rules", rules, "--fences", fences)):
        done = vedette("fences", "transitions", track, *words)
        assert done.returncode == 2 and "either --fences or --rules" in done.stderr


def test_a_table_is_for_people(track: Path, fences: Path) -> None:
    done = vedette("fences", "transitions", track, "--fences", fences)
    assert done.stdout.splitlines()[0].split() == ["2026-01-01T00:00:00Z", "a", "enter", "yard"]
    assert "refused, null_island: 1" in done.stderr
    assert "3 enters, 1 exits" in done.stderr


def test_mistakes_are_one_line_with_the_fix(tmp_path: Path, track: Path, fences: Path) -> None:
    bad = tmp_path / "line.wkt"
    bad.write_text("LINESTRING (10 50, 11 50)")
    done = vedette("fences", "transitions", track, "--fences", bad)
    assert done.returncode == 2 and "corridor_m" in done.stderr and "line.wkt" in done.stderr
    assert said(track, "--fences", bad, "--corridor-m", "50", "--plain")[0]["unit"] == "b"
    again = tmp_path / "yard.geojson"
    again.write_text(vedette("fences", "convert", fences).stdout)
    done = vedette("fences", "transitions", track, "--fences", fences, "--fences", again)
    assert done.returncode == 2 and "fence yard is in two files" in done.stderr


def test_a_converted_file_says_the_same(tmp_path: Path, track: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text(f'id,wkt,radius\nyard,"{SQUARE}",\ncorner,POINT (10 50),1000\n')
    made = tmp_path / "places.geojson"
    made.write_text(vedette("fences", "convert", path).stdout)
    assert said(track, "--fences", path, "--plain") == said(track, "--fences", made, "--plain")
    assert json.loads(made.read_text())["features"][1]["properties"] == {"id": "corner", "radius": 1000.0}


def test_check_tells_and_doubts(tmp_path: Path, fences: Path) -> None:
    assert vedette("fences", "check", fences).stdout.startswith("fine ")
    there = tmp_path / "beijing.wkt"
    there.write_text("POLYGON ((116 39, 117 39, 117 40, 116 40, 116 39))")
    done = vedette("fences", "check", there)
    assert done.returncode == 0 and done.stdout.startswith("doubt ")
    assert vedette("fences", "check", there, "--datum", "GCJ-02").stdout.startswith("fine ")
    there.write_text("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))")
    done = vedette("fences", "check", there)
    assert done.returncode == 2 and "crosses itself near 0.5" in done.stdout
    assert vedette("fences", "check", there, "--repair").returncode == 0


def test_rules_with_a_doubt_still_run(tmp_path: Path, track: Path) -> None:
    """`vedette check` tells it with level warning; a named datum answers it."""
    (tmp_path / "beijing.wkt").write_text("POLYGON ((116 39, 117 39, 117 40, 116 40, 116 39))")
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "r"\nkind = "geofence"\nfences = "beijing.wkt"\n')
    done = vedette("check", "--rules", rules, "--json")
    (finding,) = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert (finding["level"], finding["key"], finding["line"]) == ("warning", "fences", 4)
    assert vedette("replay", track, "--rules", rules).returncode == 0
    rules.write_text(rules.read_text() + 'datum = "GCJ-02"\n')
    assert vedette("check", "--rules", rules, "--json").stdout == ""


# ---------------------------------------------------------------- a slow twin on real tracks


def rows_of(path: Path) -> list[tuple[datetime, int, str, float, float]]:
    with gzip.open(path, "rt") as text:
        rows = enumerate(csv.DictReader(text))
        return sorted(
            (datetime.fromisoformat(r["time_utc"]), n, r["vehicle_id"], float(r["lat"]), float(r["lon"]))
            for n, r in rows
        )


def slowly(track: Path, fences: Path) -> Iterator[dict[str, str]]:
    """Read again with csv and json, tested polygon by polygon, one set of names a unit."""
    features = json.loads(fences.read_text())["features"]
    shapes = {f["properties"]["name"]: shapely.make_valid(shapely.geometry.shape(f["geometry"])) for f in features}
    rows = rows_of(track)
    lons, lats = np.array([r[4] for r in rows]), np.array([r[3] for r in rows])
    masks = {}
    for name, shape in shapes.items():
        shapely.prepare(shape)
        masks[name] = shapely.intersects_xy(shape, lons, lats)
    was: dict[str, set[str]] = {}
    for i, (at, _n, unit, _lat, _lon) in enumerate(rows):
        now = {name for name, mask in masks.items() if mask[i]}
        time = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name in now ^ was.get(unit, set()):
            event = "enter" if name in now else "exit"
            yield {"unit": unit, "fence": name, "event": event, "at": time}
        was[unit] = now


@pytest.mark.parametrize(
    ("track", "fences", "every"),
    [
        ("capmetro_austin_bus_20161125.csv.gz", "us_austin_neighborhoods.geojson", 1),
        ("cabspotting_sf_taxi_A_20080520_48h.csv.gz", "us_sanfrancisco_planning_neighborhoods.geojson", 9),
    ],
)
def test_real_tracks_agree_with_the_slow_twin(
    data_dir: Path, tmp_path: Path, track: str, fences: str, every: int
) -> None:
    """Of the taxis every ninth row, to be quick: gaps of ten minutes, as after an outage."""
    places, tracks = data_dir / "vehicles" / "fences" / fences, tmp_path / "tracks.csv.gz"
    with gzip.open(data_dir / "vehicles" / "tracks" / track, "rt") as text, gzip.open(tracks, "wt") as out:
        header, *rows = text
        out.writelines([header, *rows[::every]])
    found = said(tracks, "--fences", places, "--plain")
    expected = sorted(slowly(tracks, places), key=lambda t: (t["at"], t["unit"], t["fence"]))
    assert found == expected
    assert len(found) > 5_000


# ---------------------------------------------------------------- peers


def cases(data_dir: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data_dir / "vehicles" / "conformance" / name).read_text())["cases"]
    return found


def test_traccars_geometry(data_dir: Path) -> None:
    for case in cases(data_dir, "traccar_geofence_geometry.json"):
        assert case["op"] == "containsPoint"
        how = Reading(lat_first=True, corridor=case["polyline_distance_m"] or 0)
        ((geometry, properties),) = geometries(case["wkt_lat_lon"], case["id"], lat_first=True)
        shape = shape_of(geometry, properties, case["id"], how)
        index = FenceIndex([Fence("f", "f", shape.area, shape.radius, shape.lat, shape.lon)])
        lat, lon = case["args_lat_lon"]
        assert (len(index.within(np.array([lat]), np.array([lon]))[0]) == 1) is case["expected"], case["id"]


def tile38_fence(fence: dict[str, Any]) -> Fence:
    if "circle" in fence:
        c = fence["circle"]
        shape = shape_of(
            {"type": "Point", "coordinates": [c["lon"], c["lat"]]}, {"radius": c["radius_m"]}, "", Reading()
        )
        return Fence("f", "f", shape.area, shape.radius, shape.lat, shape.lon)
    b = fence["bounds"]
    return Fence("f", "f", shapely.box(b["min_lon"], b["min_lat"], b["max_lon"], b["max_lat"]))


def test_tile38s_enter_and_exit(data_dir: Path) -> None:
    """Of its messages enter and exit are ours; where nobody asked for these, inside and outside stand for them."""
    for case in cases(data_dir, "tile38_fence_semantics.json"):
        rows = [F(u["id"], i, u["lat"], u["lon"]) for i, u in enumerate(case["updates"])]
        found = transitions([tile38_fence(case["fence"])], [batch_of(rows)])
        said = [{event for *_, event, at in found if at == T0 + i * SECOND} for i in range(len(rows))]
        if "expected_messages_per_update" in case:
            expected = [set(messages) for messages in case["expected_messages_per_update"]]
        else:
            expected = [{message} for message in case["expected_messages"]]
        if case["detect"] == ["inside", "outside"]:
            words = {"inside": "enter", "outside": "exit"}
            expected = [{words[m] for m in messages} for messages in expected]
        assert said == [messages & {"enter", "exit"} for messages in expected], case["id"]
