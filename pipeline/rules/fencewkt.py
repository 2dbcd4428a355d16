"""Well-known text → GeoJSON geometry: a matter of brackets.

`POLYGON ((10 50, 11 50, 11 51, 10 50))` has the same nesting as GeoJSON's coordinates. Traccar writes latitude
first, and knows a `CIRCLE (55.75 37.62, 100)` with its radius in metres.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline.rules.shapes import FenceError

KINDS = {
    "POINT": "Point",
    "LINESTRING": "LineString",
    "POLYGON": "Polygon",
    "MULTILINESTRING": "MultiLineString",
    "MULTIPOLYGON": "MultiPolygon",
}
HEAD = re.compile(r"[\s;]*(?:SRID=(\d+)\s*;)?\s*([A-Z]+)\s*(?:ZM|Z|M)?\s*(?=\()", re.IGNORECASE)
BODY = re.compile(r"[-+0-9.eE,()\s]*")
NUMBER = r"[-+0-9.eE]+"
POSITION = re.compile(rf"{NUMBER}(?:\s+{NUMBER})+")

Found = tuple[dict[str, Any], dict[str, Any]]
"""Geometry, and the properties that WKT itself says: the radius of a circle."""


def geometries(text: str, where: str, *, lat_first: bool = False) -> Iterator[Found]:
    """All geometries of a text, one after the other. Raises FenceError."""
    at = 0
    while text[at:].strip(" \t\r\n;"):
        head = HEAD.match(text, at)
        if head is None:
            said = text[at:].strip()[:40]
            raise FenceError(where, f"{said!r} is not WKT", "write POLYGON ((lon lat, lon lat, ...))")
        if head[1] not in (None, "4326", "4490"):
            raise FenceError(where, f"names the reference system {head[1]}", "export it in WGS-84 (EPSG:4326)")
        body = BODY.match(text, head.end())
        assert body is not None  # it may be empty
        at = body.end()
        yield _geometry(head[2].upper(), body[0], where, lat_first)


def _geometry(kind: str, body: str, where: str, lat_first: bool) -> Found:
    if kind == "CIRCLE":
        return _circle(body, where, lat_first)
    if kind not in KINDS:
        raise FenceError(where, f"{kind} has no inside", f"use one of {', '.join(KINDS)}")
    nested = _nested(body, where, lat_first)
    if kind == "POINT":
        return {"type": "Point", "coordinates": nested[0]}, {}
    return {"type": KINDS[kind], "coordinates": nested}, {}


def _circle(body: str, where: str, lat_first: bool) -> Found:
    if not lat_first:
        raise FenceError(where, "CIRCLE is Traccar's own, latitude first", "read the file with latitude first")
    parts = _nested(body, where, lat_first)
    if len(parts) != 2 or not isinstance(parts[0], list) or isinstance(parts[1], list):
        raise FenceError(where, f"CIRCLE {body.strip()} is no circle", "write CIRCLE (latitude longitude, metres)")
    return {"type": "Point", "coordinates": parts[0]}, {"radius": parts[1]}


def _nested(body: str, where: str, lat_first: bool) -> list[Any]:
    text = POSITION.sub(lambda match: _position(match[0], lat_first), body)
    try:
        nested = json.loads(text.replace("(", "[").replace(")", "]"))
    except (ValueError, RecursionError):
        raise FenceError(
            where, f"{body.strip()[:60]!r}: brackets or numbers do not fit", "export it again"
        ) from None
    return list(nested)


def _position(text: str, lat_first: bool) -> str:
    values = text.split()
    if lat_first:
        values[:2] = values[1::-1]
    return f"[{','.join(_plain(value) for value in values)}]"


def _plain(number: str) -> str:
    """A number as JSON writes it: `+1`, `.5` and `5.` are none there. What is no number is refused later."""
    try:
        return json.dumps(float(number))
    except ValueError:
        return number
