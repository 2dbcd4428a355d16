"""The `vedette` command. Each subcommand is a module of `pipeline.cli`, loaded only when it is used."""

from __future__ import annotations

import importlib
import sys

import click

from pipeline.ports import UserError

COMMANDS = {
    "up": "Run the whole system on this machine, with a demo or with files as devices.",
    "bridge": "Carry MQTT messages to the log and send receipts.",
    "worker": "Run one worker: telemetry, vision or alarms.",
    "api": "Serve the HTTP API and the operators' console.",
    "replay": "Run the rules over recorded tracks, videos or stored history, with no server.",
    "rules": "Try changed rules on history: alarms added, gone, moved.",
    "detect": "Look for fire and smoke in pictures.",
    "models": "Bring a model of your own, try it, compare it with another.",
    "eval": "Measure a model on labelled pictures.",
    "cameras": "List cameras, turn pixels into bearings, calibrate where a camera looks.",
    "fences": "Try fences on recorded tracks, check and convert fence files.",
    "tracks": "Read the track of an enrolled unit, for a stated purpose.",
    "trips": "Trips and stops of track files, or of enrolled units.",
    "devices": "Enrol devices, list them, renew their certificates, cut them off.",
    "alarms": "List, explain, acknowledge and resolve alarms.",
    "quarantine": "List what was refused, with the reason.",
    "check": "Check settings, rules, fences and models before they are used.",
    "health": "Tell whether a running part is well (for health checks).",
    "bench": "Measure this machine against the design's numbers.",
}


class Commands(click.Group):
    """Lists all commands without importing any of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pipeline.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vedette")
def cli() -> None:
    """Vedette: cameras and vehicle positions in, alarms with their reasons out.

    Start with `vedette up --demo`. Every command explains itself with --help.
    """


def main() -> None:
    """Entry point: a person's mistake is one line on stderr and exit status 2, never a traceback."""
    try:
        cli.main(standalone_mode=False)
    except UserError as error:
        sys.exit(_complain(str(error)))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


def _complain(text: str) -> int:
    click.echo(f"vedette: {text}", err=True)
    return 2


if __name__ == "__main__":
    main()
