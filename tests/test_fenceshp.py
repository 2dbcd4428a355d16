"""Shapefiles: written with pyshp, read as fences; what lies on other coordinates is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapefile  # type: ignore[import-untyped]

from pipeline.rules.fences import FenceIndex, load_fences
from pipeline.rules.shapes import FenceError, Reading

WGS84 = 'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]]]'
UTM = 'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]],PROJECTION["Transverse_Mercator"]]'
NAD27 = 'GEOGCS["GCS_North_American_1927",DATUM["D_North_American_1927"]]'
SHELL = [[10.0, 50.0], [10.0, 50.1], [10.1, 50.1], [10.1, 50.0], [10.0, 50.0]]
HOLE = [[10.04, 50.04], [10.06, 50.04], [10.06, 50.06], [10.04, 50.06], [10.04, 50.04]]
PART = [[11.0, 50.0], [11.0, 50.1], [11.1, 50.1], [11.1, 50.0], [11.0, 50.0]]


def shapes_in(folder: Path, prj: str | None = WGS84) -> Path:
    """Two polygons, one with a hole and a second part, called by a column NHOOD in GBK."""
    path = folder / "areas.shp"
    with shapefile.Writer(str(path), encoding="gbk") as out:
        out.field("NHOOD", "C", 40)
        out.field("floor_m", "N", 10, 2)
        out.poly([SHELL, HOLE, PART])
        out.record("东城区", None)
        out.poly([[[lon + 5, lat] for lon, lat in SHELL]])
        out.record("south", 100.0)
    path.with_suffix(".cpg").write_text("GBK")
    if prj is not None:
        path.with_suffix(".prj").write_text(prj)
    return path


def zipped(path: Path) -> Path:
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as out:
        for file in path.parent.glob(f"{path.stem}.*"):
            if file != archive:
                out.write(file, f"export/{file.name}")
    return archive


@pytest.mark.parametrize("packed", [False, True])
def test_parts_holes_and_the_column_of_names(tmp_path: Path, packed: bool) -> None:
    path = shapes_in(tmp_path)
    fences = load_fences(zipped(path) if packed else path, how=Reading(name_field="NHOOD"))
    assert [fence.id for fence in fences] == ["东城区", "south"]
    assert [fence.traits.floor for fence in fences] == [-np.inf, 100.0]
    lat, lon = np.array([50.02, 50.05, 50.05, 50.05]), np.array([10.02, 10.05, 11.05, 15.05])
    rows, of = FenceIndex(fences).within(lat, lon)
    assert list(zip(rows.tolist(), of.tolist(), strict=True)) == [(0, 0), (2, 0), (3, 1)]


@pytest.mark.parametrize(
    ("prj", "words"),
    [
        (UTM, "is projected in WGS_1984_UTM_Zone_33N"),
        (NAD27, "names the datum GCS_North_American_1927"),
        (None, "has no .prj"),
        ("nonsense", "is projected in nonsense"),
    ],
)
def test_other_coordinates_are_refused_by_name(tmp_path: Path, prj: str | None, words: str) -> None:
    with pytest.raises(FenceError, match=words):
        load_fences(shapes_in(tmp_path, prj), how=Reading(name_field="NHOOD"))


def test_a_person_may_say_what_a_file_without_a_prj_means(tmp_path: Path) -> None:
    path = shapes_in(tmp_path, None)
    assert len(load_fences(path, how=Reading(name_field="NHOOD", datum="WGS-84"))) == 2


def test_without_the_name_of_the_column_the_columns_are_told(tmp_path: Path) -> None:
    with pytest.raises(FenceError, match=r"has no name: .*name_field, of: NHOOD"):
        load_fences(shapes_in(tmp_path))


@pytest.mark.parametrize("cut", [10, 99, 150, 300])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = shapes_in(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FenceError):
        load_fences(path, how=Reading(name_field="NHOOD"))


def test_an_archive_holds_one_shapefile(tmp_path: Path) -> None:
    archive = tmp_path / "two.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("a.shp", b"")
        out.writestr("b.shp", b"")
    with pytest.raises(FenceError, match=r"holds 2 shapefiles: a.shp, b.shp"):
        load_fences(archive)
    archive.write_bytes(b"PK no archive")
    with pytest.raises(FenceError, match="is not a ZIP file"):
        load_fences(archive)
