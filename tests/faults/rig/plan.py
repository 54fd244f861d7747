"""Which faults come when: drawn from a seed, so that a run can be had again.

The same seed, topology, length and choice of nemeses give the same plan, on machines that both have
libfaketime or both lack it. What the system is doing at each moment is not the seed's: processes
start and end as the machine allows.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Durations:
    """What the product is told, in seconds. ``failover`` is X, where a store may be replaced."""

    ttl: float
    margin: float
    failover: float
    max_ttl: float

    @property
    def scale(self) -> float:
        """How much longer than with the short ones whatever depends on the ttl takes."""
        return self.ttl / SHORT.ttl


SHORT = Durations(ttl=3.0, margin=1.0, failover=1.0, max_ttl=3.0)
"""So short that much happens."""
PRODUCTION = Durations(ttl=30.0, margin=3.0, failover=10.0, max_ttl=60.0)
"""As the product comes."""

EMBEDDED, REDIS, SENTINEL, CLUSTER = "embedded", "redis", "sentinel", "cluster"
TOPOLOGIES = (EMBEDDED, REDIS, SENTINEL, CLUSTER)

# Who is hit. ``run`` is one of the runs under way, ``path`` the proxy in front of a daemon,
# ``store-path`` the one between a daemon and its store.
RUN, DAEMON, PATH, STORE, STORE_PATH, ADMIN = (
    "run",
    "daemon",
    "path",
    "store",
    "store-path",
    "admin",
)


@dataclass(frozen=True, slots=True)
class Nemesis:
    """A kind of fault. It lasts one of ``seconds``, or of ``ttls``; ``weight`` is how often."""

    kind: str
    target: str
    weight: int
    seconds: Sequence[float] = (0.0,)
    ttls: Sequence[float] = ()
    topologies: Sequence[str] = TOPOLOGIES

    def lasts(self, ttl: float) -> list[float]:
        """Seconds to choose from."""
        return [one * ttl for one in self.ttls] or list(self.seconds)


FREEZES = (1 / 3, 0.95, 1.1, 3.0)
"""In ttls: a moment; just under one; just over; three."""
OUTAGES = (1 / 6, 0.47, 1.1, 2.0)
"""In ttls: two that nobody may notice, and two that end leases."""
AWAY = (0.2, 0.5, 1.0, 1.4)
"""Seconds until a killed process is started again."""
AGES = (1 / 3, 1.4, 2.0)
"""In ttls, of the copy that a store is put back to: an offer in an older one was let pass since."""
WALL_JUMPS = (-86_400.0, -60.0, 60.0, 86_400.0)
"""Seconds, of daemons and of stores."""
SERVERS = (REDIS, SENTINEL, CLUSTER)
REPLICATED = (SENTINEL, CLUSTER)

NEMESES = (
    Nemesis("agent-kill", RUN, 12),
    Nemesis("agent-freeze", RUN, 8, ttls=FREEZES),
    Nemesis("leash-kill", RUN, 8),
    Nemesis("leash-freeze", RUN, 6, ttls=FREEZES),
    Nemesis("child-freeze", RUN, 2, ttls=FREEZES),
    Nemesis("both-kill", RUN, 1),
    Nemesis("tree-freeze", RUN, 2, ttls=FREEZES),
    Nemesis("daemon-kill", DAEMON, 3, AWAY),
    Nemesis("daemon-freeze", DAEMON, 3, ttls=FREEZES),
    Nemesis("daemon-restart", DAEMON, 2),
    Nemesis("wall-jump", DAEMON, 3, ttls=OUTAGES),
    Nemesis("clock-drift", DAEMON, 2, ttls=(1.1, 3.0)),
    Nemesis("path-cut", PATH, 4, ttls=OUTAGES),
    Nemesis("path-deaf", PATH, 3, ttls=OUTAGES),
    Nemesis("path-mute", PATH, 3, ttls=OUTAGES),
    Nemesis("path-slow", PATH, 4, ttls=OUTAGES),
    Nemesis("path-shuffle", PATH, 3, (1.0, 2.0, 5.0)),
    Nemesis("path-repeat", PATH, 5, (2.0, 5.0)),
    Nemesis("path-reset", PATH, 5),
    Nemesis("quota", ADMIN, 4, (1.0, 3.0)),
    Nemesis("machine-quota", ADMIN, 2, (1.0, 3.0, 5.0)),
    Nemesis("end-session", ADMIN, 4),
    Nemesis("store-kill", STORE, 3, AWAY),
    Nemesis("store-freeze", STORE, 3, ttls=FREEZES),
    Nemesis("store-cut", STORE_PATH, 2, ttls=OUTAGES, topologies=(REDIS,)),
    Nemesis("store-mute", STORE_PATH, 2, ttls=OUTAGES, topologies=(REDIS,)),
    Nemesis("store-slow", STORE_PATH, 2, ttls=OUTAGES, topologies=(REDIS,)),
    Nemesis("forget", STORE, 2, AWAY, topologies=(REDIS,)),
    Nemesis("rollback", STORE, 3, ttls=AGES, topologies=(REDIS,)),
    Nemesis("slow-disk", STORE, 2, ttls=OUTAGES, topologies=SERVERS),
    Nemesis("store-jump", STORE, 2, ttls=OUTAGES[2:], topologies=SERVERS),
    Nemesis("store-drift", STORE, 1, ttls=OUTAGES[2:], topologies=SERVERS),
    Nemesis("script-flush", STORE, 2, topologies=SERVERS),
    Nemesis("client-kill", STORE, 2, topologies=SERVERS),
    Nemesis("maxmemory", STORE, 2, ttls=OUTAGES[:3], topologies=SERVERS),
    Nemesis("disk-full", STORE, 2, AWAY, topologies=(EMBEDDED, REDIS)),
    Nemesis("replica-kill", STORE, 2, AWAY, topologies=REPLICATED),
    Nemesis("replica-freeze", STORE, 2, ttls=FREEZES, topologies=REPLICATED),
    Nemesis("sentinel-kill", STORE, 2, AWAY, topologies=(SENTINEL,)),
    Nemesis("sentinel-freeze", STORE, 2, ttls=FREEZES, topologies=(SENTINEL,)),
    Nemesis("failover", STORE, 2, topologies=REPLICATED),
    Nemesis("slot-move", STORE, 2, (0.1, 0.5), topologies=(CLUSTER,)),
    Nemesis("stale-master", STORE, 1, ttls=(2.0,), topologies=(SENTINEL,)),
)

STORE_CLOCKS = frozenset({"store-jump", "store-drift"})
"""What takes libfaketime."""

PAIRS = 0.3
"""How often a second fault comes right after the first, while that one is under way."""
SETTLE_SECONDS = {ADMIN: 0.4, PATH: 1.0, DAEMON: 2.5, STORE_PATH: 3.0, STORE: 4.0}
"""After a fault, time in which work goes on. Without it all would be one long outage."""
RUN_PAUSE_SECONDS = (0.3, 1.2)
"""Between faults of single runs, which come beside all others: other runs go on."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: ``at`` and ``seconds`` from the beginning; ``number`` in [0, 1) says which one."""

    at: float
    kind: str
    target: str
    seconds: float
    number: float

    def __str__(self) -> str:
        return f"{self.at:8.2f} s  {self.kind:<15} for {self.seconds:.2f} s  ({self.number:.3f})"


def draw(
    seed: int,
    seconds: float,
    topology: str,
    nemeses: Sequence[str] = (),
    *,
    durations: Durations = SHORT,
    store_clocks: bool = False,
) -> list[Step]:
    """The plan of a run of so many seconds. ``nemeses`` names kinds or targets; none is all.

    ``store_clocks`` says whether those of the stores can be moved.
    Raises ``ValueError`` when nothing fits.
    """
    able = [
        one
        for one in NEMESES
        if topology in one.topologies
        and (not nemeses or {one.kind, one.target} & set(nemeses))
        and (store_clocks or one.kind not in STORE_CLOCKS)
    ]
    if not able:
        raise ValueError(f"no nemesis of {', '.join(nemeses)} for {topology}")
    chance = random.Random(f"{seed}/{topology}/plan")
    dice = _Dice(chance, durations)
    steps = dice.runs([one for one in able if one.target == RUN], seconds)
    steps += dice.surroundings([one for one in able if one.target != RUN], seconds)
    return sorted(steps, key=lambda step: step.at)


class _Dice:
    def __init__(self, chance: random.Random, durations: Durations) -> None:
        self._chance = chance
        self._durations = durations

    def runs(self, able: Sequence[Nemesis], seconds: float) -> list[Step]:
        """What happens to single runs."""
        steps: list[Step] = []
        at = 1.0
        while able and at < seconds:
            steps.append(self._step(able, at))
            at += self._chance.uniform(*RUN_PAUSE_SECONDS) * self._durations.scale
        return steps

    def surroundings(self, able: Sequence[Nemesis], seconds: float) -> list[Step]:
        """What happens to daemons, stores, networks and quotas, alone or in pairs."""
        steps: list[Step] = []
        at = 1.0
        while able and at < seconds:
            first = self._step(able, at)
            steps.append(first)
            at += self._chance.uniform(0.05, 0.3)
            others = [one for one in able if one.target != first.target]
            if others and self._chance.random() < PAIRS:
                second = self._step(others, at)
                steps.append(second)
                at = self._after(first, second)
            else:
                at = self._after(first)
        return steps

    def _step(self, able: Sequence[Nemesis], at: float) -> Step:
        nemesis = self._chance.choices(able, [one.weight for one in able])[0]
        return Step(
            round(at, 3),
            nemesis.kind,
            nemesis.target,
            round(self._chance.choice(nemesis.lasts(self._durations.ttl)), 3),
            round(self._chance.random(), 6),
        )

    def _after(self, *steps: Step) -> float:
        """When the next may come."""
        latest = max(
            step.at
            + (0.0 if step.target == ADMIN else step.seconds)
            + SETTLE_SECONDS[step.target] * self._durations.scale
            for step in steps
        )
        return latest + self._chance.uniform(0, 0.3)


def save(steps: Sequence[Step], path: Path) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(asdict(step)) + "\n" for step in steps), encoding="utf-8")
