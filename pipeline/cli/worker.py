"""`vedette worker KIND`"""

from __future__ import annotations

import click

from pipeline.cli.common import settings_options
from pipeline.settings import Settings


@click.command("worker")
@click.argument("kind", type=click.Choice(["telemetry", "vision", "alarms"]))
@click.option(
    "--loglevel", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
)
@settings_options
def command(settings: Settings, kind: str, loglevel: str) -> None:
    """Run one worker until it is told to stop.

    \b
    telemetry  positions and readings: clean, apply the rules, store
    vision     frames: decode, detect fire and smoke, store, confirm over time
    alarms     what the rules say into the alarm book: one episode, one alarm

    On Kafka, start as many of a kind as there are partitions ([log] partitions); on the embedded log, one.
    """
    from pipeline.app import run_worker

    run_worker(settings, kind, loglevel=loglevel)
