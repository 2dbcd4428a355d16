"""`vedette bridge`"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

import click

from pipeline.cli.common import settings_options
from pipeline.settings import Settings


@click.command("bridge")
@settings_options
def command(settings: Settings) -> None:
    """Carry what devices publish over MQTT to the log, and send receipts once it is durable there.

    What cannot be decoded goes to the quarantine with the reason; see `vedette quarantine list`.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_until_stopped(settings))


async def _until_stopped(settings: Settings) -> None:
    from pipeline.app import run_bridge

    task = asyncio.ensure_future(run_bridge(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
