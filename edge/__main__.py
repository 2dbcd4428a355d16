"""The `vedette-edge` command: run the agent of one device, and ask how it is."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click

from edge.errors import EdgeError
from edge.version import version


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(message="%(version)s", version=version())
def cli() -> None:
    """The agent on a device: a camera, a GPS receiver, a track file.

    Every message is numbered, kept on the disk, sent over MQTT, and deleted when the pipeline has confirmed it.
    """


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the spool and the status."
)
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
def run(config: Path, data: Path | None, verbose: bool) -> None:
    """Run the device that CONFIG describes, until Ctrl-C or SIGTERM.

    See config/edge.*.toml for examples with every key. What is not confirmed at the end stays in the spool and is
    sent at the next start.
    """
    from edge.agent import Agent
    from edge.settings import load

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=form, stream=sys.stderr)
    agent = Agent(load(config, data=data))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop.set())
    click.echo(f"{agent.settings.device}: running; vedette-edge status --data {agent.settings.data}", err=True)
    _leave(agent.run())


def _leave(status: int) -> None:
    """A read that hangs within OpenCV would take the interpreter's own way out down: leave without it."""
    if any(thread.name == "reader" for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


@cli.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The agent's folder, without CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--watch", is_flag=True, help="Live, until Ctrl-C.")
def status(config: Path | None, data: Path | None, as_json: bool, watch: bool) -> None:
    """Show sent, confirmed, waiting and the age of the oldest, whether the agent runs or not.

    Name the device's CONFIG, or its data folder with --data; neither where one device is installed. Ends with 1
    when the agent is down, says nothing any more, or is refused by the broker.
    """
    from edge.places import the_one
    from edge.settings import load
    from edge.status import read, sentence

    folder = data or Path(load(the_one(config)).data)
    if watch and not as_json:
        from rich.console import Console

        from edge.watchful import watch as show

        show(lambda: read(folder), Console())
    row = read(folder)
    while True:
        click.echo(json.dumps(row) if as_json else sentence(row))
        if not watch:
            sys.exit(0 if row["verdict"] in ("ok", "finished") else 1)
        time.sleep(1)
        row = read(folder)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--source", default="", metavar="URL", help="rtsp://..., /dev/video0, gpsd://..., serial:///dev/ttyUSB0"
)
@click.option("--kind", default="", help="Kind of source, if it is not the one the device was enrolled as.")
@click.option("--no-check", is_flag=True, help="Install although the source does not answer yet.")
@click.option("--no-start", is_flag=True, help="Only write the files.")
@click.option(
    "--root", default=Path("/"), type=click.Path(path_type=Path), help="Write below this folder (for images)."
)
def install(bundle: Path, source: str, kind: str, root: Path, **flags: bool) -> None:
    """Install the device of BUNDLE: look at its source, write settings, key and service, and start it.

    Run it again to change the source, to renew the certificate, or after an upgrade; what waits is kept.
    """
    from edge.install import Order
    from edge.installing import go

    order = Order(bundle, source, kind, root.resolve())
    sys.exit(go(order, check=not flags["no_check"], start=not flags["no_start"], say=click.echo))


@cli.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the spool and the status."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Look at clock, disk, network, certificate, broker, source and spool, and say what to do.

    Ends with 1 when something failed. CONFIG may be left out where one device is installed.
    """
    from edge.doctor.rounds import examine
    from edge.doctor.verdict import SIGNS
    from edge.places import the_one

    failed = 0
    for name, verdict in examine(the_one(config), data=data):
        failed += verdict.state == "fail"
        if as_json:
            click.echo(json.dumps({"check": name, **verdict._asdict()}))
            continue
        click.echo(f"{SIGNS[verdict.state]}  {name:<25}{verdict.what}")
        if verdict.fix:
            click.echo(f"{'':31}-> {verdict.fix}")
    if not as_json:
        click.echo(f"{failed} failed" if failed else "nothing failed")
    sys.exit(1 if failed else 0)


@cli.command()
@click.argument("url", required=False)
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(min=0.1), help="How long to look.")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Where to write what was seen (default: probe.jpg)."
)
@click.option("--transport", default="tcp", type=click.Choice(["tcp", "udp"]), help="Of RTSP.")
@click.option("--interface", default="", metavar="ADDRESS", help="This machine's address to ask for cameras from.")
@click.option("--address", default="", metavar="HOST", help="Ask this one camera instead of the whole network.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def probe(url: str | None, **asked: Any) -> None:
    """Look at the camera or receiver at URL; without URL list the cameras that can be found.

    Found are ONVIF cameras that answer on this network, and this machine's own video devices.
    """
    from edge.probing import find, show

    sys.exit(show(url, **asked) if url else find(**asked))


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def decode(words: tuple[str, ...]) -> None:
    """Print what a tracker sent as JSON: jt808, gt06, osmand, owntracks or nmea."""
    from edge.decode.cli import command

    command.main(list(words), prog_name="vedette-edge decode", standalone_mode=False)


def main(argv: list[str] | None = None) -> Any:
    """Entry point: a person's mistake is one line on stderr and exit status 2, never a traceback."""
    try:
        cli.main(argv, standalone_mode=False)
    except EdgeError as error:
        click.echo(f"vedette-edge: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
