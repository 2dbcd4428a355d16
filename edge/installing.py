"""What `vedette-edge install` says and does, step by step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from edge import install
from edge.errors import SetupError, SourceError
from edge.install import Installed, Order
from edge.places import Places
from edge.settings import SOURCES, Camera, Gps, is_live
from edge.status import read, sentence

Say = Callable[[str], object]
STARTED_S = 10.0
HOMES = ("/home/", "/root/", "/run/user/")


def go(order: Order, *, check: bool, start: bool, say: Say) -> int:
    """Exit status: 0, or 1 when the service did not start. SetupError when nothing was written."""
    bundle, places, tree = install.plan(order)
    if start and str(order.root) == "/" and install.has_systemd() and install.program().startswith(HOMES):
        raise SetupError(f"{install.program()}: a service may not read homes; install the package in /opt/vedette")
    if trouble := install.trust_trouble(bundle, time.time_ns() // 1000):
        raise SetupError(f"{order.bundle}: {trouble}")
    until = f"certificate until {bundle.expires[:10]}"
    say(f"{bundle.device}: {bundle.kind}, broker {bundle.host}:{bundle.port}, {until}")
    if check:
        say(look_at(msgspec.convert(tree["source"], SOURCES[tree["source"]["kind"]], strict=False)))
    done = install.put(bundle, places, tree)
    for path in done.changed:
        say(f"written {path}")
    if not done.changed:
        say("nothing has changed")
    return _start(done, order, start, say)


def look_at(source: object) -> str:
    """What the source shows, in a line. SetupError when it shows nothing: the technician is still there."""
    from edge.probe import listen, look

    try:
        if isinstance(source, Camera):
            seen = look(source.url, seconds=2.0, transport=source.transport)
            said = f"source: {seen.codec or 'video'} {seen.width} x {seen.height}, {seen.fps:.1f} frames/s"
            return f"{said}, first picture after {seen.first_s:.1f} s" + (
                f"; {seen.trouble}" if seen.trouble else ""
            )
        if isinstance(source, Gps) and is_live(source.url):
            heard = listen(source)
            if not heard.lines:
                raise SourceError(f"{source.url} is silent: check cable and baud")
            where = f"{heard.fix.lat:.5f}, {heard.fix.lon:.5f}" if heard.fix else "no fix yet: is the sky in view?"
            return f"source: {heard.lines} sentences, {where}"
    except SourceError as error:
        raise SetupError(f"source: {error}; --no-check installs it all the same") from None
    return "source: not looked at"


def _start(done: Installed, order: Order, start: bool, say: Say) -> int:
    places = done.places
    by_hand = f"{install.program()} run {places.config}"
    if not start or str(order.root) != "/":
        say(f"not started; on the device: sudo systemctl enable --now {places.service}")
        return 0
    if not install.has_systemd():
        say(f"systemd does not run this machine, so nothing was started. By hand: {by_hand}")
        return 0
    if os.geteuid() == 0:
        install.hand_over(places)
    if trouble := install.start(places):
        say(f"{trouble}\njournalctl -u {places.service} says why")
        return 1
    say(f"{places.service} is started, and will be at every boot")
    say(_first_words(places))
    return 0


def _first_words(places: Places) -> str:
    """The first status with something confirmed, or the last one before patience ends."""
    said, end = "", time.monotonic() + STARTED_S
    while time.monotonic() < end:
        try:
            row = read(places.data)
            said = sentence(row)
            if row["confirmed"] and row["running"]:
                break
        except SetupError:
            pass
        time.sleep(0.5)
    return said or "it has said nothing yet: vedette-edge doctor looks at everything"
