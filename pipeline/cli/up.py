"""`vedette up`"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from pipeline.settings import Settings


@click.command("up")
@click.option("--demo", is_flag=True, help="A simulated fleet and a watch-tower's camera, with rules for them.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder for everything that is kept (default: data).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the console; 0 takes any that is free.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="End by itself so many seconds after ready.")
@click.option(
    "--tracks", multiple=True, type=click.Path(path_type=Path), help="Track file (CSV) to replay; may be repeated."
)
@click.option("--video", multiple=True, type=click.Path(path_type=Path), help="Video as a camera; may be repeated.")
@click.option(
    "--speed", default=1.0, show_default=True, type=click.FloatRange(min=0), help="Replay so many times as fast."
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; see config/vedette.toml.")
@click.option("--rules", type=click.Path(path_type=Path), help="Rules file; see config/rules.toml.")
@click.option("--fences", type=click.Path(path_type=Path), help="GeoJSON fences: entering one is an alarm.")
def command(config: Path | None, data: Path | None, seconds: float | None, **asked: Any) -> None:
    """Run the whole system on this machine: broker, log, bridge, workers, console, and edge agents.

    \b
    vedette up --demo                                    something to look at
    vedette up --tracks day.csv --video tower.mp4        recordings, as if they were live devices
    vedette up                                           for your own devices, over MQTT

    Prints what it starts and the console's address. Ctrl-C ends everything. Starting it again with the same --data
    goes on where it ended.
    """
    from pipeline import settings
    from pipeline.deployment import Plan

    base = settings.load(config, data=data.resolve() if data else None)
    plan = Plan(
        demo=asked["demo"],
        port=asked["port"],
        tracks=asked["tracks"],
        videos=asked["video"],
        speed=asked["speed"],
        rules=asked["rules"],
        fences=asked["fences"],
    )
    _run(plan, base, seconds)


def _run(plan: Any, base: Settings, seconds: float | None) -> None:
    from pipeline.embedded import Lock, Run, prepare
    from pipeline.state import open_state
    from pipeline.supervisor import Supervisor

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    lock = Lock.take(Path(base.data))
    system = prepare(plan, base)
    click.echo(f"Vedette, data in {system.data}, MQTT on port {system.server.mqtt_port}")
    state = open_state(system.settings)
    try:
        Run(
            system, Supervisor(system.data / "log", click.echo), stopped.is_set, click.echo, state.beats
        ).until_stopped(seconds)
    finally:
        state.close()
        lock.release()
