"""Which faults come when: drawn from a seed, so that a run can be had again.

The same seed, topology, length and choice of nemeses give the same plan. What the system is
doing at each moment is not the seed's: processes start and end as the machine allows.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TTL_SECONDS = 3.0
MARGIN_SECONDS = 1.0
FAILOVER_SECONDS = 1.0
"""X, for stores that are not one durable server."""

EMBEDDED, REDIS, SENTINEL, CLUSTER = "embedded", "redis", "sentinel", "cluster"
TOPOLOGIES = (EMBEDDED, REDIS, SENTINEL, CLUSTER)

FREEZES = (1.0, 0.95 * TTL_SECONDS, 1.1 * TTL_SECONDS, 3 * TTL_SECONDS)
"""A moment; just under a ttl; just over; three ttls."""

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
    """A kind of fault. ``seconds`` it may last; ``weight`` is how often it is drawn."""

    kind: str
    target: str
    seconds: Sequence[float]
    weight: int
    topologies: Sequence[str] = TOPOLOGIES


SHORT = (0.2, 0.5, 1.0, 1.4)
OUTAGES = (0.5, 1.4, 3.3, 6.0)
SERVERS = (REDIS, SENTINEL, CLUSTER)

NEMESES = (
    Nemesis("agent-kill", RUN, (0.0,), 12),
    Nemesis("agent-freeze", RUN, FREEZES, 8),
    Nemesis("leash-kill", RUN, (0.0,), 8),
    Nemesis("leash-freeze", RUN, FREEZES, 6),
    Nemesis("child-freeze", RUN, FREEZES, 2),
    Nemesis("daemon-kill", DAEMON, SHORT, 3),
    Nemesis("daemon-freeze", DAEMON, FREEZES, 3),
    Nemesis("daemon-restart", DAEMON, (0.0,), 2),
    Nemesis("wall-jump", DAEMON, OUTAGES, 3),
    Nemesis("path-cut", PATH, OUTAGES, 4),
    Nemesis("path-deaf", PATH, OUTAGES, 3),
    Nemesis("path-mute", PATH, OUTAGES, 3),
    Nemesis("path-slow", PATH, OUTAGES, 4),
    Nemesis("path-repeat", PATH, (2.0, 5.0), 5),
    Nemesis("path-reset", PATH, (0.0,), 5),
    Nemesis("quota", ADMIN, (1.0, 3.0), 4),
    Nemesis("end-session", ADMIN, (0.0,), 4),
    Nemesis("store-kill", STORE, SHORT, 3),
    Nemesis("store-freeze", STORE, FREEZES, 3),
    Nemesis("store-cut", STORE_PATH, OUTAGES, 2, (REDIS,)),
    Nemesis("store-mute", STORE_PATH, OUTAGES, 2, (REDIS,)),
    Nemesis("store-slow", STORE_PATH, OUTAGES, 2, (REDIS,)),
    Nemesis("forget", STORE, SHORT, 2, (REDIS,)),
    Nemesis("rollback", STORE, SHORT, 2, (REDIS,)),
    Nemesis("script-flush", STORE, (0.0,), 2, SERVERS),
    Nemesis("client-kill", STORE, (0.0,), 2, SERVERS),
    Nemesis("maxmemory", STORE, (0.5, 1.4, 3.3), 2, SERVERS),
    Nemesis("disk-full", STORE, SHORT, 2, (EMBEDDED, REDIS)),
    Nemesis("replica-kill", STORE, SHORT, 2, (SENTINEL, CLUSTER)),
    Nemesis("replica-freeze", STORE, FREEZES, 2, (SENTINEL, CLUSTER)),
    Nemesis("sentinel-kill", STORE, SHORT, 2, (SENTINEL,)),
    Nemesis("sentinel-freeze", STORE, FREEZES, 2, (SENTINEL,)),
    Nemesis("failover", STORE, (0.0,), 2, (SENTINEL, CLUSTER)),
    Nemesis("stale-master", STORE, (6.0,), 1, (SENTINEL,)),
)

PAIRS = 0.3
"""How often a second fault comes right after the first, while that one is under way."""
SETTLE_SECONDS = {RUN: 0.15, ADMIN: 0.4, PATH: 1.0, DAEMON: 2.5, STORE_PATH: 3.0, STORE: 4.0}
"""After a fault, time in which work goes on. Without it all would be one long outage."""


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


def draw(seed: int, seconds: float, topology: str, nemeses: Sequence[str] = ()) -> list[Step]:
    """The plan of a run of so many seconds. ``nemeses`` names kinds or targets; none is all.

    Raises ``ValueError`` when nothing fits.
    """
    able = [
        one
        for one in NEMESES
        if topology in one.topologies and (not nemeses or {one.kind, one.target} & set(nemeses))
    ]
    if not able:
        raise ValueError(f"no nemesis of {', '.join(nemeses)} for {topology}")
    chance = random.Random(f"{seed}/{topology}/plan")
    steps: list[Step] = []
    at = 1.0
    while at < seconds:
        first = _step(chance, able, at)
        steps.append(first)
        at += chance.uniform(0.05, 0.3)
        others = [one for one in able if one.target != first.target or one.target == RUN]
        if others and chance.random() < PAIRS:
            second = _step(chance, others, at)
            steps.append(second)
            at = _after(chance, first, second)
        else:
            at = _after(chance, first)
    return steps


def _step(chance: random.Random, able: Sequence[Nemesis], at: float) -> Step:
    nemesis = chance.choices(able, [one.weight for one in able])[0]
    return Step(
        round(at, 3),
        nemesis.kind,
        nemesis.target,
        round(chance.choice(nemesis.seconds), 3),
        round(chance.random(), 6),
    )


def _after(chance: random.Random, *steps: Step) -> float:
    """When the next may come. Faults of single runs overlap freely: others run on."""
    latest = max(
        step.at
        + (0.0 if step.target in (RUN, ADMIN) else step.seconds)
        + SETTLE_SECONDS[step.target]
        for step in steps
    )
    return latest + chance.uniform(0, 0.3)


def save(steps: Sequence[Step], path: Path) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(asdict(step)) + "\n" for step in steps), encoding="utf-8")
