"""What can go wrong on a device, by what is done about it.

EdgeError
├── SetupError      a person must mend the configuration: one line naming the thing and the fix, exit status 2
├── SourceError     the camera or receiver cannot be read now: try again, waiting longer each time
├── SpoolError      the disk does not take the message: it is counted as dropped, the agent lives on
└── TooLarge        a message that no broker would take: it is never spooled
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of every error that the agent raises on purpose."""


class SetupError(EdgeError):
    """Something a person can mend; the text names the thing and the fix."""


class SourceError(EdgeError):
    """The source cannot be read now; it may be later."""


class HungTooOften(EdgeError):
    """The process must be started anew; its supervisor does that."""


class SpoolError(EdgeError):
    """The spool cannot keep a message: disk full, read-only, or nothing left that may be dropped."""


class TooLarge(EdgeError):
    """A message over the limit of one MQTT payload."""
