"""What is sent and not yet confirmed (go-back-N), and the ration of a backlog that must not fill the line. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SAME_REWIND_S = 2.0
PATIENCE_MOST_S = 60.0
PROBE = 10
"""Messages sent while the far side does not answer: it may be down for days, and the line may cost money."""


@dataclass(slots=True)
class Window:
    """What is sent and not yet confirmed. Pure: times (monotonic seconds) are given.

    `patience_s` is how long no receipt may come before it is sent again; it doubles while that does not help, and
    from the second time on only a few messages are sent, until a word comes.
    """

    base: int
    most: int = 2000
    most_bytes: int = 8 << 20
    patience_s: float = 5.0
    next: int = 0
    _sizes: deque[tuple[int, int]] = field(default_factory=deque)
    _bytes: int = 0
    _since: float = 0.0
    _patience: float = 0.0
    _rewound: tuple[int, float] = (0, 0.0)
    _probing: bool = False

    def __post_init__(self) -> None:
        self.next = self.next or self.base
        self._patience = self.patience_s

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        most = PROBE if self._probing else self.most
        return max(most - len(self._sizes), 0) if self._bytes < self.most_bytes else 0

    @property
    def unconfirmed(self) -> int:
        """How many are sent and not confirmed."""
        return len(self._sizes)

    def sent(self, seq: int, size: int, now: float) -> None:
        """`seq` (always `next`) has been handed to the broker."""
        if not self._sizes:
            self._since = now
        self._sizes.append((seq, size))
        self._bytes += size
        self.next = seq + 1

    def confirmed(self, base: int, now: float) -> None:
        """Everything below `base` is settled."""
        if base <= self.base:
            return
        self.base, self._since, self._patience, self._probing = base, now, self.patience_s, False
        while self._sizes and self._sizes[0][0] < base:
            self._bytes -= self._sizes.popleft()[1]
        self.next = max(self.next, base)

    def asked_again(self, seq: int, now: float) -> bool:
        """The far side needs `seq` next. False if we have just gone back there: its word crossed ours."""
        before, when = self._rewound
        if seq >= self.next or (seq == before and now - when < SAME_REWIND_S):
            return False
        self._probing = False
        self.rewind(seq, now)
        return True

    def rewind(self, seq: int, now: float) -> None:
        """Send again from `seq` on."""
        while self._sizes and self._sizes[-1][0] >= seq:
            self._bytes -= self._sizes.pop()[1]
        self.next, self._since, self._rewound = max(seq, self.base), now, (seq, now)

    def overdue(self, now: float) -> bool:
        """Whether something is unconfirmed for too long; asks for more patience next time."""
        if not self._sizes or now - self._since < self._patience:
            return False
        self._probing = self._patience > self.patience_s
        self._patience = min(self._patience * 2, PATIENCE_MOST_S)
        return True


QUICK_S, SLOW_S = 0.25, 1.0
"""A burst that takes less than the one may be twice as big, one that takes longer than the other half as big."""
BURST, BURST_LEAST = 65_536, 16_384


@dataclass(slots=True)
class Ration:
    """Bursts with rests between: of the time on the line a backlog takes `share`, and each burst about a second.

    So the line needs no measuring: how long the broker took to acknowledge a burst is what it costs. What is live
    waits for the rest of a burst at the most.
    """

    share: float
    most: int = 4 << 20
    burst: int = BURST
    _left: int = BURST
    _began: float = 0.0
    _until: float = 0.0

    def room(self, now: float) -> int:
        """Bytes that may be sent now; the last message may go beyond."""
        return self._left if now >= self._until else 0

    def sent(self, size: int, now: float) -> None:
        if self._left == self.burst:
            self._began = now
        self._left = max(self._left - size, 0)

    def arrived(self, now: float) -> None:
        """Everything of the burst has been acknowledged."""
        if self._left == self.burst:
            return
        took = max(now - self._began, 0.0)
        self._until = now + took * (1 / self.share - 1)
        if took < QUICK_S:
            self.burst = min(self.burst * 2, self.most)
        elif took > SLOW_S:
            self.burst = max(self.burst // 2, BURST_LEAST)
        self._left = self.burst

    def reset(self) -> None:
        """The connection is new: what was under way is sent again."""
        self._left, self._until = self.burst, 0.0
