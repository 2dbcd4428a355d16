"""Line protocol: rows as the text InfluxDB takes, with every field's type fixed here.

    position,unit=U              lat lon speed course alt accuracy: float    clock: integer
    frame,camera=C               received width height clock: integer        model detections: string
                                 score_<label>: float, the best of the frame
    reading,device=D,channel=C   value: float    clock: integer    unit: string

Times are microseconds. NaN is left out: the protocol has no word for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.message import ReadingRecord, ScoredFrame
from pipeline.store.rows import Rows
from pipeline.store.sqlite import dump_detections

OPTIONAL = ("speed", "course", "alt", "accuracy")
_SPECIAL = re.compile(r"([,= ])")
_ESCAPED = r"\\\1"
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]|\\$|^$")
_FIRST_TAG = re.compile(r"\w+,\w+=((?:\\.|[^, ])*)")


def tag(value: str) -> str | None:
    """A tag's value, escaped; None if the protocol cannot carry it (a line break would begin another line)."""
    return None if _UNSAFE.search(value) else _SPECIAL.sub(_ESCAPED, value)


def text(value: str) -> str:
    """A string field's value, quoted."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def owner(line: str) -> str:
    """The unit, camera or device that a line is about."""
    found = _FIRST_TAG.match(line)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else ""


def position_lines(names: Sequence[str], rows: Rows) -> Iterator[str]:
    """A line a row, `rows["unit"]` being an index of `names`; none for an impossible name (see `tag`)."""
    heads = [None if (name := tag(unit)) is None else f"position,unit={name}" for unit in names]
    present = np.zeros(len(rows), np.uint8)
    for bit, field in enumerate(OPTIONAL):
        present |= (~np.isnan(rows[field])).astype(np.uint8) << bit
    for pattern in np.unique(present).tolist():
        yield from _alike(rows[present == pattern], heads, pattern)


def _alike(rows: Rows, heads: Sequence[str | None], pattern: int) -> Iterator[str]:
    """Lines of rows that have the same fields, so that one template does for all."""
    fields = [name for bit, name in enumerate(OPTIONAL) if pattern >> bit & 1]
    some = "".join(f",{name}=%.9g" for name in fields)
    template = "%s lat=%r,lon=%r" + some + ",clock=%di %d"
    columns = [rows[name].tolist() for name in ("lat", "lon", *fields, "clock", "at")]
    head = [heads[unit] for unit in rows["unit"].tolist()]
    lines = zip(head, *columns, strict=True)
    return (template % line for line in lines if line[0] is not None)


def frame_lines(frames: Iterable[ScoredFrame]) -> Iterator[str]:
    """A line a frame."""
    for frame in frames:
        camera = tag(frame.camera)
        if camera is None:
            continue
        best: dict[str, float] = {}
        for label, score, _ in frame.detections:
            best[label] = max(score, best.get(label, 0.0))
        scores = "".join(
            f",{_SPECIAL.sub(_ESCAPED, 'score_' + label)}={score:.9g}" for label, score in best.items()
        )
        yield (
            f"frame,camera={camera} received={frame.received}i,width={frame.width}i,height={frame.height}i,"
            f"clock={int(frame.clock)}i,model={text(frame.model)},detections={text(dump_detections(frame))}"
            f"{scores} {frame.at}"
        )


def reading_lines(records: Iterable[ReadingRecord]) -> Iterator[str]:
    """A line a reading."""
    for record in records:
        device = tag(record.device)
        for reading in record.readings:
            channel = tag(reading.channel)
            if device is None or channel is None or math.isnan(reading.value):
                continue
            yield (
                f"reading,device={device},channel={channel} value={reading.value!r},clock={int(reading.clock)}i,"
                f"unit={text(reading.unit)} {reading.at}"
            )
