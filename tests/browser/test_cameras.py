"""Fires on the map and a camera calibrated by clicks, as a person meets them in Chromium."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from pipeline.alarms.merge import Merge
from pipeline.alarms.stage import SignalStage
from pipeline.message import Change, Signal
from pipeline.rules.bearing import look, towards, turn
from pipeline.rules.cameras import load_cameras
from pipeline.wire import pack
from tests.browser.console import Console, wall
from tests.browser.test_console import opened, ready, row

FIRE = (62.905, 30.935)
STANDS = {"tower-1": (62.88, 30.86), "tower-2": (62.875, 30.98)}
SIZE = (1280, 720)


class Towers(Console):
    """The console with two cameras whose poses are known, and one that has none."""

    def prepare(self) -> None:
        super().prepare()
        poses = "".join(
            f'[[camera]]\nname = "{name}"\npose = {{ lat = {at[0]}, lon = {at[1]}, fov = 60.0, '
            f"azimuth = {towards(*at, 62.9, 30.93):.2f} }}\n"
            for name, at in STANDS.items()
        )
        (self.folder / "cameras.toml").write_text(poses)
        with self.config.open("a") as file:
            file.write('[cameras]\nfile = "cameras.toml"\n')
        self.cameras = load_cameras(self.folder / "cameras.toml")

    def pixel(self, name: str, target: tuple[float, float]) -> float:
        """The column of the picture in which a camera sees a place."""
        pose = self.cameras[name].pose
        assert pose is not None
        wanted = towards(pose.lat, pose.lon, *target)
        return float(min(range(SIZE[0]), key=lambda x: abs(turn(look(pose, SIZE, x, 360)[0] - wanted))))

    def burn(self, *names: str) -> str:
        """A fire seen by cameras, through the alarm worker's own stage; returns the id of the alarm."""
        stage = SignalStage(self.book, Merge(self.cameras))
        said = [self.seen(name) for name in names]
        stage.commit([stage.handle(stage.initial(), [pack(signal) for signal in said])[1]])
        return said[0].alarm

    def seen(self, name: str) -> Signal:
        now, x = wall(), self.pixel(name, FIRE)
        picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        cv2.rectangle(picture, (int(x) - 9, 320), (int(x) + 9, 360), (230, 230, 230), -1)
        key = self.blobs.put(cv2.imencode(".jpg", picture)[1].tobytes())
        evidence = {"frame": key, "box": [x - 9, 320.0, x + 9, 360.0], "size": list(SIZE), "label": "smoke"}
        return Signal(
            rule="smoke-watch",
            kind="sighting",
            version="v1",
            subject=name,
            place="middle",
            change=Change.BEGAN,
            at=now,
            start=now,
            reason=f"{name} has seen smoke",
            severity="critical",
            evidence={**evidence, "camera": name, "score": 0.8, "model": "fire-smoke@1a2b3c"},
        )


@pytest.fixture(scope="module")
def towers() -> Iterator[Towers]:
    with Towers() as running:
        yield running


def shot(page: Page, name: str) -> None:
    """A picture of the page, for whoever wants to look at it (VEDETTE_SHOTS names a folder)."""
    if folder := os.environ.get("VEDETTE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_fire_of_two_towers_is_an_ellipse_with_the_units_near_it(page: Page, towers: Towers) -> None:
    towers.drive("bus-1", 60)
    ready(opened(page, towers))
    alarm = towers.burn("tower-1", "tower-2")
    page.wait_for_function(f"document.querySelector('.map').dataset.areas?.includes('{alarm}')")
    row(page, "tower-1 has seen smoke").click()
    detail = page.locator(".detail")
    expect(detail).to_contain_text("The lines meet at 62.90")
    expect(detail.locator(".nearby li")).to_contain_text("bus-1")
    expect(detail.locator(".history")).to_contain_text("Seen by another")
    bounds = f"vedette.map.areas.get('{alarm}').getBounds()"
    corners = page.evaluate(f"(b => [b.getSouth(), b.getWest(), b.getNorth(), b.getEast()])({bounds})")
    assert corners[0] < FIRE[0] < corners[2] and corners[1] < FIRE[1] < corners[3]
    assert any(entry["purpose"] == f"fire alarm {alarm}" for entry in towers.book.audits())
    shot(page, "fire")
    first = page.locator(".picture img").get_attribute("src")
    page.locator(".picture .cameras").get_by_text("tower-2").click()
    expect(page.locator(".picture img")).not_to_have_attribute("src", first or "")
    expect(page.locator(".picture svg rect.box")).to_be_visible()


def test_a_camera_is_calibrated_by_clicks(page: Page, towers: Towers) -> None:
    towers.burn("tower-1")
    opened(page, towers, "/cameras")
    page.wait_for_function("window.vedette?.map")
    page.locator(".form .q-select input").fill("tower-1")
    page.get_by_role("option", name="tower-1").click()
    image = page.locator(".picture img")
    page.wait_for_function("document.querySelector('.picture img')?.naturalWidth === 1280")
    for place in ((62.905, 30.90), (62.91, 30.97)):
        outer = image.bounding_box()
        assert outer
        x = towers.pixel("tower-1", place)
        page.mouse.click(outer["x"] + (x + 0.5) * outer["width"] / SIZE[0], outer["y"] + outer["height"] / 2)
        expect(page.locator("#next-step")).to_contain_text("on the map")
        field = page.get_by_label("Place of the landmark")
        field.fill(f"{place[0]}, {place[1]}")
        field.press("Enter")
        page.wait_for_timeout(500)  # the list grows and moves the picture: the next click must meet it where it is
    answer = page.locator("#calibration")
    expect(answer.locator("li")).to_have_count(2)
    pose = towers.cameras["tower-1"].pose
    assert pose is not None
    line = answer.locator(".pose-line").inner_text()
    azimuth = float(line.split("azimuth = ")[1].split(",")[0])
    assert math.isclose(azimuth, pose.azimuth, abs_tol=0.3), line
    expect(answer).to_contain_text("Residual 0.")
    shot(page, "calibrated")
    page.locator(".map").click(position={"x": 200, "y": 120})
    expect(page.locator("#next-step")).to_contain_text("in the picture")


def test_a_picture_from_this_machine_will_do(page: Page, towers: Towers, tmp_path: Path) -> None:
    file = tmp_path / "view.png"
    assert cv2.imwrite(str(file), np.full((480, 640, 3), 120, np.uint8))
    opened(page, towers, "/cameras")
    page.locator(".upload input[type=file]").set_input_files(file)
    page.wait_for_function("document.querySelector('.picture img')?.naturalWidth === 640")
    page.locator(".picture img").click(position={"x": 40, "y": 40})
    expect(page.locator("#next-step")).to_contain_text("on the map")
    (tmp_path / "none.png").write_text("no picture at all")
    page.locator(".upload input[type=file]").set_input_files(tmp_path / "none.png")
    expect(page.locator(".picture")).to_contain_text("no picture that the browser can show")
