"""kill -9 of parts chosen by chance, at moments chosen by chance, while a recording plays."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.live.process import Server

PAUSE = (0.3, 1.7)
"""Seconds between two kills, at least and at most."""
DOWN = (0.0, 0.4)
"""Seconds that a part is away."""


@dataclass
class Toll:
    """How often each part was killed, and how often one had ended by itself and was started as systemd would."""

    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)
    """The last lines of what ended by itself."""

    def __str__(self) -> str:
        def told(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

        last = "".join(f"\n{name}: {words}" for name, words in self.words.items())
        return f"{self.killed.total()} kills: {told(self.killed)}; ended by themselves: {told(self.ended)}{last}"


def storm(victims: Mapping[str, Server], weights: Mapping[str, float], *, kills: int, seed: int) -> Toll:
    """Kill `kills` times. Nobody waits until a part is ready again: the next kill may hit it while it starts.

    `weights` say how much more or less often than others a part is chosen.
    """
    chance, toll, names = random.Random(seed), Toll(), sorted(victims)
    for _ in range(kills):
        time.sleep(chance.uniform(*PAUSE))
        restart_ended(victims, toll)
        name = chance.choices(names, [weights.get(name, 1.0) for name in names])[0]
        victims[name].kill()
        toll.killed[name] += 1
        time.sleep(chance.uniform(*DOWN))
        victims[name].begin()
    return toll


def restart_ended(victims: Mapping[str, Server], toll: Toll) -> None:
    """Start what ended by itself, as the supervisor, systemd or the container engine would."""
    for name, victim in victims.items():
        if victim.child is not None and victim.child.poll() is not None:
            toll.ended[name] += 1
            toll.words[name] = victim.told("ended by itself")[-600:]
            victim.begin()


def settle(victims: Mapping[str, Server], toll: Toll, seconds: float) -> None:
    """Until every part says that it is well, starting what has ended."""
    end = time.monotonic() + seconds
    while not all(victim.ready() for victim in victims.values()):
        assert time.monotonic() < end, f"not every part is well after {seconds:g} s; {toll}"
        restart_ended(victims, toll)
        time.sleep(0.5)
