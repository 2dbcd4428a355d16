"""What Faust finds under `jetstream://` in the entry-point group `faust.transports`."""

from __future__ import annotations

from typing import Any, ClassVar

from faust.transport import base
from nats.aio.client import __version__ as nats_version

from pipeline.jetstream.connection import Connection
from pipeline.jetstream.consumer import Consumer
from pipeline.jetstream.producer import Producer


class Transport(base.Transport):
    """`jetstream://[user:password@]host[:port]`, several separated by `;`."""

    Consumer: ClassVar[type[Any]] = Consumer
    Producer: ClassVar[type[Any]] = Producer
    default_port = 4222
    driver_version = f"nats-py={nats_version}"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        servers = [str(url.with_scheme("nats").with_port(url.port or self.default_port)) for url in self.url]
        self.connection = Connection(servers, self.app.conf.id)
