"""What a run of the rig wrote down: by the processes that ran and the clients that asked.

Nothing that is judged comes from a store: ``outages`` and ``readings`` are for figures. All times
are seconds of ``CLOCK_BOOTTIME``, which every process of a machine shares.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Verbs.
ACQUIRE = "acquire"
RENEW = "renew"
RELEASE = "release"
LOOK = "look"

# Outcomes. Any other is the code of a problem; '' means that no answer came.
GRANTED = "granted"
QUEUED = "queued"
RENEWED = "renewed"
RELEASED = "released"
PRESENT = "present"
ABSENT = "absent"
LOST = "lost"
RECOVERING = "recovering"
UNANSWERED = ""

KEPT_GOING = frozenset({GRANTED, RENEWED})
"""What moves a deadline."""

# Faults after which the store may have forgotten what it had answered.
FORGETFUL = frozenset(
    {"forget", "rollback", "store-kill", "store-freeze", "disk-full", "failover", "stale-master"}
)


SETTINGS = ("ttl", "margin", "recovery", "caps", "topology")
RECORDS = ("ran", "asked", "faults", "limits", "rest", "outages", "readings", "stalls")
NOTHING_DONE = ("nobody", "nothing", "no ", "it was not", "it had gone")
"""How the note of a fault begins that found nobody to hit."""


def now() -> float:
    """The time of all histories."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Ran:
    """Something that used a seat: all processes of one lease, or a virtual client that held it.

    ``seats`` is how many it held at once, ``team`` the group it belongs to. ``touched`` names what
    a fault did to its agent, its leash or itself. ``how`` is ``done``, ``lost``, or what else ended
    it.
    """

    lease: str
    license: str
    machine: str
    token: int
    began: float
    ended: float
    is_process: bool = True
    how: str = "done"
    touched: tuple[str, ...] = ()
    seats: int = 1
    team: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its answer, as who asked saw it.

    ``sent`` is read before it is sent, ``answered`` after the answer is there (None: none came).
    For ``late`` ones nothing is asked for: they are duplicates that the network kept back.
    """

    client: str
    verb: str
    lease: str
    license: str
    machine: str
    sent: float
    answered: float | None = None
    outcome: str = UNANSWERED
    token: int = 0
    ttl: float = 0.0
    blocked_by: str = ""
    reason: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something done to the system, from ``began`` until it was undone."""

    kind: str
    target: str
    began: float
    ended: float
    note: str = ""

    @property
    def was_done(self) -> bool:
        """Whether it found something to hit."""
        return not self.note.startswith(NOTHING_DONE)


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota, from ``since`` on. ``machines`` None is unlimited.

    A raise counts from the moment it was sent, a cut from the moment it was answered.
    """

    license: str
    since: float
    seats: int
    machines: int | None


@dataclass(frozen=True, slots=True)
class Rest:
    """What was there when everybody had finished and the wait for rest was over."""

    license: str
    leases: int
    machines: int
    queue: int
    living_processes: int


@dataclass(frozen=True, slots=True)
class Outage:
    """The store took no write after ``began``, and took one again just before ``ended``."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the lease clock showed. For figures only."""

    at: float
    clock_ms: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Who only wanted to wake up at ``began`` had to wait until ``ended`` for the machine."""

    began: float
    ended: float


@dataclass(slots=True)
class History:
    """One run. ``ttl``, ``margin`` and ``recovery`` in seconds, of all licenses alike.

    ``caps`` gives, by license, a team and the most seats that it may hold.
    """

    ttl: float
    margin: float
    ran: list[Ran] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)
    caps: dict[str, tuple[str, int]] = field(default_factory=dict)
    recovery: float = 0.0
    topology: str = ""
    outages: list[Outage] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """One JSON object a line, the settings first."""
        with path.open("w", encoding="utf-8") as file:
            settings = {name: getattr(self, name) for name in SETTINGS}
            file.write(json.dumps(settings) + "\n")
            for name in RECORDS:
                for one in getattr(self, name):
                    file.write(json.dumps({name: asdict(one)}) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What ``save`` wrote."""
        types = (Ran, Asked, Fault, Limit, Rest, Outage, Reading, Stall)
        kinds: dict[str, Callable[..., object]] = dict(zip(RECORDS, types, strict=True))
        with path.open(encoding="utf-8") as file:
            settings = json.loads(next(file))
            settings["caps"] = {name: tuple(cap) for name, cap in settings["caps"].items()}
            found = cls(**settings)
            for line in file:
                ((name, fields),) = json.loads(line).items()
                if name == "ran":
                    fields["touched"] = tuple(fields["touched"])
                getattr(found, name).append(kinds[name](**fields))
        return found

    def by_lease(self) -> dict[str, list[Asked]]:
        """The requests for each lease, in the order they were sent."""
        found: dict[str, list[Asked]] = {}
        for one in sorted(self.asked, key=lambda asked: asked.sent):
            found.setdefault(one.lease, []).append(one)
        return found

    def forgot_between(self, began: float, ended: float) -> bool:
        """Whether the store may have forgotten something then."""
        return any(
            fault.kind in FORGETFUL and fault.began <= ended and fault.ended >= began
            for fault in self.faults
        )

    def stalled_between(self, began: float, ended: float) -> float:
        """Seconds of the machine's longest stall that touches this time."""
        touching = (one for one in self.stalls if one.began <= ended and one.ended >= began)
        return max((one.ended - one.began for one in touching), default=0.0)

    def disturbed_between(self, began: float, ended: float) -> bool:
        """Whether a fault was under way then that others than a single run could notice."""
        return any(
            fault.began <= ended and fault.ended >= began and fault.target != "run"
            for fault in self.faults
        )


class Beats:
    """When renewals came through on the watched paths: probes renew all the time, on each.

    A path is disturbed from one renewal that was answered to the next one.
    """

    def __init__(self, history: History, prefix: str = "probe") -> None:
        paths: dict[str, list[float]] = {}
        for one in history.asked:
            if one.client.startswith(prefix) and one.outcome in KEPT_GOING:
                paths.setdefault(one.client, []).append(one.sent)
        self._paths = [sorted(times) for times in paths.values()]

    def longest_gap(self, began: float, ended: float) -> float:
        """Seconds of the longest disturbance that touches this time, on the worst path."""
        return max((_longest_gap(times, began, ended) for times in self._paths), default=0.0)


def _longest_gap(times: list[float], began: float, ended: float) -> float:
    first = max(0, bisect_left(times, began) - 1)
    last = min(len(times) - 1, bisect_left(times, ended))
    edges = times[first : last + 1]
    if not edges:
        return ended - began
    # Before the first and after the last beat nobody was watching.
    edges = [min(edges[0], began), *edges, max(edges[-1], ended)]
    return max(after - before for before, after in pairwise(edges))
