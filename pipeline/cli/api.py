"""`vedette api`"""

from __future__ import annotations

import click
import msgspec

from pipeline.cli.common import settings_options
from pipeline.settings import Settings


@click.command("api")
@click.option("--host", help="Address to listen on (default: [api] host, which is this machine only).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port (default: [api] port); 0 takes any that is free.")
@settings_options
def command(settings: Settings, host: str | None, port: int | None) -> None:
    """Serve the HTTP API and the operators' console until told to stop.

    Prints the address of the console with its token. The token comes from [api] token or VEDETTE_API_TOKEN_FILE;
    without one a new one is made at each start. `name:token,name:token` gives each person one of their own, whose
    name stands in the history of what they do.

    \b
    /                    the console
    /api/v1/docs         the API; send the token as `Authorization: Bearer TOKEN`
    /metrics             for Prometheus, with the same token
    /healthz             200 when every part sees, 503 with the reason if not; no token
    """
    from pipeline.api.serve import serve

    asked = {"host": host, "port": port}
    api = msgspec.structs.replace(settings.api, **{k: v for k, v in asked.items() if v is not None})
    serve(msgspec.structs.replace(settings, api=api), click.echo)
