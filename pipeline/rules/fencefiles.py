"""Fence files → GeoJSON features. What they hold is judged later, by `shapes`.

.geojson .json   FeatureCollection, Feature or a bare geometry
.kml .kmz        placemarks; radius, width and corridor from ExtendedData
.gpx             routes and tracks as lines, waypoints as circles; radius, width and corridor from extensions
.wkt             one or more geometries; `lat_first` as Traccar writes them, with CIRCLE (lat lon, metres)
.shp .zip        a shapefile on longitude and latitude, with its .dbf and .prj; radius, width, corridor as columns
.csv             a column wkt beside id or name, and radius, width or corridor if wanted
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from pipeline.rules.fenceshp import shp_features
from pipeline.rules.fencewkt import geometries
from pipeline.rules.fencexml import gpx_features, kml_features
from pipeline.rules.shapes import AREAS, LINES, FenceError, Reading

MAX_BYTES = 64_000_000
"""Of a fence file, also after unpacking: a province's districts take one."""

WGS84_NAMES = ("CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4490", "EPSG:4490")
WKT_COLUMNS = ("wkt", "geometry", "geom")


def read_features(path: Path, source: str, how: Reading) -> list[Any]:
    """Raises FenceError for a file that cannot be read as what its name says."""
    data = _bytes(path, source)
    suffix = path.suffix.lower()
    if suffix in (".geojson", ".json"):
        return _geojson(data, source, path.stem, how)
    if suffix == ".kml":
        return kml_features(data, source)
    if suffix == ".kmz":
        return kml_features(_unpacked(data, source), source)
    if suffix == ".gpx":
        return gpx_features(data, source)
    if suffix == ".wkt":
        return _wkt(_text(data, source), source, path.stem, how)
    if suffix == ".csv":
        return _table(_text(data, source), source, how)
    if suffix in (".shp", ".zip"):
        return shp_features(path, data, source, how, MAX_BYTES)
    said = f"{suffix or 'no suffix'} is no kind of fence file"
    raise FenceError(source, said, "use .geojson, .kml, .gpx, .wkt, or a shapefile as .zip")


def _bytes(path: Path, source: str) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FenceError(source, f"is larger than {MAX_BYTES // 1_000_000} MB", "simplify it, or split it")
        return path.read_bytes()
    except FileNotFoundError:
        raise FenceError(source, f"there is no file {path}", "check the path") from None
    except OSError as error:
        raise FenceError(source, f"cannot be read: {error}", "check the file") from None


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FenceError(source, "is not text in UTF-8", "save it as UTF-8") from None


def _unpacked(data: bytes, source: str) -> bytes:
    """The first KML of a KMZ."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = [info for info in archive.infolist() if info.filename.lower().endswith(".kml")]
            if not inside or inside[0].file_size > MAX_BYTES:
                raise FenceError(source, "holds no KML of a sensible size", "export it as KML")
            with archive.open(inside[0]) as kml:
                return kml.read(MAX_BYTES)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise FenceError(source, f"is not a KMZ: {error}", "export it as KML") from None


# ---------------------------------------------------------------- GeoJSON


def _geojson(data: bytes, source: str, stem: str, how: Reading) -> list[Any]:
    try:
        tree = json.loads(_text(data, source))
    except (ValueError, RecursionError) as error:
        raise FenceError(source, f"is not JSON: {error}", "export it as GeoJSON") from None
    kind = tree.get("type") if isinstance(tree, dict) else None
    if isinstance(tree, dict) and how.datum is None:
        _refuse_other_crs(tree, source)
    if kind == "FeatureCollection" and isinstance(tree.get("features"), list):
        return list(tree["features"])
    if kind == "Feature":
        return [tree]
    if kind in (*AREAS, *LINES, "GeometryCollection"):
        return [_feature(tree, {"name": stem})]
    raise FenceError(source, f"type {kind!r} is no GeoJSON collection", "use a FeatureCollection of Features")


def _refuse_other_crs(tree: dict[str, Any], source: str) -> None:
    """Files older than RFC 7946 may name their reference system, and mean it."""
    crs = tree.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = str(properties.get("name", "")) if isinstance(properties, dict) else ""
    if name and not name.endswith(WGS84_NAMES):
        raise FenceError(source, f"names the reference system {name}", "export it in WGS-84 (EPSG:4326)")


def _feature(geometry: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


# ---------------------------------------------------------------- WKT


def _wkt(text: str, source: str, stem: str, how: Reading) -> list[Any]:
    found = list(geometries(text, source, lat_first=how.lat_first))
    names = [stem] if len(found) == 1 else [f"{stem}-{number}" for number in range(1, len(found) + 1)]
    return [_feature(geometry, {"name": name, **more}) for name, (geometry, more) in zip(names, found, strict=True)]


def _table(text: str, source: str, how: Reading) -> list[Any]:
    usual = csv.field_size_limit(MAX_BYTES)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        wkt = next((columns[name] for name in WKT_COLUMNS if name in columns), None)
        if wkt is None:
            raise FenceError(source, "has no column wkt", "name the columns id,wkt in the first line")
        return [f for row in reader for f in _row(row, wkt, f"{source}: line {reader.line_num}", how)]
    except csv.Error as error:
        raise FenceError(source, f"is not CSV: {error}", "export it as CSV in UTF-8") from None
    finally:
        csv.field_size_limit(usual)


def _row(row: dict[str, Any], wkt: str, where: str, how: Reading) -> list[Any]:
    said = {str(key).strip().lower(): value for key, value in row.items() if key != wkt and value not in (None, "")}
    found = geometries(row[wkt] or "", where, lat_first=how.lat_first)
    return [_feature(geometry, {**said, **more}) for geometry, more in found]
