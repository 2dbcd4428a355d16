"""What every page has: the header with the judgement of the system, the banners, the scripts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.outlook import Outlook
from pipeline.api.health import WELL, Health

ASSETS = Path(__file__).parent.parent / "assets"
PRIMARY = "#1f6fb5"
"""Ground of the library's own chosen buttons; white on it is 5.2 to 1."""

PAGES = (
    ("/", words.ALARMS, "notifications"),
    ("/devices", words.DEVICES, "sensors"),
    ("/tracks", words.TRACKS, "route"),
    ("/cameras", words.CAMERAS, "videocam"),
)
MARK = (
    '<svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true"><path d="M5 8l11 17L27 8" fill="none" '
    'stroke="currentColor" stroke-width="3.6" stroke-linecap="round" stroke-linejoin="round"/>'
    '<circle cx="16" cy="9" r="3" fill="var(--warning)"/></svg>'
)


@contextmanager
def page(outlook: Outlook, path: str) -> Iterator[None]:
    """The frame of the page at `path`; what is made inside the block is its content."""
    _head()
    ui.colors(primary=PRIMARY)
    ui.html(f'<a class="skip" href="#content">{words.SKIP}</a>', sanitize=False)
    strip = _header(path)
    ui.html(_lost_banner(), sanitize=False)
    banner = ui.label().classes("banner blind-banner").props('role="alert"')
    banner.set_visibility(False)
    with ui.element("main").classes("content").props('id="content" tabindex="-1"'):
        yield

    async def refresh() -> None:
        health = await outlook.now()
        strip.show(health)
        banner.set_text(f"{words.BLIND_BANNER} {'; '.join(map(_named, health.blind))}.")
        banner.set_visibility(not health.ok)
        ui.run_javascript("vedette.tick()")

    ui.timer(1.0, refresh)


def _named(sentence: str) -> str:
    """`worker-vision: no sign of life for 9 s` with the name that the rest of the console has for the part."""
    part, _, why = sentence.partition(": ")
    return f"{words.KINDS.get(part, part)}: {why}"


def _head() -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{asset("console.css")}">')
    ui.add_head_html(f'<script src="{asset("console.js")}"></script>')
    for name in ("map.js", "track.js"):
        ui.add_head_html(f'<script src="{asset(name)}" defer></script>')


def asset(name: str) -> str:
    """Address of an asset that changes with its content, so that no browser keeps an old one."""
    return f"/assets/{name}?{hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:10]}"


class Strip:
    """The part of the header that says whether the system sees."""

    def __init__(self) -> None:
        with ui.element("div").classes("strip"):
            self._verdict = ui.label(words.LOADING).classes("verdict").props('role="status"')
            self._parts = ui.element("div").classes("parts")
            self._devices = ui.link("", "/devices").classes("device-count")
        self._shown: tuple[tuple[str, str], ...] = ()

    def show(self, health: Health) -> None:
        """Update what differs."""
        self._verdict.set_text(words.SEES if health.ok else words.BLIND)
        self._verdict.classes(add="ok" if health.ok else "bad", remove="bad" if health.ok else "ok")
        self._devices.set_text(device_words(health))
        ailing = any(device.state not in WELL for device in health.devices)
        self._devices.classes(add="bad" if ailing else "", remove="" if ailing else "bad")
        parts = tuple((p.part, p.why) for p in health.parts)
        if parts != self._shown:
            self._shown = parts
            self._parts.clear()
            with self._parts:
                for part, why in parts:
                    ui.label(words.KINDS.get(part, part)).classes("part " + ("bad" if why else "ok")).tooltip(
                        why or "well"
                    )


def device_words(health: Health) -> str:
    """`13 devices, 1 silent`."""
    bad = [f"{n} {state}" for state in ("blind", "lost", "silent", "ailing") if (n := health.count(state))]
    total = len(health.devices)
    return ", ".join([f"{total} device{'' if total == 1 else 's'}", *bad])


def _header(path: str) -> Strip:
    with ui.element("header").classes("bar"):
        ui.html(f'<a class="brand" href="/">{MARK}<span>{words.NAME}</span></a>', sanitize=False)
        with ui.element("nav").props('aria-label="Pages"'):
            for address, name, icon in PAGES:
                link = ui.link(target=address).classes("tab" + (" here" if address == path else ""))
                link.props('aria-current="page"' if address == path else "")
                with link:
                    ui.icon(icon)
                    ui.label(name)
        strip = Strip()
        ui.html(_tools(), sanitize=False)
    return strip


def _tools() -> str:
    """Plain buttons: they are the browser's own business and work without the server."""
    return (
        '<div class="tools"><span class="clock"><span id="clock"></span> UTC</span>'
        f'<button type="button" class="tool" aria-pressed="false" title="{words.SOUND_OFF}" '
        f'data-on="{words.SOUND_ON}" data-off="{words.SOUND_OFF}" aria-label="Sound" '
        'onclick="vedette.toggleSound(this)"><i class="q-icon material-icons off">volume_off</i>'
        '<i class="q-icon material-icons on">volume_up</i></button>'
        f'<button type="button" class="tool" title="{words.THEME}" aria-label="{words.THEME}" '
        'onclick="vedette.toggleTheme()"><i class="q-icon material-icons">contrast</i></button></div>'
    )


def _lost_banner() -> str:
    return f'<div id="lost" class="banner lost-banner" role="alert" hidden>{words.LOST} <span></span></div>'
