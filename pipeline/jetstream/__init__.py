"""A Faust transport over NATS JetStream: the log of the embedded system, `jetstream://host:port`.

    topic `positions`, partition 2  ──  stream `positions-2`, subject `log.positions.2`, offset = sequence - 1
    committed offsets               ──  key-value bucket `commits-<app id>`, key `<topic>.<partition>`

One worker per app: it is given every partition at once and keeps them. Streams are made by `pipeline.topics`.
"""

from pipeline.jetstream.transport import Transport

__all__ = ["Transport"]
