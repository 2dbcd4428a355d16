"""Shapefiles → GeoJSON features: a .zip with one in it, or a .shp with its .dbf and .prj beside it.

What lies on other coordinates than longitude and latitude in WGS-84 is refused by the name of its projection: to
convert it well is the work of a GIS.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import shapefile  # type: ignore[import-untyped]

from pipeline.rules.shapes import FenceError, Reading

PARTS = ("shp", "dbf", "prj", "cpg")
WGS84 = re.compile(r"WGS[_ ]?(19)?84|CGCS[_ ]?2000|China Geodetic Coordinate System 2000", re.IGNORECASE)
"""CGCS2000 is WGS-84 to within centimetres."""

Parts = dict[str, bytes]


def shp_features(path: Path, data: bytes, source: str, how: Reading, max_bytes: int) -> list[Any]:
    """A feature for each shape, with its row of the .dbf as properties. Raises FenceError."""
    zipped = path.suffix.lower() == ".zip"
    parts = _unpacked(data, source, max_bytes) if zipped else _beside(path, data, source, max_bytes)
    _judge_prj(parts.get("prj"), source, how)
    try:
        with shapefile.Reader(
            shp=io.BytesIO(parts["shp"]),
            dbf=io.BytesIO(parts["dbf"]) if "dbf" in parts else None,
            encoding=_encoding(parts.get("cpg")),
            encodingErrors="replace",
        ) as reader:
            return [_feature(item) for item in reader.iterShapeRecords()] if "dbf" in parts else _bare(reader)
    except (shapefile.ShapefileException, struct.error, ValueError, LookupError, OSError, TypeError) as error:
        raise FenceError(source, f"is not a shapefile: {error}", "export it again, or as GeoJSON") from None


def _feature(item: Any) -> dict[str, Any]:
    said = {key: value for key, value in item.record.as_dict().items() if value not in (None, "")}
    return {"type": "Feature", "properties": said, "geometry": _geometry(item.shape)}


def _bare(reader: Any) -> list[Any]:
    return [{"type": "Feature", "properties": {}, "geometry": _geometry(shape)} for shape in reader.iterShapes()]


def _geometry(shape: Any) -> Any:
    """Through JSON, so that positions are lists as they are in GeoJSON; None for a null shape."""
    return json.loads(json.dumps(shape.__geo_interface__)) if shape.shapeType != shapefile.NULL else None


def _encoding(cpg: bytes | None) -> str:
    """Of the texts in the .dbf. ValueError for one that Python has not."""
    name = (cpg or b"utf-8").decode("ascii", "replace").strip()
    name = f"cp{name}" if name.isdigit() else name
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"its .cpg names the encoding {name!r}") from None
    return name


# ---------------------------------------------------------------- its files


def _unpacked(data: bytes, source: str, max_bytes: int) -> Parts:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [i for i in archive.infolist() if not Path(i.filename).name.startswith((".", "__MACOSX"))]
            layers = [i.filename for i in names if i.filename.lower().endswith(".shp")]
            if len(layers) != 1:
                said = f"holds {len(layers)} shapefiles: {', '.join(layers)}" if layers else "holds no shapefile"
                raise FenceError(source, said, "put one .shp with its .dbf and .prj into it")
            stem = layers[0][:-4].lower()
            wanted = {f"{stem}.{part}": part for part in PARTS}
            found = {wanted[i.filename.lower()]: i for i in names if i.filename.lower() in wanted}
            if sum(i.file_size for i in found.values()) > max_bytes:
                raise FenceError(source, f"is larger than {max_bytes // 1_000_000} MB unpacked", "simplify it")
            return {part: archive.read(info) for part, info in found.items()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise FenceError(source, f"is not a ZIP file: {error}", "zip the .shp, .dbf and .prj") from None


def _beside(path: Path, data: bytes, source: str, max_bytes: int) -> Parts:
    parts = {"shp": data}
    try:
        for file in path.parent.iterdir():
            part = file.suffix.lower().removeprefix(".")
            if file.stem == path.stem and part in PARTS[1:]:
                if file.stat().st_size > max_bytes:
                    raise FenceError(source, f"{file.name} is larger than {max_bytes // 1_000_000} MB", "split it")
                parts[part] = file.read_bytes()
    except OSError as error:
        raise FenceError(source, f"cannot be read: {error}", "check the files beside it") from None
    return parts


def _judge_prj(prj: bytes | None, source: str, how: Reading) -> None:
    """What the numbers mean. A datum that a person names stands for the file's word, not for its projection."""
    if prj is None:
        if how.datum is None:
            fix = 'add the .prj, or say datum = "WGS-84" if it is longitude and latitude'
            raise FenceError(source, "has no .prj, so nobody knows what its numbers mean", fix)
        return
    text = prj.decode("utf-8", "replace").strip()
    named = re.match(r"(\w+)\s*[\[(]\s*\"([^\"]*)\"", text)
    kind, name = (named[1], named[2]) if named else ("", text[:60])
    if kind.upper() not in ("GEOGCS", "GEOGCRS", "GEODCRS"):
        raise FenceError(
            source, f"is projected in {name or 'an unknown system'}", "export it in EPSG:4326 (WGS-84)"
        )
    if how.datum is None and not WGS84.search(text):
        raise FenceError(source, f"names the datum {name}, not WGS-84", "export it in EPSG:4326 (WGS-84)")
