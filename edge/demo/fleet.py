"""Twelve vehicles on the roads of Halla, as their receivers would report them: about one fix a second each.

What is wrong with them is what is wrong with real ones: positions wander by some metres, some fixes never come,
and after a hole in the radio cover the newest fix comes first and the held ones after it.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.demo.roads import NODES, Point, distance, edges, route, to_degrees
from pipeline.message import SECOND, Clock, Fix

STEP = 0.25
"""Seconds of one step of the driving model."""
LATENESS = 15.0
"""Seconds after which no fix of an earlier event time comes any more."""
ACCELERATION = 1.5
CORNER_SPEED = 6.0
WANDER, WANDER_SECONDS, JITTER = 2.5, 30.0, 0.6


@dataclass(frozen=True, slots=True)
class Plan:
    """What one vehicle does: drive round `stops`, starting `offset` metres along the way.

    `haste` times the speed limit is what it drives; `halt` names a node where it stands for `halt_s` seconds.
    Every `gap` seconds it loses 12 s of fixes; every `hold` seconds it is out of cover for 6 s.
    """

    unit: str
    stops: tuple[str, ...]
    offset: float = 0.0
    haste: float = 0.95
    halt: str = ""
    halt_s: float = 0.0
    gap: float = math.inf
    hold: float = math.inf


TRESPASSER, DWELLER, SPEEDER = "timber-2", "tanker-1", "van-1"
PLANS = (
    Plan("timber-1", ("south cross", "west cross", "mill"), 300),
    Plan(TRESPASSER, ("pump road", "north cross", "reserve", "west cross"), 255),
    Plan("timber-3", ("south-east bend", "south cross", "east cross"), 900, gap=70),
    Plan(DWELLER, ("bypass east", "depot", "bypass west"), 175, halt="depot", halt_s=90),
    Plan("bus-1", ("west gate", "square", "east gate", "north gate"), 0, halt="square", halt_s=20),
    Plan("bus-2", ("south gate", "square", "north gate", "pump road"), 60, halt="north gate", halt_s=15, hold=40),
    Plan("bus-3", ("west end", "square", "east end"), 1500, halt="square", halt_s=20, gap=95),
    Plan("patrol-1", ("north cross", "north-east bend", "east cross", "square"), 700, hold=55),
    Plan("patrol-2", ("west cross", "south-west bend", "south cross", "mill"), 400),
    Plan("engine-1", ("north-west corner", "north-east corner", "south-east corner", "south-west corner"), 100),
    Plan(SPEEDER, ("west end", "east end"), 800, haste=1.55),
    Plan("van-2", ("east end", "bypass west", "square"), 200, gap=120),
)


def units() -> tuple[str, ...]:
    """The names of the vehicles, as they must be enrolled."""
    return tuple(plan.unit for plan in PLANS)


@dataclass(slots=True)
class Vehicle:
    """Where one vehicle truly is: on the leg from way[leg] to way[leg + 1], `along` metres from its start."""

    plan: Plan
    way: list[str]
    leg: int = 0
    along: float = 0.0
    speed: float = 0.0
    standing: float = 0.0
    error: Point = (0.0, 0.0)
    limits: dict[str, dict[str, float]] = field(default_factory=edges)

    @classmethod
    def start(cls, plan: Plan) -> Vehicle:
        """The vehicle at its offset, at driving speed."""
        vehicle = cls(plan, route(plan.stops))
        vehicle.along = plan.offset
        while vehicle.along >= vehicle.length:
            vehicle.along -= vehicle.length
            vehicle.leg = (vehicle.leg + 1) % (len(vehicle.way) - 1)
        vehicle.speed = min(vehicle.wanted(), vehicle.limit)
        return vehicle

    @property
    def ends(self) -> tuple[Point, Point]:
        return NODES[self.way[self.leg]], NODES[self.way[self.leg + 1]]

    @property
    def length(self) -> float:
        return distance(*self.ends)

    @property
    def limit(self) -> float:
        """The driver's idea of the limit, m/s."""
        return self.limits[self.way[self.leg]][self.way[self.leg + 1]] * self.plan.haste

    @property
    def heading(self) -> float:
        """Course of the leg, radians from north."""
        (x0, y0), (x1, y1) = self.ends
        return math.atan2(x1 - x0, y1 - y0)

    def wanted(self) -> float:
        """Speed to have here: the limit, but able to take the corner or the halt ahead."""
        rest = max(self.length - self.along, 0.0)
        return min(self.limit, math.sqrt(self._corner() ** 2 + 2 * ACCELERATION * rest))

    def _corner(self) -> float:
        """Speed in m/s with which the end of this leg can be passed."""
        after = (self.leg + 1) % (len(self.way) - 1)
        if self.way[self.leg + 1] == self.plan.halt:
            return 0.5
        (x0, y0), (x1, y1) = NODES[self.way[after]], NODES[self.way[after + 1]]
        turn = abs(math.remainder(math.atan2(x1 - x0, y1 - y0) - self.heading, math.tau))
        return CORNER_SPEED + (1 - min(turn, 1.0)) * 30.0 if turn < 1.0 else CORNER_SPEED

    def step(self, seconds: float) -> None:
        """Drive on."""
        if self.standing > 0:
            self.standing -= seconds
            self.speed = 0.0
            return
        change = max(min(self.wanted() - self.speed, ACCELERATION * seconds), -2 * ACCELERATION * seconds)
        self.speed = max(self.speed + change, 0.3)
        self.along += self.speed * seconds
        if self.along >= self.length:
            self._turn()

    def _turn(self) -> None:
        self.along -= self.length
        if self.way[self.leg + 1] == self.plan.halt:
            self.standing, self.along = self.plan.halt_s, 0.0
        self.leg = (self.leg + 1) % (len(self.way) - 1)

    def place(self) -> Point:
        """Plane metres."""
        (x0, y0), (x1, y1) = self.ends
        part = min(self.along / self.length, 1.0)
        return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part


def observe(vehicle: Vehicle, at: int, seconds: float, chance: random.Random) -> Fix:
    """What the receiver says at event time `at`, `seconds` after its last fix."""
    keep = math.exp(-seconds / WANDER_SECONDS)
    push = WANDER * math.sqrt(1 - keep * keep)
    ex, ey = (keep * error + chance.gauss(0, push) for error in vehicle.error)
    vehicle.error = (ex, ey)
    x, y = vehicle.place()
    lat, lon = to_degrees((x + ex + chance.gauss(0, JITTER), y + ey + chance.gauss(0, JITTER)))
    speed = max(vehicle.speed + chance.gauss(0, 0.15), 0.0) if vehicle.speed > 0 else abs(chance.gauss(0, 0.08))
    course = round(math.degrees(vehicle.heading + chance.gauss(0, 0.03)) % 360, 1) % 360
    return Fix(
        unit=vehicle.plan.unit,
        at=at,
        lat=round(lat, 7),
        lon=round(lon, 7),
        speed=round(speed, 2),
        course=course if speed > 1 else None,
        accuracy=round(max(2.0, chance.gauss(3.5, 0.7)), 1),
        clock=Clock.SYNCED,
    )


def drive(plan: Plan, start: int, seed: int) -> Iterator[tuple[float, Fix]]:
    """(seconds after `start` at which it is sent, fix) of one vehicle, ascending in the first, without end."""
    vehicle, chance = Vehicle.start(plan), random.Random(f"{seed} {plan.unit}")
    held: list[Fix] = []
    now, due = 0.0, chance.random()
    while True:
        while now < due:
            vehicle.step(STEP)
            now += STEP
        fix = observe(vehicle, start + round(now * SECOND), 1.0, chance)
        if plan.hold < now and now % plan.hold < 6:
            held.append(fix)
        elif not (plan.gap < now and now % plan.gap < 12):
            yield now, fix
            yield from ((now + 0.2, late) for late in held)
            held.clear()
        due += chance.uniform(0.95, 1.05)


def fleet(start: int, seed: int = 1) -> Iterator[tuple[float, Fix]]:
    """(seconds after `start` at which it is sent, fix) of all vehicles, ascending in the first, without end."""
    drives = [drive(plan, start, seed) for plan in PLANS]
    return heapq.merge(*(_keyed(one) for one in drives), key=lambda sent: sent[0])


def _keyed(one: Iterator[tuple[float, Fix]]) -> Iterator[tuple[float, Fix]]:
    """Held fixes leave at one moment a little after the newest; keep the stream ascending for the merge."""
    latest = 0.0
    for due, fix in one:
        latest = max(latest, due)
        yield latest, fix
