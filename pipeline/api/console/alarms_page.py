"""The first page: the list that moves by itself, the place or picture of the chosen alarm, and why it fired."""

from __future__ import annotations

import asyncio

from nicegui import Client, background_tasks, ui

from pipeline.api.console.alarm_list import AlarmList
from pipeline.api.console.detail import Detail
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.console.picture import Picture
from pipeline.api.console.place import Place
from pipeline.api.console.rows import place
from pipeline.api.fires import desk_nearby
from pipeline.api.stream import Listener, News
from pipeline.message import Alarm
from pipeline.ports import NotConnected, Retryable, UserError

AGAIN_S = 2.0
BURST = 300
"""Pieces of news shown in one go, when many come at once."""


class AlarmsPage:
    """One open page of one person."""

    def __init__(self, outlook: Outlook, user: str, wanted: str = "") -> None:
        self._outlook = outlook
        self._wanted = wanted
        self._desk = outlook.desk
        self._user = user
        self._shown = ""
        with page(outlook, "/"), ui.element("div").classes("alarms-page") as self._layout:
            self._list = AlarmList(self._desk)
            with ui.element("section").classes("stage"):
                self._picture = Picture()
                self._place = Place(follow=True)
            self._detail = Detail(self.act, self.back)
        ui.on("place", lambda e: self._list.select(e.args))
        ui.on("chosen", lambda e: self.choose(e.args))

    async def start(self) -> None:
        """Fill the list, start the map, then follow the book until the page is closed."""
        client = self._layout.client
        await client.connected()
        with self._layout:
            await self._place.start()
            while not client.is_deleted:
                try:
                    await self._live(client)
                except (NotConnected, Retryable):  # the header says so meanwhile
                    await asyncio.sleep(AGAIN_S)

    async def _live(self, client: Client) -> None:
        """Load, then follow; returns when the page is gone or did not keep up, and has to load anew."""
        with self._outlook.tail.listening() as listener:
            alarms = await self._list.load()
            self._place.show([place(alarm) for alarm in alarms])
            if self._wanted:
                await self.choose(self._wanted)
                self._list.select(self._wanted)
                self._wanted = ""
            while not client.is_deleted and not listener.lost:
                await self._follow(listener)

    async def _follow(self, listener: Listener) -> None:
        news = await listener.next(1.0)
        if news is None:
            return
        burst = [news, *listener.waiting(BURST)]
        alarms = {n.alarm.id: n.alarm for n in burst if n.alarm}
        self._list.put(list(alarms.values()))
        self._place.show([place(alarm) for alarm in alarms.values()])
        if any(_is_new(n) for n in burst):
            ui.run_javascript("vedette.beep()")
        if self._shown in alarms:
            await self._show(alarms[self._shown])

    async def choose(self, alarm_id: str) -> None:
        """A row was selected."""
        alarm = await self._desk.call(self._desk.book.alarm, alarm_id)
        if alarm is None or alarm_id == self._shown:
            return
        self._shown = alarm_id
        self._layout.classes(add="chosen")
        self._picture.show(alarm.evidence)
        self._place.choose(place(alarm))
        await self._show(alarm)

    async def act(self, alarm_id: str, action: str, note: str) -> None:
        """A button was pressed. The book has the last word; what it refuses is said, and the panel shows it."""
        try:
            await self._desk.call(self._desk.book.act, alarm_id, action, by=self._user, note=note)
        except (UserError, NotConnected, Retryable) as error:
            ui.notify(str(error), type="warning", position="bottom-left")
            return
        alarm = await self._desk.call(self._desk.book.alarm, alarm_id)
        if alarm:
            self._list.put([alarm])
            await self._show(alarm)

    def back(self) -> None:
        """Close the panel: on a small screen, return to the list."""
        self._shown = ""
        self._layout.classes(remove="chosen")
        self._picture.show(None)
        self._place.choose(None)
        self._detail.clear()
        self._list.grid.run_grid_method("deselectAll")

    async def _show(self, alarm: Alarm) -> None:
        history = await self._desk.call(self._desk.book.history, alarm.id)
        near = await desk_nearby(self._desk, alarm, who=self._user)
        if alarm.id == self._shown:  # by now another may have been chosen
            self._detail.show(alarm, history, near)


def _is_new(news: News) -> bool:
    return news.alarm is not None and news.alarm.state == "raised" and news.event.change in ("raised", "began")


async def alarms_page(outlook: Outlook, user: str, wanted: str = "") -> None:
    """Build the page, with the alarm `wanted` open; it lives on in a task of its own."""
    opened = AlarmsPage(outlook, user, wanted)
    task = background_tasks.create(opened.start(), name="alarms page")
    ui.context.client.on_delete(task.cancel)
