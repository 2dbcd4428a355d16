"""What was read of a track, in words: a summary, its trips and stops, and where it was too fast."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.place import script_json
from pipeline.api.explain import duration, moment
from pipeline.message import SECOND
from pipeline.wire import parse_rfc3339

LISTED = 200
"""Lines of a list; a page with thousands is slow and nobody reads it."""


def summary(found: dict[str, Any]) -> None:
    """Facts of the whole track, and the files it can be saved as."""
    first, last = parse_rfc3339(found["first"]), parse_rfc3339(found["last"])
    facts = {
        "Positions": f"{found['fixes']:,}",
        "Way": _km(found["metres"]),
        "Time": duration(last - first),
        "Fastest": _kmh(found["fastest"]) if found["fastest"] is not None else "–",
        "First": moment(first),
        "Last": moment(last),
    }
    with ui.element("dl").classes("facts"):
        for name, value in facts.items():
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)
    if found["more"]:
        ui.label(words.CUT).classes("wrong")
    with ui.element("div").classes("saves"):
        ui.label(words.SAVE).classes("soft")
        for form, name in words.FORMS.items():
            button = ui.button(name, icon="download", color=None).props("flat no-caps dense").classes("secondary")
            button.on("click", js_handler=f"() => vedette.saveTrack('{form}')")


def trips(told: dict[str, Any], *, limited: bool) -> None:
    """The segments, and the speeding if a limit was given."""
    dated = len({s["start"][:10] for s in told["segments"]} | {s["end"][:10] for s in told["segments"]}) > 1
    _heading(words.TRIPS, words.TRIPS_HINT if told["segments"] else words.NO_TRIPS)
    _lines([(s["kind"], segment_words(s, dated=dated), s["start"], s["end"]) for s in told["segments"]])
    if limited:
        _heading(words.SPEEDING, "" if told["speeding"] else words.NO_SPEEDING)
        _lines([("fast", _run_words(r, dated=dated), r["at"], r["at"]) for r in told["speeding"]])


def segment_words(segment: dict[str, Any], *, dated: bool) -> str:
    """`08:10:02–08:45:10 · 35 min 8 s · 21.30 km · up to 87 km/h`."""
    end = "goes on" if segment["open"] else _clock(segment["end"], dated=dated)
    told = [f"{_clock(segment['start'], dated=dated)}–{end}", duration(round(segment["duration_s"] * SECOND))]
    if segment["kind"] == "trip":
        told += [_km(segment["distance_m"]), f"up to {_kmh(segment['top_speed'])}"]
    return " · ".join(told)


def _run_words(run: dict[str, Any], *, dated: bool) -> str:
    return f"{_clock(run['at'], dated=dated)} · {_kmh(run['speed'])}"


def _lines(rows: list[tuple[str, str, str, str]]) -> None:
    """Rows of (kind, words, start, end); a press shows the part of the track on the map."""
    with ui.element("ol").classes("trips"):
        for kind, line, start, end in rows[:LISTED]:
            with ui.element("li"):
                go = ui.element("button").classes("trip").props('type="button"')
                go.on("click", js_handler=f"() => vedette.goTrip({script_json(start)}, {script_json(end)})")
                with go:
                    if kind in words.SEGMENTS:
                        ui.label(words.SEGMENTS[kind]).classes(f"chip kind-{kind}")
                    ui.label(line)
    if len(rows) > LISTED:
        ui.label(f"{len(rows) - LISTED:,} {words.MORE_LINES}").classes("soft")


def _heading(text: str, hint: str) -> None:
    ui.label(text).classes("section").props('role="heading" aria-level="2"')
    if hint:
        ui.label(hint).classes("soft")


def _clock(at: str, *, dated: bool) -> str:
    return f"{at[5:10]} {at[11:19]}" if dated else at[11:19]


def _km(metres: float) -> str:
    return f"{metres / 1000:.2f} km"


def _kmh(speed: float) -> str:
    return f"{speed * 3.6:.0f} km/h"
