"""A running console, and a page that fails its test when it asks another host or complains."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.console import Console


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    """One server for the tests of a module; each writes alarms of its own."""
    with Console() as running:
        yield running


class Watch:
    """What a page must never do."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        self.requests = 0
        self.expected: tuple[str, ...] = ()
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        page.on("console", lambda message: self._said(message.type, message.text))

    def _asked(self, url: str) -> None:
        self.requests += 1
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1":
            self.faults.append(f"a request to another host: {url}")

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and not any(part in text for part in self.expected):
            self.faults.append(f"console: {text}")


@pytest.fixture
def watch() -> list[Watch]:
    """The watches of this test's pages."""
    return []


@pytest.fixture
def page(chromium: Browser, watch: list[Watch], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of its own context, 1440 x 900 or as the test's parameter says, without a cookie."""
    width, height = getattr(request, "param", (1440, 900))
    context = chromium.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(15_000)
    found = context.new_page()
    watch.append(Watch(found))
    yield found
    context.close()
    assert not watch[0].faults, watch[0].faults
    assert watch[0].requests, "the watch saw nothing at all"
