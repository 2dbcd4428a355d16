"""Where a camera looks, found by a person who clicks known landmarks in its picture and on the map."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from nicegui import events, ui

from pipeline.api.console import words
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.console.place import Place
from pipeline.api.console.scene import VIEW_M
from pipeline.message import Alarm
from pipeline.ports import UserError
from pipeline.rules.area import geojson, sector
from pipeline.rules.calibrate import Calibrated, Landmark, calibrate, pose_line
from pipeline.rules.cameras import Cameras, Pose, load_cameras

FOV = 60.0
LOOKED_THROUGH = 500
"""Alarms among which the newest picture of a camera is looked for."""

LARGEST_UPLOAD = 8_000_000
SIZE_OF = "return vedette.sizeOf(getElement({}).$el.querySelector('img'))"


class CamerasPage:
    """The form beside the picture and the map. Nothing is written: the person pastes the line into cameras.toml."""

    def __init__(
        self, outlook: Outlook, cameras: Cameras, pictures: dict[str, tuple[str, tuple[int, int]]]
    ) -> None:
        self._cameras, self._pictures = cameras, pictures
        self._size: tuple[int, int] | None = None
        self._pixel: tuple[float, float] | None = None
        self._spot: tuple[float, float] | None = None
        self._marks: list[Landmark] = []
        with page(outlook, "/cameras"), ui.element("div").classes("tracks-page cameras-page"):
            with ui.element("section").classes("form").props(f'aria-label="{words.CALIBRATE_TITLE}"'):
                self._names = sorted({*cameras, *pictures})
                self._form(self._names)
            with ui.element("section").classes("stage"):
                self._holder = ui.element("figure").classes("picture calibrated")
                self._no_picture(words.CHOOSE_CAMERA)
                self._place = Place(follow=False)
        self._place.on_click(self._on_map)

    def _form(self, names: list[str]) -> None:
        ui.label(words.CALIBRATE_TITLE).classes("heading").props('role="heading" aria-level="1"')
        ui.label(words.CALIBRATE_HINT).classes("soft")
        self._name = ui.select(names, label=words.CAMERA, with_input=True, new_value_mode="add-unique")
        self._name.props("outlined").on_value_change(self._choose)
        with ui.element("div").classes("pair"):
            self._lat = ui.number(words.LAT, format="%.6f", on_change=self._solve).props("outlined dense")
            self._lon = ui.number(words.LON, format="%.6f", on_change=self._solve).props("outlined dense")
            self._fov = ui.number(words.FOV_FIELD, value=FOV, min=0.1, max=179, on_change=self._solve)
            self._tilt = ui.number(words.TILT_FIELD, value=0.0, min=-90, max=90, on_change=self._solve)
        for field in (self._fov, self._tilt):
            field.props("outlined dense")
        self._upload = ui.upload(label=words.UPLOAD, auto_upload=True, max_file_size=LARGEST_UPLOAD)
        self._upload.on_upload(self._uploaded).props('accept="image/*" flat bordered').classes("upload")
        self._typed = ui.input(words.LANDMARK_PLACE, placeholder="40.41200, 116.05000").props("outlined dense")
        self._typed.on("keydown.enter", self._on_typed)
        self._next = ui.label(words.NEXT_CAMERA).classes("soft").props('role="status" id="next-step"')
        self._answer = ui.element("div").classes("answer").props('id="calibration"')

    async def start(self) -> None:
        """When the browser is there."""
        await ui.context.client.connected()
        await self._place.start()
        if len(self._names) == 1:
            self._name.set_value(self._names[0])

    # -------------------------------------------------------------- what a person does

    async def _choose(self) -> None:
        name = str(self._name.value or "")
        camera = self._cameras.get(name)
        pose = camera.pose if camera else None
        self._marks, self._pixel, self._spot = [], None, None
        if pose is not None:
            for field, value in ((self._lat, pose.lat), (self._lon, pose.lon), (self._fov, pose.fov)):
                field.set_value(value)
            self._tilt.set_value(pose.tilt)
            self._place.go(pose.lat, pose.lon)
        kept = self._pictures.get(name)
        if kept:
            self._show(f"/api/v1/evidence/{kept[0]}", kept[1])
        else:
            self._no_picture()
        self._solve()

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        """A picture of the camera from the person's own machine; it goes into the page and nowhere else."""
        self._marks, self._pixel = [], None
        self._upload.reset()
        self._show(data_url(event.file.content_type, await event.file.read()), None)
        try:
            width, height = await ui.run_javascript(SIZE_OF.format(self._picture.id), timeout=15.0)
        except TimeoutError:
            width, height = 0, 0
        if not width:  # no picture, whatever its name says
            self._no_picture(words.BAD_PICTURE)
            return
        self._size = (int(width), int(height))
        self._solve()

    def _on_picture(self, event: events.MouseEventArguments) -> None:
        self._pixel = (round(event.image_x, 1), round(event.image_y, 1))
        self._pair()

    def _on_map(self, lat: float, lon: float) -> None:
        self._spot = (round(lat, 6), round(lon, 6))
        self._pair()

    def _on_typed(self) -> None:
        try:
            lat, lon = (float(part) for part in str(self._typed.value or "").split(","))
        except ValueError:
            lat, lon = math.nan, math.nan
        if not (abs(lat) <= 90 and abs(lon) <= 180):
            ui.notify(words.BAD_PLACE, type="warning", position="bottom-left")
            return
        self._typed.set_value("")
        self._on_map(lat, lon)

    def _pair(self) -> None:
        """A click in the picture and one on the map, in either order, are a landmark."""
        if self._pixel is not None and self._spot is not None:
            self._marks.append(Landmark(*self._pixel, *self._spot))
            self._pixel, self._spot = None, None
        self._solve()

    def _drop(self, index: int) -> None:
        del self._marks[index]
        self._solve()

    # -------------------------------------------------------------- what they see

    def _show(self, source: str, size: tuple[int, int] | None) -> None:
        self._size = size
        self._holder.clear()
        with self._holder:
            self._picture = ui.interactive_image(source, on_mouse=self._on_picture, cross=True).classes("frame")
            self._picture.props(f'alt="{words.CAMERA_PICTURE}"')

    def _no_picture(self, why: str = words.NO_CAMERA_PICTURE) -> None:
        self._size = None
        self._holder.clear()
        with self._holder:
            ui.label(why).classes("empty")

    def _solve(self) -> None:
        """Fit what there is, and show it, the marks, and what to do next."""
        found, problem = self._fitted()
        waiting = words.NEXT_MAP if self._pixel else words.NEXT_PICTURE if self._spot else words.NEXT_BOTH
        waiting = waiting if self._name.value or self._size else words.NEXT_CAMERA
        self._next.set_text(waiting)
        self._answer.clear()
        with self._answer:
            if self._marks:
                self._table(found)
            if problem:
                ui.label(problem).classes("wrong")
            elif found:
                _result(found, len(self._marks))
        if self._size is not None:
            self._picture.set_content(marks_svg(self._marks, self._pixel, self._size[1]))
        spots = [(m.lat, m.lon, str(i)) for i, m in enumerate(self._marks, 1)]
        spots += [(*self._spot, "?")] if self._spot else []
        self._place.mark(spots, _view(found.pose) if found else None)

    def _fitted(self) -> tuple[Calibrated | None, str]:
        if not self._marks or self._size is None:
            return None, ""
        if self._lat.value is None or self._lon.value is None or not self._fov.value:
            return None, words.STAND_NEEDED
        camera = self._cameras.get(str(self._name.value or ""))
        known = (camera.pose if camera else None) or Pose(lat=0.0, lon=0.0, azimuth=0.0, fov=FOV)
        said = {"lat": self._lat, "lon": self._lon, "fov": self._fov, "tilt": self._tilt}
        values = {name: float(field.value or 0.0) for name, field in said.items()}
        try:
            return calibrate(msgspec.structs.replace(known, **values), self._size, self._marks), ""
        except UserError as error:
            return None, str(error)

    def _table(self, found: Calibrated | None) -> None:
        with ui.element("ol").classes("landmarks"):
            for i, mark in enumerate(self._marks):
                with ui.element("li"):
                    off = f" · off by {found.residuals[i]:+.2f}°" if found else ""
                    ui.label(f"{i + 1}: {mark.x:.0f}, {mark.y:.0f} px · {mark.lat:.5f}, {mark.lon:.5f}{off}")
                    drop = ui.button(icon="close", on_click=lambda _, i=i: self._drop(i), color=None)
                    drop.props(f'flat dense round size="sm" aria-label="{words.DROP}"')


def _result(found: Calibrated, count: int) -> None:
    pose = found.pose
    ui.label(f"{words.AZIMUTH} {pose.azimuth:.2f}° · {words.FOV} {pose.fov:.2f}°").classes("azimuth")
    if count < 2:
        ui.label(words.ONE_LANDMARK).classes("soft")
    else:
        ui.label(f"{words.RESIDUAL} {found.rms:.2f}° · {words.ERROR} {pose.azimuth_error:g}°")
    ui.label(words.PASTE).classes("soft")
    ui.code(pose_line(pose), language="toml").classes("pose-line")


def _view(pose: Pose) -> dict[str, Any]:
    return geojson([sector(pose.lat, pose.lon, pose.azimuth, pose.fov / 2, VIEW_M)])


def marks_svg(marks: Iterable[Landmark], pending: tuple[float, float] | None, height: float) -> str:
    """Crosses with numbers, in pixels of the picture; the one that has no place yet has a question mark."""
    size = height / 28
    spots = [(m.x, m.y, str(i)) for i, m in enumerate(marks, 1)] + ([(*pending, "?")] if pending else [])
    return "".join(
        f'<g class="landmark"><path d="M{x - size} {y}H{x + size}M{x} {y - size}V{y + size}" '
        f'stroke-width="{size / 6:.1f}"/><text x="{x + size / 2}" y="{y - size / 2}" '
        f'font-size="{size * 1.4:.0f}">{escape(name)}</text></g>'
        for x, y, name in spots
    )


def data_url(kind: str, data: bytes) -> str:
    """The bytes of a picture as an address that no server is asked for."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def newest_pictures(alarms: Iterable[Alarm]) -> dict[str, tuple[str, tuple[int, int]]]:
    """By camera, the newest evidence frame and its size; a fire's alarm has those of several cameras."""
    found: dict[str, tuple[int, str, tuple[int, int]]] = {}
    for alarm in alarms:
        size = alarm.evidence.get("size")
        for picture in alarm.evidence.get("frames", ()):
            width, height = picture.get("size") or size or (0, 0)
            camera = picture.get("camera", alarm.subject)
            if width and picture["at"] > found.get(camera, (-1,))[0]:
                found[camera] = (picture["at"], picture["frame"], (int(width), int(height)))
    return {camera: (key, size) for camera, (_at, key, size) in found.items()}


async def cameras_page(outlook: Outlook, _user: str) -> None:
    """Build the page, with the cameras of cameras.toml and those that alarms have pictures of."""
    desk = outlook.desk
    cameras = load_cameras(Path(desk.settings.cameras.file))
    sightings = await desk.call(desk.book.alarms, kind="sighting", limit=LOOKED_THROUGH)
    opened = CamerasPage(outlook, cameras, newest_pictures(sightings))
    ui.timer(0.0, opened.start, once=True)
