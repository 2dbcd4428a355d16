"""Read one unit's track for a stated purpose, and see it on the map."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.console.place import Place, script_json
from pipeline.api.explain import duration
from pipeline.message import SECOND
from pipeline.ports import Position
from pipeline.wire import parse_rfc3339

HOUR = 3600 * SECOND
MASK = "####-##-## ##:##:##"


class TracksPage:
    """The form beside the map."""

    def __init__(self, outlook: Outlook, latest: list[Position]) -> None:
        self._latest = {p.unit: p.at for p in latest}
        with page(outlook, "/tracks"), ui.element("div").classes("tracks-page"):
            with ui.element("section").classes("form").props(f'aria-label="{words.TRACK_TITLE}"'):
                self._form(sorted(self._latest))
            with ui.element("section").classes("stage"):
                self._place = Place(follow=False)

    def _form(self, units: list[str]) -> None:
        ui.label(words.TRACK_TITLE).classes("heading").props('role="heading" aria-level="1"')
        ui.label(words.TRACK_HINT).classes("soft")
        self._unit = ui.select(units, label=words.UNIT, with_input=True, on_change=self._suggest).props("outlined")
        self._start = ui.input(words.FROM, placeholder=words.TIME).props(f'outlined stack-label mask="{MASK}"')
        self._end = ui.input(words.TO, placeholder=words.TIME).props(f'outlined stack-label mask="{MASK}"')
        self._purpose = ui.select(
            list(words.PURPOSES), label=words.PURPOSE, with_input=True, new_value_mode="add-unique"
        ).props("outlined")
        self._show = ui.button(words.SHOW, icon="timeline", on_click=self._read, color=None)
        self._show.props('unelevated no-caps id="show-track"').classes("primary")
        self._answer = ui.element("div").classes("answer").props('role="status"')
        if not units:
            with self._answer:
                ui.label(words.NO_UNITS).classes("empty")

    async def start(self) -> None:
        """When the browser is there."""
        await ui.context.client.connected()
        await self._place.start()

    def _suggest(self) -> None:
        """The hour before the unit's last position."""
        last = self._latest.get(str(self._unit.value))
        if last is not None:
            self._start.set_value(_local(last - HOUR))
            self._end.set_value(_local(last + SECOND))

    async def _read(self) -> None:
        if problem := self._problem():
            ui.notify(problem, type="warning", position="bottom-left")
            return
        start, end = (f"{field.value.replace(' ', 'T')}Z" for field in (self._start, self._end))
        query = {"from": start, "to": end, "purpose": self._purpose.value}
        self._show.set_enabled(False)
        call = f"return vedette.readTrack({script_json(self._unit.value)}, {script_json(query)})"
        self._tell(await ui.run_javascript(call, timeout=60.0))
        self._show.set_enabled(True)

    def _problem(self) -> str:
        fields = {
            words.UNIT: self._unit,
            words.FROM: self._start,
            words.TO: self._end,
            words.PURPOSE: self._purpose,
        }
        missing = [name for name, field in fields.items() if not field.value]
        return f"Still needed: {', '.join(missing)}" if missing else ""

    def _tell(self, found: dict[str, Any]) -> None:
        self._answer.clear()
        with self._answer:
            if found.get("problem"):
                ui.label(found["problem"]).classes("wrong")
            elif not found["fixes"]:
                ui.label(words.NO_TRACK).classes("empty")
            else:
                _summary(found)


def _summary(found: dict[str, Any]) -> None:
    lasted = parse_rfc3339(found["last"]) - parse_rfc3339(found["first"])
    fastest = f"{found['fastest'] * 3.6:.0f} km/h" if found["fastest"] is not None else "–"
    facts = {
        "Positions": f"{found['fixes']:,}",
        "Way": f"{found['metres'] / 1000:.2f} km",
        "Time": duration(lasted),
        "Fastest": fastest,
        "First": found["first"],
        "Last": found["last"],
    }
    with ui.element("dl").classes("facts"):
        for name, value in facts.items():
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)
    if found["more"]:
        ui.label(words.CUT).classes("wrong")
    button = ui.button(words.DOWNLOAD, icon="download", color=None)
    button.props("flat no-caps").classes("secondary").on("click", js_handler="() => vedette.saveTrack()")


def _local(at: int) -> str:
    """A time as the fields have it: UTC, to the second."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


async def tracks_page(outlook: Outlook, _user: str) -> None:
    """Build the page, with the enrolled units that have a position."""
    desk = outlook.desk
    latest = [p for p in await desk.call(desk.store.latest) if p.unit in desk.fleet]
    opened = TracksPage(outlook, latest)
    ui.timer(0.0, opened.start, once=True)
