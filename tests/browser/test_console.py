"""The console as a person meets it, in Chromium."""

import re
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Watch
from tests.browser.console import Console

PHONE = (390, 844)


def row(page: Page, reason: str) -> Locator:
    """The row of an alarm, by its reason."""
    return page.locator(".ag-center-cols-container .ag-row", has_text=reason)


def opened(page: Page, console: Console, path: str = "/") -> Page:
    """The page, with the token, all parts beating."""
    console.all_beat()
    page.goto(console.at(path))
    expect(page.locator(".verdict")).to_have_text("Seeing")
    return page


def ready(page: Page) -> None:
    """The list is filled and the map follows."""
    expect(page.locator(".foot")).to_contain_text("loaded")
    page.wait_for_function("window.vedette?.map")


def test_an_alarm_appears_without_reload_is_acknowledged_by_a_click_and_still_is_after_a_reload(
    page: Page, console: Console
) -> None:
    ready(opened(page, console))
    page.evaluate("window.neverReloaded = true")
    alarm = console.breach("bus-1", reason="bus-1 entered depot just now")
    appeared = row(page, "bus-1 entered depot just now")
    expect(appeared).to_contain_text("New")
    appeared.click()
    page.locator("#acknowledge").click()
    expect(appeared).to_contain_text("Acknowledged")
    expect(page.locator(".history")).to_contain_text("Acknowledged · anna")
    assert page.evaluate("window.neverReloaded") is True
    known = console.book.alarm(alarm)
    assert known is not None and (known.state, known.acknowledged_by) == ("acknowledged", "anna")
    page.reload()
    expect(row(page, "bus-1 entered depot just now")).to_contain_text("Acknowledged")
    row(page, "bus-1 entered depot just now").click()
    expect(page.locator("#acknowledge")).to_be_disabled()


def test_newer_alarms_stand_above_older_ones(page: Page, console: Console) -> None:
    ready(opened(page, console))
    for subject in ("first", "second", "third"):
        console.breach(subject, reason=f"{subject} in order")
    expect(row(page, "in order")).to_have_count(3)
    tops = [row(page, f"{s} in order").bounding_box() for s in ("third", "second", "first")]
    heights = [box["y"] for box in tops if box]
    assert heights == sorted(heights) and len(heights) == 3


def test_resolving_asks_what_it_was_and_takes_the_alarm_off_the_open_list(page: Page, console: Console) -> None:
    alarm = console.breach("bus-2", reason="bus-2 to be resolved")
    ready(opened(page, console))
    row(page, "bus-2 to be resolved").click()
    expect(page.locator("#resolve")).to_be_disabled()
    page.locator("#acknowledge").click()
    page.locator("#resolve").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("A delivery, permit shown")
    page.locator("#resolve-now").click()
    expect(page.locator(".history")).to_contain_text("A delivery, permit shown")
    expect(row(page, "bus-2 to be resolved")).to_have_count(0)
    page.locator(".filters").get_by_text("All", exact=True).click()
    expect(row(page, "bus-2 to be resolved")).to_contain_text("Resolved")
    found = console.book.alarm(alarm)
    assert found is not None and found.resolved_by == "anna"


def test_the_box_lies_on_the_picture_where_the_detector_saw_it(page: Page, console: Console) -> None:
    check_box(opened(page, console), console)


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_the_box_lies_there_on_a_phone_too(page: Page, console: Console) -> None:
    check_box(opened(page, console), console)


def check_box(page: Page, console: Console) -> None:
    """The overlay's rectangle, as drawn on the screen, against the picture as drawn on the screen."""
    box, (width, height) = (160.0, 96.0, 480.0, 288.0), (640, 480)
    console.smoke(box, (width, height))
    row(page, "tower-1 has seen smoke").first.click()
    image, drawn = page.locator(".picture img"), page.locator(".picture svg rect.box")
    expect(drawn).to_be_visible()
    page.wait_for_function("document.querySelector('.picture img').naturalWidth === 640")
    outer, inner = image.bounding_box(), drawn.bounding_box()
    assert outer and inner and outer["width"] > 200
    assert outer["width"] / outer["height"] == pytest.approx(width / height, rel=0.02)
    scale = outer["width"] / width
    assert inner["x"] - outer["x"] == pytest.approx(box[0] * scale, abs=3)
    assert inner["y"] - outer["y"] == pytest.approx(box[1] * scale, abs=3)
    assert inner["width"] == pytest.approx((box[2] - box[0]) * scale, abs=5)
    assert console.book.audits()[0]["what"] in ("evidence", "last positions")


def test_a_unit_is_drawn_on_the_map_and_moves(page: Page, console: Console) -> None:
    console.drive("bus-1", 5)
    console.drive("ghost", 5)
    ready(opened(page, console))
    expect(page.locator(".map")).to_have_attribute("data-units", "1")
    where = "[...vedette.map.units.values()][0].marker.getLatLng().lng"
    before = page.evaluate(where)
    console.drive("bus-1", 90)
    page.wait_for_function(f"{where} !== {before}")
    assert painted(page), "the canvas holds the colour of a unit"


def painted(page: Page) -> bool:
    """Whether any pixel of the map's canvas has the colour of a unit."""
    found: bool = page.evaluate(
        """() => { const c = document.querySelector('.map canvas'), x = c.getContext('2d');
        const p = x.getImageData(0, 0, c.width, c.height).data;
        for (let i = 0; i < p.length; i += 4)
          if (p[i] === 0x7f && p[i + 1] === 0xd1 && p[i + 2] === 0xff) return true;
        return false; }"""
    )
    return found


def test_a_mark_on_the_map_opens_its_alarm(page: Page, console: Console) -> None:
    ready(opened(page, console))
    console.breach("bus-1", reason="bus-1 marked on the map", lat=62.91, lon=30.93)
    page.locator(".place[title='bus-1 marked on the map']").click()
    expect(page.locator(".detail .reason")).to_have_text("bus-1 marked on the map")


def test_words_from_devices_are_shown_and_never_run(page: Page, console: Console) -> None:
    ready(opened(page, console))
    evil = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=1</script>`${window.hacked=1}`"
    console.breach("<b>bus</b>", reason=evil)
    row(page, "<img src=x").click()
    expect(page.locator(".detail .reason")).to_have_text(evil)
    assert page.evaluate("window.hacked") is None
    page.reload()
    expect(row(page, "<img src=x")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_the_keyboard_is_enough(page: Page, console: Console) -> None:
    console.breach("older", reason="older by keyboard")
    alarm = console.breach("newer", reason="newer by keyboard")
    ready(opened(page, console))
    page.keyboard.press("/")
    page.keyboard.type("by keyboard")
    expect(row(page, "by keyboard")).to_have_count(2)
    expect(row(page, "entered depot")).to_have_count(0)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    row(page, "older by keyboard").click()
    expect(page.locator(".detail .reason")).to_have_text("older by keyboard")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".detail .reason")).to_have_text("newer by keyboard")
    page.keyboard.press("a")
    expect(page.locator(".history")).to_contain_text("Acknowledged · anna")
    known = console.book.alarm(alarm)
    assert known is not None and known.state == "acknowledged"
    page.keyboard.press("Escape")
    expect(page.locator(".detail")).to_be_hidden()


def settled(page: Page, chosen: Locator) -> bool:
    """Within some seconds the reason shown is the chosen row's, and stays so: nine quick presses may overtake each
    other on their way to the server and back, but must come to rest."""
    reason, agreed = page.locator(".detail .reason"), 0
    for _ in range(50):
        agreed = agreed + 1 if reason.inner_text() == chosen.inner_text() else 0
        if agreed == 5:
            return True
        page.wait_for_timeout(150)
    return False


def test_a_press_acts_on_the_alarm_that_is_shown_however_fast_the_choice_moved(
    page: Page, console: Console
) -> None:
    console.book.apply([console.word(f"swift-{n}", reason=f"swift {n}") for n in range(12)])
    ready(opened(page, console))
    page.keyboard.press("/")
    page.keyboard.type("swift")
    expect(row(page, "entered depot")).to_have_count(0)
    row(page, "swift").first.click()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    chosen = page.locator(".ag-center-cols-container .ag-row-selected .what b")
    expect(chosen).to_have_count(1)
    assert settled(page, chosen), "the choice does not go back and forth"
    page.keyboard.press("a")
    expect(page.locator(".history")).to_contain_text("Acknowledged · anna")
    swift = {a.reason: a.state for a in console.book.alarms(limit=5000) if a.reason.startswith("swift")}
    assert [reason for reason, state in swift.items() if state == "acknowledged"] == [chosen.inner_text()]


def test_older_alarms_are_loaded_on_demand(page: Page, console: Console) -> None:
    console.book.apply([console.word(f"many-{n}") for n in range(620)])
    ready(opened(page, console))
    expect(page.locator(".foot")).to_contain_text("500 loaded")
    page.get_by_role("button", name="Load older").click()
    expect(page.locator(".foot")).not_to_contain_text("500 loaded")
    loaded = re.match(r"([\d,]+) loaded", page.locator(".foot").inner_text())
    assert loaded and int(loaded[1].replace(",", "")) == len(console.book.alarms(limit=5000))
    expect(page.get_by_role("button", name="Load older")).to_be_hidden()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_phone_the_alarm_takes_the_screen_and_gives_it_back(page: Page, console: Console) -> None:
    console.breach("bus-1", reason="bus-1 on a phone")
    ready(opened(page, console))
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE[0], "nothing scrolls sideways"
    row(page, "bus-1 on a phone").click()
    expect(page.locator("#acknowledge")).to_be_in_viewport()
    expect(row(page, "bus-1 on a phone")).to_be_hidden()
    page.get_by_role("button", name="Back to the list").click()
    expect(row(page, "bus-1 on a phone")).to_be_visible()


# ---------------------------------------------------------------- never looks live when it is not


def test_the_header_says_who_is_blind(page: Page, console: Console) -> None:
    opened(page, console)
    console.all_beat(without="worker-vision")
    expect(page.locator(".verdict")).to_have_text("Blind")
    expect(page.locator(".blind-banner")).to_contain_text("vision: the camera's frames cannot be read")
    console.all_beat()
    expect(page.locator(".verdict")).to_have_text("Seeing")
    expect(page.locator(".blind-banner")).to_be_hidden()


@pytest.fixture
def mortal() -> Console:
    """A console that a test may end."""
    return Console()


def test_a_screen_without_its_server_says_so_and_is_live_again_by_itself(
    page: Page, watch: list[Watch], mortal: Console
) -> None:
    watch[0].expected = (
        "ERR_CONNECTION_REFUSED",
        "WebSocket connection",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
    )
    with mortal:
        mortal.breach("bus-1", reason="bus-1 before the end")
        ready(opened(page, mortal))
        expect(page.locator("#lost")).to_be_hidden()
        mortal.kill()
        started = time.monotonic()
        expect(page.locator("#lost")).to_be_visible()
        assert time.monotonic() - started < 6
        mortal.start()
        mortal.all_beat()
        expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
        mortal.breach("bus-2", reason="bus-2 after the end")
        expect(row(page, "bus-2 after the end")).to_be_visible(timeout=30_000)


# ---------------------------------------------------------------- the other pages


def test_devices_are_listed_with_their_state(page: Page, console: Console) -> None:
    now = time.time_ns() // 1000
    fresh = {"received": now, "state": "running"}
    console.book.report_devices(
        [
            {"device": "cam-good", **fresh, "frame_scored": now},
            {"device": "cam-blind", **fresh, "frame_scored": now - 600_000_000},
            {"device": "gps-gone", "received": now, "state": "lost"},
        ]
    )
    opened(page, console, "/devices")

    def state(device: str) -> Locator:
        return page.locator("tr", has_text=device).locator(".chip")

    expect(state("cam-good")).to_have_text("ok")
    expect(state("cam-blind")).to_have_text("blind")
    expect(state("gps-gone")).to_have_text("lost")
    expect(page.locator(".device-count.bad")).to_have_text("3 devices, 1 blind, 1 lost")


def test_a_track_is_drawn_for_a_purpose_that_stands_on_the_audit_log(page: Page, console: Console) -> None:
    console.drive("bus-2", 120)
    opened(page, console, "/tracks")
    page.wait_for_function("window.vedette?.map")
    choose(page, "Unit", "bus-2")
    page.get_by_role("button", name="Show track").click()
    expect(page.get_by_text("Still needed: Purpose")).to_be_visible()
    assert not [entry for entry in console.book.audits() if entry["what"] == "track"]
    choose(page, "Purpose", "incident review")
    page.get_by_role("button", name="Show track").click()
    expect(page.locator(".answer")).to_contain_text("120")
    assert page.evaluate("vedette.map.line.getLatLngs().length") == 120
    entry = next(entry for entry in console.book.audits() if entry["what"] == "track")
    assert (entry["who"], entry["subject"], entry["purpose"]) == ("anna", "bus-2", "incident review")


def choose(page: Page, label: str, value: str) -> None:
    """Pick from a list."""
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=value).click()


def test_without_the_token_there_is_only_a_form(page: Page, watch: list[Watch], console: Console) -> None:
    watch[0].expected = ("401",)
    page.goto(f"{console.base}/")
    expect(page.locator(".ag-root")).to_have_count(0)
    page.get_by_label("Token").fill("not-this-one")
    page.get_by_role("button", name="Open the console").click()
    expect(page.get_by_role("alert")).to_have_text("This token is not known.")
    page.get_by_label("Token").fill(console.token)
    page.get_by_role("button", name="Open the console").click()
    expect(page.locator(".verdict")).to_be_visible()
    assert console.token not in page.url and console.token not in page.content()


def test_the_api_page_is_readable(page: Page, console: Console) -> None:
    page.goto(console.at("/api/v1/docs"))
    page.get_by_text("/api/v1/units/{unit}/track").click()
    expect(page.get_by_text("Why the track is read; it goes on the audit log.").first).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_stands_out_from_its_ground(page: Page, console: Console, theme: str) -> None:
    """WCAG 2 AA: at least 4.5 to 1 for text, in both themes."""
    console.breach("bus-1", reason="bus-1 to be read")
    ready(opened(page, console))
    if theme == "light":
        page.get_by_role("button", name="Light or dark").click()
        expect(page.locator("body")).to_have_class(re.compile("body--light"))
    row(page, "bus-1 to be read").first.click()
    expect(page.locator(".detail .reason")).to_be_visible()
    page.wait_for_timeout(600)  # the library fades colours over
    poor = page.evaluate(CONTRAST)
    assert not poor, poor


CONTRAST = """() => {
  const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return c.startsWith('color(srgb')
    ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const ground = (e) => e
    ? over(parse(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255, 1];
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  for (const e of document.querySelectorAll('header *, .list *, .detail *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('[disabled], .q-icon, .ag-hidden')) continue;
    const g = ground(e), [a, b] = [light(over(parse(getComputedStyle(e).color), g)), light(g)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${e.className || e.tagName} "${e.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
