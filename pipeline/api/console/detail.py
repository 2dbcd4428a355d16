"""One alarm: its reason, why, what is known of it, its history, and the two buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.events import GenericEventArguments

from pipeline.api.console import words
from pipeline.api.console.rows import severity, state_name
from pipeline.api.explain import duration, explain, moment, spelled_units
from pipeline.api.fires import Nearby
from pipeline.api.shapes import spelled
from pipeline.api.whynot import SIGHTING
from pipeline.message import Alarm, AlarmEvent

ELSEWHERE = frozenset({"frame", "frames", "model", "version", "held_back", "fire", "pose", "fire_weather"})
"""Evidence that stands elsewhere on the page."""

Act = Callable[[str, str, str], Awaitable[None]]
"""(alarm id, action, note) of a person."""

PRESSED = "() => emit(document.querySelector('.detail .reason').dataset.alarm)"
"""A press carries the alarm whose reason stood on the person's screen, whatever the server shows there by now."""


class Detail:
    """The panel beside the list. `act` is called for its buttons, `back` when a small screen goes to the list."""

    def __init__(self, act: Act, back: Callable[[], None]) -> None:
        self._act = act
        self._resolving = ""
        with ui.element("section").classes("detail").props('aria-label="Alarm"'):
            button = ui.button(words.BACK, icon="arrow_back", on_click=back, color=None)
            button.props('flat no-caps id="back"').classes("back plain")
            self._body = ui.element("div").classes("detail-body")
            self._buttons()
        self._resolve_dialog()
        self.clear()

    def clear(self) -> None:
        """Nothing is selected."""
        self._body.clear()
        self._bar.set_visibility(False)
        with self._body, ui.element("div").classes("empty tall"):
            ui.icon("touch_app")
            ui.label(words.SELECT)
            ui.label(words.SELECT_HINT).classes("soft")

    def show(self, alarm: Alarm, history: list[AlarmEvent], near: Nearby | None = None) -> None:
        """Everything about `alarm`; `near` are the units near a fire."""
        why = explain(alarm, history)
        self._body.clear()
        with self._body:
            _title(alarm)
            _section(words.WHY)
            for sentence in why.sentences:
                if sentence.rstrip(".") != alarm.reason.rstrip("."):
                    ui.label(sentence).classes("sentence")
            _section(words.FACTS)
            _facts(alarm, why.rule.version, why.model)
            if near is not None:
                _section(words.NEARBY)
                _nearby(near)
            _section(words.HISTORY)
            _history(alarm, history)
            if weather := alarm.evidence.get("fire_weather"):
                _section(words.FIRE_WEATHER)
                _figures(weather)
            if alarm.kind == SIGHTING:
                ui.link(words.WHAT_ELSE, what_else(alarm)).classes("why-not")
            _evidence(alarm.evidence)
        self._bar.set_visibility(True)
        self._acknowledge.set_enabled(alarm.acknowledged_by is None and alarm.state != "resolved")
        self._resolve.set_enabled(alarm.acknowledged_by is not None and alarm.state != "resolved")

    def _buttons(self) -> None:
        self._bar = ui.element("div").classes("actions")
        with self._bar:
            self._acknowledge = ui.button(words.ACKNOWLEDGE, icon="done", color=None)
            self._acknowledge.on("click", self._on_acknowledge, js_handler=PRESSED)
            self._acknowledge.props('unelevated no-caps id="acknowledge"').classes("primary")
            self._resolve = ui.button(words.RESOLVE, icon="task_alt", color=None)
            self._resolve.on("click", self._open_dialog, js_handler=PRESSED)
            self._resolve.props('flat no-caps id="resolve"').classes("secondary")

    def _resolve_dialog(self) -> None:
        with ui.dialog() as self._dialog, ui.card().classes("dialog"):
            ui.label(words.RESOLVE_TITLE).classes("dialog-title")
            self._note = ui.textarea(words.RESOLVE_NOTE).props("autofocus outlined autogrow maxlength=2000")
            with ui.element("div").classes("actions"):
                ui.button(words.CANCEL, on_click=self._dialog.close, color=None).props("flat no-caps").classes(
                    "plain"
                )
                done = ui.button(words.RESOLVE, on_click=self._on_resolve, color=None)
                done.props('unelevated no-caps id="resolve-now"').classes("primary")

    def _open_dialog(self, event: GenericEventArguments) -> None:
        self._resolving = str(event.args)
        self._dialog.open()

    async def _on_acknowledge(self, event: GenericEventArguments) -> None:
        await self._act(str(event.args), "acknowledge", "")

    async def _on_resolve(self) -> None:
        self._dialog.close()
        await self._act(self._resolving, "resolve", str(self._note.value or "").strip())
        self._note.set_value("")


def _title(alarm: Alarm) -> None:
    level = severity(alarm)
    with ui.element("div").classes("tags"):
        ui.label(words.SEVERITIES[level]).classes(f"tag sev-{level}")
        ui.label(state_name(alarm)).classes(f"chip state-{alarm.state}")
    ui.label(alarm.reason).classes("reason").props(f'role="heading" aria-level="1" data-alarm="{alarm.id}"')


def _section(name: str) -> None:
    ui.label(name).classes("section").props('role="heading" aria-level="2"')


def _facts(alarm: Alarm, version: str | None, model: str | None) -> None:
    ended = moment(alarm.ended_at) if alarm.ended_at is not None else words.GOING_ON
    facts = {
        words.SUBJECT: alarm.subject,
        words.PLACE: alarm.place,
        words.RULE: f"{alarm.rule} ({alarm.kind}{f', version {version}' if version else ''})",
        words.MODEL: model or "",
        words.BEGAN: moment(alarm.start),
        words.ENDED: ended,
        words.LASTED: duration(alarm.ended_at - alarm.start) if alarm.ended_at is not None else "",
    }
    _table({name: value for name, value in facts.items() if value})


def _table(rows: dict[str, str]) -> None:
    with ui.element("dl").classes("facts"):
        for name, value in rows.items():
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)


def _nearby(near: Nearby) -> None:
    with ui.element("ul").classes("nearby"):
        for name, unit in spelled_units(near):
            with ui.element("li"):
                ui.label(name).classes(f"chip near-{name.replace(' ', '-')}")
                ui.label(unit)
    ui.label(words.NEARBY_HINT if near.units else words.NOBODY_NEAR).classes("soft")


def _history(alarm: Alarm, history: list[AlarmEvent]) -> None:
    with ui.element("ol").classes("history"):
        for event in history:
            with ui.element("li").classes(f"change-{event.change}"):
                ui.label(f"{words.CHANGES.get(event.change, event.change)} · {event.by}").classes("change")
                ui.label(moment(event.recorded)).classes("soft")
                if event.reason and event.reason != alarm.reason:
                    ui.label(event.reason)


def _evidence(evidence: dict[str, Any]) -> None:
    """Every figure that the rule gave, folded away: most people never need them."""
    with ui.element("details").classes("all-figures"):
        with ui.element("summary"):
            ui.label(words.ALL_FIGURES)
        _figures({name: value for name, value in evidence.items() if name not in ELSEWHERE})


def _figures(found: dict[str, Any]) -> None:
    shown = spelled(found).items()
    _table({name.replace("_", " "): _plain(value) for name, value in shown if value not in ([], {}, None)})


def what_else(alarm: Alarm) -> str:
    """Address of the page that tells what else the camera showed when this began."""
    at = moment(alarm.start).removesuffix(" UTC")
    return f"/why-not?{urlencode({'camera': alarm.subject, 'at': at})}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value)
