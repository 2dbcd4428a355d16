"""Read one unit's track for a stated purpose, and see it on the map."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.console.place import Place, script_json
from pipeline.api.console.trip_list import summary, trips
from pipeline.api.explain import moment
from pipeline.message import SECOND
from pipeline.ports import Position

HOUR = 3600 * SECOND
PATIENCE_S = 60.0
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
        self._day = ui.input(words.DAY, on_change=self._whole_day).props('outlined stack-label type="date"')
        self._start, self._end = (
            ui.input(name, placeholder=words.TIME).props(f'outlined stack-label mask="{MASK}"')
            for name in (words.FROM, words.TO)
        )
        self._purpose = ui.select(
            list(words.PURPOSES), label=words.PURPOSE, with_input=True, new_value_mode="add-unique"
        ).props("outlined")
        self._limit = ui.number(words.LIMIT, min=1, max=300).props("outlined dense")
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
        """The hour before the unit's last position, unless a day is chosen."""
        last = self._latest.get(str(self._unit.value))
        if last is not None and not self._day.value:
            self._start.set_value(_local(last - HOUR))
            self._end.set_value(_local(last + SECOND))

    def _whole_day(self) -> None:
        """From midnight to midnight of the chosen day."""
        try:
            day = date.fromisoformat(str(self._day.value or ""))
        except ValueError:  # emptied, or half typed
            return
        self._start.set_value(f"{day} 00:00:00")
        self._end.set_value(f"{day + timedelta(days=1)} 00:00:00")

    async def _read(self) -> None:
        if problem := self._problem():
            ui.notify(problem, type="warning", position="bottom-left")
            return
        start, end = (f"{field.value.replace(' ', 'T')}Z" for field in (self._start, self._end))
        query = {"from": start, "to": end, "purpose": self._purpose.value}
        self._show.set_enabled(False)
        try:
            self._tell(found := await self._call("readTrack", query))
            if found.get("fixes"):
                await self._read_trips(query)
        finally:
            self._show.set_enabled(True)

    async def _read_trips(self, query: dict[str, Any]) -> None:
        limit = float(self._limit.value or 0.0)
        with self._answer:
            waiting = ui.label(words.LOOKING_FOR_TRIPS).classes("soft")
        found = await self._call("readTrips", query | {"limit_kmh": limit})
        waiting.delete()
        with self._answer:
            if found.get("problem"):
                ui.label(found["problem"]).classes("wrong").props('role="alert"')
            else:
                trips(found, limited=limit > 0)

    async def _call(self, method: str, query: dict[str, Any]) -> dict[str, Any]:
        """What a function of assets/track.js found, or the `problem`."""
        call = f"return vedette.{method}({script_json(self._unit.value)}, {script_json(query)})"
        try:
            found: dict[str, Any] = await ui.run_javascript(call, timeout=PATIENCE_S)
        except TimeoutError:
            return {"problem": words.NO_ANSWER}
        return found

    def _problem(self) -> str:
        fields = {
            words.UNIT: self._unit,
            words.FROM: self._start,
            words.TO: self._end,
            words.PURPOSE: self._purpose,
        }
        missing = [name for name, field in fields.items() if not str(field.value or "").strip()]
        return f"Still needed: {', '.join(missing)}" if missing else ""

    def _tell(self, found: dict[str, Any]) -> None:
        self._answer.clear()
        with self._answer:
            if found.get("problem"):
                ui.label(found["problem"]).classes("wrong").props('role="alert"')
            elif not found["fixes"]:
                last = moment(self._latest[str(self._unit.value)])
                ui.label(f"{words.NO_TRACK} {last}.").classes("empty")
            else:
                summary(found)


def _local(at: int) -> str:
    """A time as the fields have it: UTC, to the second."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


async def tracks_page(outlook: Outlook, _user: str) -> None:
    """Build the page, with the enrolled units that have a position."""
    desk = outlook.desk
    latest = [p for p in await desk.call(desk.store.latest) if p.unit in desk.fleet]
    opened = TracksPage(outlook, latest)
    ui.timer(0.0, opened.start, once=True)
