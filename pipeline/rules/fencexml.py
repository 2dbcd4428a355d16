"""KML and GPX → GeoJSON features. A document type declaration is refused: neither format has a use for one, and
entities that grow without bound need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from pipeline.rules.shapes import FenceError

Position = list[float]


def kml_features(data: bytes, source: str) -> list[Any]:
    """A feature for each Placemark with a geometry; its name, id and ExtendedData are the properties."""
    root = _tree(data, source, "kml")
    return [_placemark(mark, source) for mark in root.iter() if _tag(mark) == "Placemark"]


def gpx_features(data: bytes, source: str) -> list[Any]:
    """Waypoints as points, routes and tracks as lines; name and numbers from the extensions are the properties."""
    root = _tree(data, source, "gpx")
    features = []
    for item in root:
        properties = _gpx_properties(item)
        if _tag(item) == "wpt":
            features.append(_feature({"type": "Point", "coordinates": _gpx_point(item, source)}, properties))
        elif _tag(item) == "rte":
            line = [_gpx_point(point, source) for point in _children(item, "rtept")]
            features.append(_feature({"type": "LineString", "coordinates": line}, properties))
        elif _tag(item) == "trk":
            lines = [
                [_gpx_point(point, source) for point in _children(part, "trkpt")]
                for part in _children(item, "trkseg")
            ]
            features.append(_feature({"type": "MultiLineString", "coordinates": lines}, properties))
    return features


# ---------------------------------------------------------------- XML


def _tree(data: bytes, source: str, name: str) -> Element:
    fix = f"export it as {name.upper()}"
    try:
        _refuse_doctype(data, source)
        root = ElementTree.fromstring(data.lstrip())
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise FenceError(source, f"is not XML: {error}", fix) from None
    if _tag(root) != name:
        raise FenceError(source, f"begins with <{_tag(root)}>, not <{name}>", fix)
    return root


def _refuse_doctype(data: bytes, source: str) -> None:
    def refuse(*_declaration: object) -> None:
        raise FenceError(source, "declares a document type", "remove <!DOCTYPE ...>: it is not needed")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data.lstrip(), True)


def _tag(element: Element) -> str:
    """Without its namespace; files in the wild name it in several ways, or not at all."""
    return str(element.tag).rpartition("}")[2]


def _children(element: Element, *names: str) -> Iterator[Element]:
    return (child for child in element if _tag(child) in names)


def _text(element: Element, name: str) -> str:
    return next(((child.text or "").strip() for child in _children(element, name)), "")


def _feature(geometry: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


# ---------------------------------------------------------------- KML


def _placemark(mark: Element, source: str) -> dict[str, Any]:
    name = _text(mark, "name") or mark.get("id") or ""
    where = f"{source}: fence {name or '(without a name)'}"
    found = [geometry for child in mark if (geometry := _kml_geometry(child, where)) is not None]
    geometry = found[0] if len(found) == 1 else None
    return _feature(geometry, {**_extended(mark), "name": name})


def _kml_geometry(element: Element, where: str) -> dict[str, Any] | None:
    kind = _tag(element)
    if kind in ("Point", "LineString", "LinearRing"):
        line = _coordinates(element, where)
        if kind == "Point":
            return {"type": "Point", "coordinates": line[0] if line else None}
        return {"type": "LineString", "coordinates": line}
    if kind == "Polygon":
        bounds = [b for side in ("outerBoundaryIs", "innerBoundaryIs") for b in _children(element, side)]
        rings = [_coordinates(ring, where) for bound in bounds for ring in _children(bound, "LinearRing")]
        return {"type": "Polygon", "coordinates": rings}
    if kind == "MultiGeometry":
        parts = [geometry for child in element if (geometry := _kml_geometry(child, where)) is not None]
        return {"type": "GeometryCollection", "geometries": parts}
    return None


def _coordinates(element: Element, where: str) -> list[Position]:
    """`lon,lat[,alt] lon,lat[,alt] ...`"""
    text = _text(element, "coordinates")
    try:
        return [[float(value) for value in point.split(",")[:2]] for point in text.split()]
    except ValueError:
        raise FenceError(where, f"{text[:60]!r} are no coordinates", "write lon,lat lon,lat ...") from None


def _extended(mark: Element) -> dict[str, Any]:
    """ExtendedData in both of its spellings: Data/value and SchemaData/SimpleData."""
    properties: dict[str, Any] = {}
    for extended in _children(mark, "ExtendedData"):
        for item in extended.iter():
            if _tag(item) == "Data":
                properties[item.get("name", "")] = _text(item, "value")
            elif _tag(item) == "SimpleData":
                properties[item.get("name", "")] = (item.text or "").strip()
    return properties


# ---------------------------------------------------------------- GPX


def _gpx_point(point: Element, source: str) -> Position:
    try:
        return [float(point.get("lon", "")), float(point.get("lat", ""))]
    except ValueError:
        said = f'lat="{point.get("lat")}" lon="{point.get("lon")}"'
        raise FenceError(source, f"a <{_tag(point)}> has {said}", "give both in degrees") from None


def _gpx_properties(item: Element) -> dict[str, Any]:
    properties: dict[str, Any] = {"name": _text(item, "name")}
    for extensions in _children(item, "extensions"):
        wanted = ("id", "radius", "width", "corridor")
        properties |= {_tag(e): (e.text or "").strip() for e in extensions.iter() if _tag(e) in wanted}
    return properties
