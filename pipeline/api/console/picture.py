"""The evidence frame with the boxes of what was seen, drawn over it in the pixels of the picture itself."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from nicegui import ui

from pipeline.api.console import words

Box = tuple[str, float | None, tuple[float, float, float, float]]
"""Label, score, and x1, y1, x2, y2 in pixels of the picture."""


def boxes(evidence: dict[str, Any]) -> Iterator[Box]:
    """The boxes in an alarm's evidence: `detections` of (label, score, box), or one `box`."""
    for item in evidence.get("detections") or ():
        if isinstance(item, dict):
            yield str(item.get("label", "")), item.get("score"), _four(item["box"])
        else:
            label, score, box = item
            yield str(label), score, _four(box)
    if not evidence.get("detections") and evidence.get("box"):
        yield str(evidence.get("label", "")), evidence.get("score"), _four(evidence["box"])


def _four(box: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return x1, y1, x2, y2


def overlay(found: list[Box], height: float) -> str:
    """SVG in the picture's own coordinates; text is sized by the picture, so it reads the same at any scale."""
    size = max(10.0, height / 26)
    return "".join(_drawn(box, size) for box in found)


def _drawn(box: Box, size: float) -> str:
    label, score, (x1, y1, x2, y2) = box
    words_ = escape(f"{label} {score:.2f}" if score is not None else label)
    above = y1 > size * 1.6
    top = y1 - size * 1.5 if above else y1
    width = size * 0.62 * (len(words_) + 1.2)
    return (
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" class="box" />'
        f'<rect x="{x1:.1f}" y="{top:.1f}" width="{width:.1f}" height="{size * 1.5:.1f}" class="box-label" />'
        f'<text x="{x1 + size * 0.4:.1f}" y="{top + size * 1.1:.1f}" font-size="{size:.1f}" class="box-text">'
        f"{words_}</text>"
    )


def pictures(evidence: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Evidence with a frame, by camera: the alarm's own first, then those of others who see the same fire."""
    own = str(evidence.get("camera") or "")
    found = {own: evidence} if evidence.get("frame") else {}
    for member in (evidence.get("fire") or {}).get("members", ()):
        if member.get("picture"):
            found.setdefault(member["camera"], member["picture"])
    return found


class Picture:
    """The frame of the chosen alarm, hidden when it has none; one of several cameras has a button for each."""

    def __init__(self) -> None:
        self._holder = ui.element("figure").classes("picture")
        self._holder.set_visibility(False)

    def show(self, evidence: dict[str, Any] | None) -> None:
        """The pictures of `evidence`, its own first; nothing for None or evidence without one."""
        self._pictures = pictures(evidence or {})
        self._holder.set_visibility(bool(self._pictures))
        self._holder.clear()
        if self._pictures:
            self._draw(next(iter(self._pictures)))

    def _draw(self, camera: str) -> None:
        evidence = self._pictures[camera]
        self._holder.clear()
        width, height = (float(v) for v in evidence.get("size") or (640, 480))
        with self._holder:
            if len(self._pictures) > 1:
                toggle = ui.toggle(list(self._pictures), value=camera, on_change=lambda e: self._draw(e.value))
                toggle.props("no-caps unelevated dense").classes("filters cameras")
            drawn = overlay(list(boxes(evidence)), height)
            image = ui.interactive_image(f"/api/v1/evidence/{evidence['frame']}", content=drawn)
            image.classes("frame").props(f'alt="{words.EVIDENCE}"').style(f"--ratio: {width / height:.4f}")
            image.on("error", lambda: self._missing(), args=[])

    def _missing(self) -> None:
        self._holder.clear()
        with self._holder:
            ui.label(words.NO_PICTURE).classes("empty")
