"""The questions that operators and traffic teams bring: why no alarm, which trips; and pages that fit a phone."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipeline.message import SECOND, ScoredFrame
from pipeline.wire import parse_rfc3339
from tests.browser.console import Console, wall
from tests.browser.test_console import PHONE, choose, opened, ready, row
from tests.test_api_trips import driven_stood_driven


def test_a_critical_alarm_that_nobody_noticed_stands_above_newer_ones(page: Page, console: Console) -> None:
    console.smoke((160.0, 96.0, 480.0, 288.0), (640, 480))
    for n in range(30):
        console.breach(f"busy-{n}", reason=f"busy {n} since")
    ready(opened(page, console))
    fire = row(page, "tower-1 has seen smoke").first
    expect(fire).to_be_in_viewport()
    newest = row(page, "busy 29 since").bounding_box()
    top = fire.bounding_box()
    assert newest and top and top["y"] < newest["y"]


def test_why_there_was_no_alarm_is_answered_in_words(page: Page, console: Console) -> None:
    at = wall() // SECOND * SECOND
    frames = [ScoredFrame("tower-9", at + n * SECOND, at, 640, 480, "m@1", []) for n in range(-5, 5)]
    console.store.write_frames(frames)
    console.book.report_devices(
        [{"device": "tower-9", "received": at, "state": "running", "frame_scored": at}],
    )
    opened(page, console, "/devices")
    page.locator("tr", has_text="tower-9").get_by_role("link", name="Why no alarm?").click()
    page.get_by_role("button", name="Ask").click()
    answer = page.locator("#why-not")
    expect(answer).to_contain_text("10 pictures were looked at")
    expect(answer).to_contain_text("no sighting rule is about tower-9", ignore_case=True)
    page.get_by_label("Time (UTC)").fill("2026-02-31 12:00:00")
    page.get_by_role("button", name="Ask").click()
    expect(answer).to_contain_text("Write the time like 2026-01-31 12:00:00, in UTC.")


def test_an_alarm_has_an_address(page: Page, console: Console) -> None:
    alarm = console.breach("bus-1", reason="bus-1 by its address")
    console.all_beat()
    page.goto(console.at("/") + f"&alarm={alarm}")
    expect(page.locator(".detail .reason")).to_have_text("bus-1 by its address")


def read_day(page: Page, console: Console) -> None:
    """Ask for the day of `driven_stood_driven`, with a speed limit."""
    console.store.write_positions([driven_stood_driven()])
    opened(page, console, "/tracks")
    page.wait_for_function("window.vedette?.map")
    choose(page, "Unit", "bus-1")
    page.get_by_label("Day (UTC)").fill("2026-01-01")
    expect(page.get_by_label("To (UTC)")).to_have_value("2026-01-02 00:00:00")
    choose(page, "Purpose", "incident review")
    page.get_by_label("Speed limit (km/h)").fill("100")
    page.get_by_role("button", name="Show track").click()


def test_a_day_shows_trips_stops_and_speeding_and_goes_to_them(page: Page, console: Console) -> None:
    read_day(page, console)
    lines = page.locator(".trips").first.locator("li")
    expect(lines).to_have_count(3)
    expect(lines.nth(1)).to_contain_text("Stop")
    expect(page.locator(".answer")).to_contain_text("108 km/h")
    expect(page.locator(".spot.stop")).to_have_count(1)
    expect(page.locator(".spot.fast")).to_have_count(1)
    before = page.evaluate("vedette.map.map.getZoom()")
    lines.nth(1).get_by_role("button").click()
    assert page.evaluate("vedette.map.map.getZoom()") > before
    assert page.evaluate("vedette.map.part.getLatLngs().length") > 500


def test_a_track_is_saved_as_a_file_that_others_read(page: Page, console: Console, tmp_path: Path) -> None:
    read_day(page, console)
    saved = {}
    for name in ("GeoJSON", "CSV", "GPX"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        saved[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[name])
    assert len(json.loads(saved["GeoJSON"].read_text())["geometry"]["coordinates"]) == 1200
    header, first, *rest = saved["CSV"].read_text().splitlines()
    assert header == "unit,at,lat,lon,speed,course,accuracy" and len(rest) == 1199
    assert parse_rfc3339(first.split(",")[1]) == parse_rfc3339("2026-01-01T12:00:00Z")
    assert saved["GPX"].read_text().count("<trkpt ") == 1200
    assert saved["GPX"].name == "bus-1-2026-01-01.gpx"


def test_a_period_without_positions_says_when_the_last_one_was(page: Page, console: Console) -> None:
    console.drive("bus-1", 3)
    opened(page, console, "/tracks")
    page.wait_for_function("window.vedette?.map")
    choose(page, "Unit", "bus-1")
    page.get_by_label("Day (UTC)").fill("2025-06-01")
    choose(page, "Purpose", "incident review")
    page.get_by_role("button", name="Show track").click()
    expect(page.locator(".answer")).to_contain_text("No positions of this unit in this period. Its last one is of")


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_the_header_fits_a_phone(page: Page, console: Console) -> None:
    opened(page, console)
    verdict, sound = page.locator(".verdict").bounding_box(), page.locator(".tool").first.bounding_box()
    assert verdict and sound and verdict["x"] + verdict["width"] <= sound["x"]
    last = page.locator(".tool").last.bounding_box()
    assert last and last["x"] + last["width"] <= PHONE[0]
    assert verdict["height"] < 36, "in one line"


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_shows_why_a_device_is_not_well_without_scrolling_sideways(page: Page, console: Console) -> None:
    console.book.report_devices(
        [{"device": "cam-ailing", "received": wall(), "state": "running", "detail": "the lens heater has failed"}]
    )
    opened(page, console, "/devices")
    remark = page.get_by_text("the lens heater has failed")
    expect(remark).to_be_visible()
    box = remark.bounding_box()
    assert box and box["x"] + box["width"] <= PHONE[0]
