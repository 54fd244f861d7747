"""The rig tested: each mutant is the product with one rule broken, and must be caught.

A mutant runs from a copy of the sources in which a text that stands there exactly once is replaced.
Its scenario is the shortest that needs the rule.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import plan, sources
from .clients import HABITS
from .plan import Step
from .rig import Load, Rig
from .service import judge

if TYPE_CHECKING:
    from pathlib import Path

    from .invariants import Violation
    from .plan import Durations

LUA = "daemon/src/lessor_daemon/store/lua"


def _load(
    *,
    agents: int = 1,
    clients: int = 8,
    habits: tuple[str, ...] = HABITS,
    longest_ttls: float = 4 / 3,
) -> Load:
    return Load(
        agents=agents,
        workers=1,
        clients=clients,
        fleets=0,
        habits=habits,
        longest_ttls=longest_ttls,
    )


@dataclass(frozen=True)
class Mutant:
    """``edits`` are (file, text, other text). ``caught_by``: the invariants that should see it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    caught_by: frozenset[int]
    seconds: float = 8.0
    topology: str = plan.EMBEDDED
    steps: tuple[Step, ...] = ()
    load: Load = field(default_factory=lambda: _load(agents=4, clients=16))
    durations: Durations = plan.SHORT


@dataclass(frozen=True)
class Verdict:
    """What came of one mutant. ``after`` is in seconds since the first request."""

    mutant: Mutant
    violations: list[Violation]
    after: float
    wall_seconds: float

    @property
    def is_caught(self) -> bool:
        """Whether an invariant that should see it did."""
        return bool({one.invariant for one in self.violations} & self.mutant.caught_by)


def _steps(
    kind: str, target: str, *times: float, seconds: float, number: float = 0.0
) -> list[Step]:
    return [Step(at, kind, target, seconds, number) for at in times]


SLOW_ANSWERS = 0.004
"""The number of a step that means: answers only, by 1.3 s (``Faults._slowness``). That is less than
half a ttl; a grant that is later than that is asked for again."""
UNHURRIED = replace(plan.SHORT, ttl=6.0, max_ttl=6.0)
"""Where those who hold a seat must outlast the restart of a store, also on a busy machine."""
FORGOTTEN_HOLDERS = tuple(
    one
    for at in (5.0, 17.0, 29.0)
    for one in (
        *_steps("agent-freeze", "run", *[at] * 6, seconds=9, number=0.5),
        *_steps("forget", "store", at + 0.05, seconds=0.2),
    )
)
"""Runs that are not told that the store has forgotten them, and run on to their deadline."""
FORWARD = 0.02
"""The number of a step that means: by a minute, forward."""

CLOSING = """    if isinstance(outcome, Granted):
        import asyncio

        async def release_on_close(transport=request.transport):
            while not transport.is_closing():
                await asyncio.sleep(0.02)
            await request.app[LEASING].release(caller, wanted.lease_id)

        watching = asyncio.get_running_loop().__dict__.setdefault("mutant", [])
        watching.append(asyncio.ensure_future(release_on_close()))
"""

MUTANTS = (
    Mutant(
        "one seat too many",
        (
            (
                f"{LUA}/lib/seats.lua",
                "return quota.seats - quota.offline - ",
                "return quota.seats + 1 - quota.offline - ",
            ),
        ),
        frozenset({1}),
        seconds=4,
    ),
    Mutant(
        "no tombstone",
        (
            (
                f"{LUA}/lib/lease.lua",
                "if not may_come_again then",
                "if not may_come_again and reason ~= 'released' then",
            ),
        ),
        frozenset({4}),
        seconds=6,
        load=_load(habits=("come_late",)),
    ),
    Mutant(
        "renew revives",
        (
            (
                f"{LUA}/renew.lua",
                "results[i] = ended_reason(id) or 'unknown'",
                (
                    "local why = ended_reason(id)\n    "
                    "results[i] = why == 'lapsed' and 3000 or why or 'unknown'"
                ),
            ),
        ),
        frozenset({4}),
        seconds=12,
        load=_load(habits=("abandon",)),
    ),
    Mutant(
        "barging",
        (
            (f"{LUA}/acquire.lua", "if redis.call('EXISTS', queue) == 0 then", "if true then"),
            (f"{LUA}/release.lua", "  serve_lines(clock, {lease.license})\n", ""),
        ),
        frozenset({5}),
    ),
    Mutant(
        "the last is served first",
        (
            (
                f"{LUA}/lib/line.lua",
                "redis.call('ZRANGE', key, 0, 0,",
                "redis.call('ZRANGE', key, -1, -1,",
            ),
        ),
        frozenset({5}),
    ),
    Mutant(
        "release by connection close",
        (
            (
                "daemon/src/lessor_daemon/http/leases.py",
                "    if isinstance(outcome, Granted):\n",
                CLOSING,
            ),
        ),
        frozenset({1, 7}),
        steps=tuple(_steps("path-reset", "path", 2, 4, 6, 8, seconds=0)),
        seconds=10,
    ),
    Mutant(
        "deadline counted from the reply",
        (
            (
                "protocol/src/lessor_protocol/lease.py",
                "deadline_ms = state.sent_ms + ttl_ms",
                "deadline_ms = now_ms + ttl_ms",
            ),
        ),
        frozenset({1, 2}),
        steps=tuple(_steps("path-slow", "path", 2, seconds=14, number=SLOW_ANSWERS)),
        seconds=18,
        load=_load(agents=10, clients=2),
    ),
    Mutant(
        "the leash knows no deadline",
        (
            (
                "client/src/lessor/agent/watch.py",
                "        if self._enforce:\n",
                "        if False:\n",
            ),
        ),
        frozenset({2}),
        steps=tuple(
            one
            for i in range(10)
            for one in _steps("agent-freeze", "run", 2 + i, seconds=6, number=0.1 * i)
        ),
        seconds=18,
        # Those that are frozen must want to run on past their deadline.
        load=_load(agents=10, clients=2, longest_ttls=4),
    ),
    Mutant(
        "wall clock",
        (
            (
                "daemon/src/lessor_daemon/times.py",
                "return time.clock_gettime_ns(_BOOTTIME) // 1_000_000",
                "return time.time_ns() // 1_000_000",
            ),
        ),
        frozenset({7, 9}),
        steps=tuple(
            _steps("wall-jump", "daemon", *(2 + i for i in range(20)), seconds=0.5, number=FORWARD)
        ),
        seconds=24,
    ),
    Mutant(
        "clock cap in the script instead of the claim",
        (
            (
                "daemon/src/lessor_daemon/leasing/clock.py",
                "self.seen_ms + min(now_ms - self.received_ms, CLOCK_CLAIM_CAP_MS)",
                "self.seen_ms + (now_ms - self.received_ms)",
            ),
            (
                f"{LUA}/lib/clock.lua",
                "clock.now = tonumber(claim)\n",
                "clock.now = math.min(tonumber(claim), clock.now + 2000)\n",
            ),
        ),
        frozenset({1, 9}),
        topology=plan.REDIS,
        # Both daemons at once, so long that many scripts in a row are needed to catch up.
        steps=tuple(
            one
            for at in (2.0, 38.0)
            for one in (
                *_steps("store-cut", "store-path", at, seconds=32),
                *_steps("store-cut", "store-path", at + 0.05, seconds=32, number=0.5),
            )
        ),
        seconds=73,
        load=_load(agents=8, clients=24),
    ),
    Mutant(
        "no grace",
        (
            (
                f"{LUA}/lib/clock.lua",
                "clock.grace_until = clock.now + clock.recovery",
                "clock.grace_until = 0",
            ),
        ),
        frozenset({1}),
        topology=plan.REDIS,
        steps=FORGOTTEN_HOLDERS,
        seconds=38,
        load=_load(agents=18, clients=12, longest_ttls=3),
        durations=UNHURRIED,
    ),
    Mutant(
        "grace too short",
        (
            (
                f"{LUA}/lib/clock.lua",
                "clock.grace_until = clock.now + clock.recovery",
                "clock.grace_until = clock.now + clock.recovery / 10",
            ),
        ),
        frozenset({1}),
        topology=plan.REDIS,
        steps=FORGOTTEN_HOLDERS,
        seconds=38,
        load=_load(agents=18, clients=12, longest_ttls=3),
        durations=UNHURRIED,
    ),
    Mutant(
        "a known lease answered in grace",
        (
            (
                f"{LUA}/acquire.lua",
                "if clock.recovering then\n",
                "if clock.recovering and not find_lease(id) then\n",
            ),
        ),
        frozenset({4}),
        topology=plan.REDIS,
        steps=tuple(_steps("rollback", "store", 3, 14, 25, seconds=0.2)),
        seconds=32,
        load=_load(clients=12, habits=("come_late",)),
    ),
    Mutant(
        "an offer outlasts a recovery",
        (
            (
                f"{LUA}/lib/line.lua",
                (
                    "  end_lease(clock, id, lease, 'unclaimed')\n"
                    "  return_to_line(id)\n"
                    "  local waiter = read_waiter(id)\n"
                    "  if waiter then join_line(clock, id, waiter) end\n"
                ),
                "  redis.call('ZADD', LEASES, 'XX', 'GT', clock.grace_until + OFFER_MS, id)\n",
            ),
        ),
        frozenset({1, 3}),
        topology=plan.REDIS,
        steps=tuple(_steps("rollback", "store", 8, 28, 48, 68, seconds=4.2)),
        seconds=84,
        # Seats of those who stay are free now and then, and all are taken when a grace is over.
        load=_load(agents=24, clients=24, habits=("doze",), longest_ttls=12),
    ),
)


def make_sources(mutant: Mutant, directory: Path) -> tuple[Path, ...]:
    """A copy of the sources with the rule broken. Raises ``ValueError`` where a text has moved."""
    found = sources.copy(directory)
    for name, text, other in mutant.edits:
        path = directory / name
        content = path.read_text(encoding="utf-8")
        if content.count(text) != 1:
            raise ValueError(f"{name} has {text!r} {content.count(text)} times")
        path.write_text(content.replace(text, other), encoding="utf-8")
    return found


def try_out(mutant: Mutant, directory: Path, *, seed: int = 1) -> Verdict:
    """Run its scenario and judge."""
    began = time.monotonic()
    broken = make_sources(mutant, directory / "sources")
    site = directory / "site"
    site.mkdir()
    rig = Rig(
        *(site, mutant.topology, mutant.steps),
        seconds=mutant.seconds,
        seed=seed,
        load=mutant.load,
        durations=mutant.durations,
        sources=broken,
    )
    history = rig.run()
    violations = judge(history)
    first = min((one.sent for one in history.asked), default=0.0)
    seen = [one.at for one in violations if one.invariant in mutant.caught_by and one.at]
    after = min(seen) - first if seen else 0.0
    return Verdict(mutant, violations, after, time.monotonic() - began)


def table(verdicts: list[Verdict]) -> str:
    """Markdown: each mutant, what saw it, and when."""
    lines = ["| mutant | caught | by invariants | after |", "| --- | --- | --- | ---: |"]
    for one in verdicts:
        seen = ", ".join(f"({n})" for n in sorted({v.invariant for v in one.violations}))
        caught = "yes" if one.is_caught else "**no**"
        lines.append(f"| {one.mutant.name} | {caught} | {seen or 'none'} | {one.after:.1f} s |")
    return "\n".join(lines) + "\n"
