"""How things grow: ``python -m bench.growth [leases|organizations|connections]``.

Tables for ``docs/performance.md``. It takes some minutes and a few GB of memory, so it is no part
of ``make bench``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from . import servers
from .direct import grant
from .size import used_memory

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 1_000
REPETITIONS = 5
SECONDS = 1.5


def leases(directory: Path) -> None:
    """The store with more and more live leases."""
    print("live leases | bytes a lease | acquire + release, ms | renewal, of 100 in a call, ms")
    with ExitStack() as stack:
        process, store_socket = stack.enter_context(servers.store(directory / "store"))
        stack.enter_context(servers.daemon(directory / "daemon", store_socket)).end()
        made = taken = 0
        for wanted in (1_000, 10_000, 100_000, 1_000_000):
            # One seat stays free for the pairs that are measured.
            number = min(wanted, 999_000)
            # Only around the grants: the spent ids that the measured pairs leave do not count.
            before = used_memory(store_socket)
            grant(store_socket, range(FIRST + made, FIRST + number), machines=number // 10)
            taken += used_memory(store_socket) - before
            made = number
            size = taken / made
            pair = _cpu_ms(process, store_socket, directory, script="acquire")
            renewal = _cpu_ms(process, store_socket, directory, script="renew")
            print(f"{made:>11,} | {size:13,.0f} | {pair:21.4f} | {renewal:.5f}", flush=True)


def _cpu_ms(process: servers.Process, store_socket: Path, directory: Path, *, script: str) -> float:
    """Processor time of the store for one operation: what else the machine does does not count."""
    job = {"org": "bench", "socket": str(store_socket), "connections": 2, "depth": 8}
    with servers.load(directory, kind="scripts", script=script, leases=100, first=FIRST, **job) as (
        load
    ):
        load.run(0.3)
        found = []
        for _ in range(REPETITIONS):
            before = process.cpu_seconds()
            told = load.run(SECONDS)
            used = process.cpu_seconds() - before
            found.append(used / told["operations"] * 1000)
    return statistics.median(found)


def organizations(directory: Path) -> None:
    """A daemon with more and more organizations, each with one live lease."""
    print("organizations | idle, % of a core (daemon, store) | renewals/s over HTTP")
    for count in (1, 10, 100, 1_000):
        orgs = [f"org-{i}" for i in range(count)]
        with ExitStack() as stack:
            here = directory / f"{count}"
            here.mkdir()
            process, store_socket = stack.enter_context(servers.store(here / "store"))
            daemon = stack.enter_context(servers.daemon(here / "daemon", store_socket, orgs=orgs))
            for i, org in enumerate(orgs):
                grant(store_socket, range(FIRST + i, FIRST + i + 1), org=org)
            time.sleep(12)  # the daemon has found them all, and ticks
            began, mine, its = time.monotonic(), daemon.cpu_seconds(), process.cpu_seconds()
            time.sleep(5)
            took = time.monotonic() - began
            idle = [
                100 * (after - before) / took
                for before, after in ((mine, daemon.cpu_seconds()), (its, process.cpu_seconds()))
            ]
            keys = [daemon.key(org) for org in orgs]
            load = stack.enter_context(
                servers.load(
                    here,
                    kind="renew-http",
                    keys=keys,
                    connections=max(64, count),
                    leases=1,
                    first=FIRST,
                    port=daemon.port,
                )
            )
            load.run(SECONDS)
            told = [load.run(SECONDS) for _ in range(REPETITIONS)]
            rate = statistics.median(one["operations"] / one["seconds"] for one in told)
            print(
                f"{count:13,} | {idle[0]:.1f}, {idle[1]:.1f} | {rate:,.0f}",
                flush=True,
            )


def connections(directory: Path) -> None:
    """Renewals of one lease a connection, every 7.5 s, over more and more streams."""
    print("streams | daemon, kB a stream | renewals/s | p50, p99 in ms | daemon, µs a renewal")
    for count in (100, 1_000, 5_000, 15_000):
        with ExitStack() as stack:
            here = directory / f"{count}"
            here.mkdir()
            _, store_socket = stack.enter_context(servers.store(here / "store"))
            daemon = stack.enter_context(servers.daemon(here / "daemon", store_socket))
            grant(store_socket, range(FIRST, FIRST + count))
            before = daemon.rss_bytes()
            load = stack.enter_context(
                servers.load(
                    here,
                    kind="paced",
                    connections=count,
                    leases=1,
                    first=FIRST,
                    every=7.5,
                    port=daemon.port,
                    key=daemon.key(),
                )
            )
            size = (daemon.rss_bytes() - before) / count / 1000
            load.run(2)
            cpu = daemon.cpu_seconds()
            told = [load.run(4) for _ in range(REPETITIONS)]
            cpu = daemon.cpu_seconds() - cpu
            p50, p99 = (
                statistics.median(one[name] * 1000 for one in told) for name in ("p50", "p99")
            )
            sent = sum(one["operations"] for one in told)
            rate = sent / sum(one["seconds"] for one in told)
            print(
                f"{count:7,} | {size:19.1f} | {rate:10,.0f} | {p50:.1f}, {p99:.1f} | "
                f"{cpu / sent * 1e6:.0f}",
                flush=True,
            )


TABLES: dict[str, Callable[[Path], None]] = {
    "leases": leases,
    "organizations": organizations,
    "connections": connections,
}


def main() -> None:
    """All tables, or those that are named."""
    for name in sys.argv[1:] or TABLES:
        print(f"\n{name}")
        with tempfile.TemporaryDirectory(prefix="lessor-growth-") as directory:
            TABLES[name](Path(directory))


if __name__ == "__main__":
    main()
