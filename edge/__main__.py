"""The `vedette-edge` command: run the agent of one device, and ask how it is."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from edge.errors import EdgeError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vedette")
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
    sys.exit(agent.run())


@cli.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The agent's folder, without CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
def status(config: Path | None, data: Path | None, as_json: bool, watch: bool) -> None:
    """Show sent, confirmed, waiting and the age of the oldest, whether the agent runs or not.

    Name the device's CONFIG, or its data folder with --data.
    """
    from edge.settings import load
    from edge.status import read, sentence

    folder = data or (Path(load(config).data) if config else None)
    if folder is None:
        raise click.UsageError("name the device's CONFIG, or its folder with --data")
    while True:
        row = read(folder)
        click.echo(json.dumps(row) if as_json else sentence(row))
        if not watch:
            return
        time.sleep(1)


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
