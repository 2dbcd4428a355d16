"""One stream of the device on its way to the broker: its spool, what of it is under way, and its ration."""

from __future__ import annotations

import logging
import time

from edge.settings import Publish
from edge.spool import Message, Spool, Summary
from edge.window import Ration, Window
from pipeline.message import SECOND, Receipt

log = logging.getLogger(__name__)
AT_ONCE = 200
"""Messages read from the spool at a time."""
BEHIND_S = 60.0
"""A stream whose oldest message has waited longer is a backlog."""
LOOK_S = 1.0


class Lane:
    """Used by the publisher's thread alone, but for `behind` and the figures. Times are monotonic seconds.

    A lane that is `behind` is rationed, unless it may take the whole line (`share` = 1: recorded input).
    """

    def __init__(self, spool: Spool, settings: Publish, *, share: float) -> None:
        self.spool = spool
        self.behind = False
        self.told: set[str] = set()
        self.quiet_since: float | None = None
        self.ration = Ration(share, settings.window_bytes // 2)
        self._settings = settings
        self._flying = 0
        self._look_due = 0.0
        self.anew()

    def anew(self) -> None:
        """The spool has a new epoch, or is just opened."""
        settings, base = self._settings, self.spool.base
        self.epoch, self.sent = self.spool.epoch, base - 1
        self.window = Window(base, settings.window, settings.window_bytes, settings.receipt_timeout_s)

    def summary(self) -> Summary:
        return self.spool.summary()

    # ------------------------------------------------------------ the connection

    def up(self, now: float) -> None:
        """A new connection: what was under way is lost."""
        self.down()
        self.quiet_since = None
        self.window.rewind(self.spool.base, now)
        self.look(now)

    def down(self) -> None:
        self._flying = 0
        self.ration.reset()

    # ------------------------------------------------------------ sending

    def settle(self, now: float) -> None:
        """Before sending: a new epoch, what gave way in a full spool, a receipt that does not come."""
        if self.epoch != self.spool.epoch:
            self.anew()
        self._confirmed(self.spool.base, now)
        if self.window.overdue(now):
            self.tell(logging.WARNING, "no receipt in time; sending again from %d", self.window.base)
            self.window.rewind(self.window.base, now)
        if now >= self._look_due:
            self.look(now)

    def look(self, now: float) -> None:
        """See whether what waits is a backlog."""
        oldest = self.spool.oldest()
        self._look_due = now + LOOK_S
        self.behind = oldest is not None and time.time() - oldest / SECOND > BEHIND_S

    def next(self, most: int, now: float) -> list[Message]:
        """The next messages that may be sent, at the most so many."""
        most = min(self.window.room, most, AT_ONCE)
        room = self.ration.room(now) if self._rationed else self._settings.window_bytes
        return self.spool.pending(self.window.next - 1, most, room) if most > 0 and room > 0 else []

    def flew(self, message: Message, size: int, now: float) -> None:
        """`message` has been handed to the broker."""
        self.window.sent(message.seq, size, now)
        self.sent = max(self.sent, message.seq)
        self._flying += 1
        if self.quiet_since is None:
            self.quiet_since = now
        if self._rationed:
            self.ration.sent(size, now)

    def landed(self, now: float) -> None:
        """The broker has acknowledged a message."""
        self._flying = max(self._flying - 1, 0)
        if not self._flying and not (self.ration.room(now) and self.window.room):
            self.ration.arrived(now)

    @property
    def _rationed(self) -> bool:
        return self.behind and self.ration.share < 1

    # ------------------------------------------------------------ receipts

    def receipt(self, receipt: Receipt, now: float) -> None:
        """A receipt of this lane's epoch."""
        self.quiet_since = None if self.window.unconfirmed <= 1 else now
        if receipt.seq > self.spool.last:
            log.error("the far side has more than this spool ever held (restored from a copy?): new epoch")
            self.spool.renew()
            self.anew()
            return
        if receipt.seq >= self.window.base:
            self.spool.confirm(receipt.epoch, receipt.seq)
            self._confirmed(receipt.seq + 1, now)
        if receipt.resend and self.window.asked_again(receipt.seq + 1, now):
            self.tell(logging.INFO, "asked to send again from %d", receipt.seq + 1)

    def _confirmed(self, base: int, now: float) -> None:
        self.window.confirmed(base, now)
        if not self.window.unconfirmed:
            self.quiet_since = None

    def tell(self, level: int, words: str, seq: int) -> None:
        """The first time means little: at a normal start the bridge is still coming up."""
        log.log(level if words in self.told else logging.DEBUG, words, seq)
        self.told.add(words)


def together(lanes: tuple[Lane, ...]) -> Summary:
    """The figures of all lanes as if they were one; the epoch is the first one's."""
    all_of = [lane.summary() for lane in lanes]
    confirmed = sum(one.base - 1 for one in all_of)
    oldest = min((one.oldest for one in all_of if one.oldest is not None), default=None)
    sums = [sum(column) for column in zip(*((s.last, s.waiting, s.bytes, s.dropped) for s in all_of), strict=True)]
    last, waiting, size, dropped = sums
    return Summary(all_of[0].epoch, last, confirmed + 1, waiting, oldest, size, dropped)
