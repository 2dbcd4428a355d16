"""Why a camera raised no alarm at a time: the question as a form, the answer in sentences."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from nicegui import ui

from pipeline.api.alarms import ask_why_not
from pipeline.api.console import words
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.explain import moment
from pipeline.api.whynot import LONGEST_S, WITHIN_S, Asked, WhyNot
from pipeline.message import SECOND
from pipeline.ports import NotConnected, Retryable, UserError
from pipeline.rules.cameras import load_cameras
from pipeline.wire import parse_rfc3339

MASK = "####-##-## ##:##:##"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


class WhyNotPage:
    """The form, and under it the answer. `camera` and `at` may be given by the link that led here."""

    def __init__(self, outlook: Outlook, names: list[str], *, camera: str = "", at: str = "") -> None:
        self._desk = outlook.desk
        with page(outlook, ""), ui.element("div").classes("sheet asking"):
            ui.label(words.WHY_NOT).classes("heading").props('role="heading" aria-level="1"')
            ui.label(words.WHY_NOT_HINT).classes("soft")
            with ui.element("div").classes("question"):
                self._camera = ui.select(names, label=words.CAMERA, value=_first(camera, names))
                self._at = ui.input(words.AT, value=at or self._now(), placeholder=words.TIME)
                self._at.props(f'outlined stack-label mask="{MASK}"').on("keydown.enter", self.ask)
                self._within = ui.number(words.WITHIN, value=WITHIN_S, min=1, max=LONGEST_S).props("outlined")
                button = ui.button(words.ASK, icon="search", on_click=self.ask, color=None)
                button.props('unelevated no-caps id="ask"').classes("primary")
            self._camera.props("outlined")
            self._answer = ui.element("div").classes("answer").props('role="status" id="why-not"')

    def _now(self) -> str:
        return datetime.fromtimestamp(self._desk.clock() // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")

    async def ask(self) -> None:
        """Show the answer, or what is wrong with the question."""
        try:
            found = await ask_why_not(self._desk, self._asked())
        except (UserError, NotConnected, Retryable) as error:
            self._answer.clear()
            with self._answer:
                ui.label(str(error)).classes("wrong").props('role="alert"')
            return
        self._answer.clear()
        with self._answer:
            _show(found)

    def _asked(self) -> Asked:
        try:
            at = parse_rfc3339(f"{str(self._at.value or '').strip().replace(' ', 'T')}Z")
        except ValueError:
            raise UserError(words.BAD_TIME) from None
        if not self._camera.value:
            raise UserError(words.CAMERA_NEEDED)
        return Asked.of(str(self._camera.value), at, float(self._within.value or 0.0))


def _first(camera: str, names: list[str]) -> str | None:
    """The camera that was named; else the only one there is."""
    if camera in names:
        return camera
    return names[0] if len(names) == 1 else None


def _show(found: WhyNot) -> None:
    ui.label(readable(found.answer)).classes("reason").props('role="heading" aria-level="2"')
    ui.label(f"{found.frames:,} {words.FRAMES_SCORED}.").classes("soft")
    for alarm in found.alarms:
        ui.link(words.OPEN_ALARM, f"/?alarm={alarm}").classes("alarm-link")
    if len(found.sentences) > 1:
        ui.label(words.ALL_KNOWN).classes("section").props('role="heading" aria-level="2"')
        with ui.element("ul").classes("known"):
            for sentence in found.sentences[1:]:
                with ui.element("li"):
                    ui.label(readable(sentence))


def readable(sentence: str) -> str:
    """With a capital and a full stop, and its times as the rest of the console writes them."""
    text = STAMP.sub(lambda found: moment(parse_rfc3339(found[0])), sentence)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


async def why_not_page(outlook: Outlook, _user: str, camera: str, at: str) -> None:
    """Build the page, with the cameras of cameras.toml, those that are heard, and the one that was named."""
    desk = outlook.desk
    health = await outlook.now()
    heard = {d.device for d in health.devices if d.scored_s is not None}
    opened = WhyNotPage(
        outlook, sorted({*load_cameras(Path(desk.settings.cameras.file)), *heard}), camera=camera, at=at
    )
    if at and camera:
        await opened.ask()
