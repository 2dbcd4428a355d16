"""`vedette bench`"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from pipeline.ports import UserError, VedetteError

if TYPE_CHECKING:
    from pipeline.bench.options import Options
    from pipeline.settings import StoreTable

INFLUX = "VEDETTE_BENCH_INFLUX"


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a figure, a line each.")
@click.option(
    "--scale",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="small: some four minutes for everything; full: the design's own sizes, half an hour.",
)
@click.option("--influx", metavar="URL", envvar=f"{INFLUX}_URL", help="Measure InfluxDB 2 as well.")
@click.option("--kafka", metavar="HOST:PORT", envvar="VEDETTE_BENCH_KAFKA", help="Measure Apache Kafka as well.")
def command(names: tuple[str, ...], as_json: bool, scale: str, influx: str | None, kafka: str | None) -> None:
    """Measure this machine against the design's numbers.

    \b
    fold       positions/s through clean and rules alone
    telemetry  positions/s of the telemetry worker, from the log to committed store writes
    mqtt       messages/s from MQTT to the store, one position each, and the time to their receipt
    vision     frames/s of the vision stage against bare ONNX Runtime; ms to the store; memory
    latency    ms from a published fix to its alarm on the operators' stream
    query      ms for one vehicle's day of 86,400 fixes out of a full store
    crowd      MB that the fold keeps of 100,000 units
    start      seconds from `vedette up --demo` to ready and to alarms

    Without a NAME, all of them. Real processes on loopback over a temporary folder; all are ended and removed at
    the end, and by Ctrl-C. Ratio is value by reference; for times lower is better. Exit status 1 when one of
    them could not be measured.

    InfluxDB is written to in a bucket of your choice: VEDETTE_BENCH_INFLUX_TOKEN, _ORG and _BUCKET (default
    vedette). What a bench writes stays there: make a bucket for it. The Kafka cluster must have no topics of
    Vedette; those the bench makes it deletes.
    """
    from pipeline.bench.figure import HEADER
    from pipeline.bench.options import SCALES, Options
    from pipeline.bench.registry import BENCHES

    for name in names:
        if name not in BENCHES:
            raise UserError(f"no bench {name!r}: there are {', '.join(BENCHES)}")
    options = Options(SCALES[scale], _influx(influx), kafka or "", _progress())
    if not as_json:
        click.echo(HEADER)
    with _ended_by_signals():
        failed = [name for name in names or BENCHES if not _measure(name, options, as_json)]
    if failed:
        sys.exit(1)


def _measure(name: str, options: Options, as_json: bool) -> bool:
    """Print the figures of one bench; the others go on when it fails."""
    from pipeline.bench.figure import json_line, table_line
    from pipeline.bench.registry import BENCHES

    try:
        for figure in BENCHES[name].load()(options):
            click.echo(json_line(figure) if as_json else table_line(figure))
    except VedetteError as error:
        click.echo(f"vedette: bench {name}: not measured: {error}", err=True)
        return False
    return True


def _influx(url: str | None) -> StoreTable | None:
    """The bucket to write to; the token comes from the environment only, because a command line can be listed."""
    from pipeline.settings import StoreTable

    if not url:
        return None
    token = os.environ.get(f"{INFLUX}_TOKEN", "")
    if not token:
        raise UserError(f"--influx {url}: put its token into {INFLUX}_TOKEN")
    org, bucket = (os.environ.get(f"{INFLUX}_{key}", "vedette") for key in ("ORG", "BUCKET"))
    return StoreTable(engine="influxdb", url=url, token=token, org=org, bucket=bucket)


def _progress() -> Callable[[str], None]:
    """What is going on, on stderr, when a person watches it."""
    from pipeline.bench.options import silent

    if not sys.stderr.isatty():
        return silent
    return lambda text: click.echo(f"  {text.strip()}", err=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a bench as Ctrl-C does: by an exception, so that every `finally` has its turn."""

    def end(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(f"signal {number}")

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
