"""Rows about size: what more leases, more streams and more workers cost."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from . import servers
from .arithmetic import REPETITIONS, alternately, at_least, at_most, figure_of
from .direct import call, grant, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .arithmetic import Figure

SECONDS = 1.5
FEW, MANY = 1_000, 100_000
FIRST = 1_000
STREAMS = 4_000
CORES_FOR_TWO = 4
"""Two for the workers, one for the store, one for the load."""


def acquire_beside_many(directory: Path) -> Figure:
    """The 99th percentile of acquire in an organization of many leases, and in one of few."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(
            servers.daemon(directory / "daemon", store_socket, orgs=("few", "many"))
        )
        grant(store_socket, range(FIRST, FIRST + FEW), org="few")
        grant(store_socket, range(FIRST, FIRST + MANY), org="many")

        def p99(org: str) -> Callable[[], float]:
            load = stack.enter_context(
                servers.load(
                    directory,
                    kind="acquire-release",
                    connections=8,
                    port=daemon.port,
                    key=daemon.key(org),
                    license="kre",
                )
            )
            return lambda: load.run(SECONDS)["p99"] * 1000

        many, few = alternately(REPETITIONS, p99("many"), p99("few"))
    name = f"acquire p99 with {MANY:,} live leases"
    return figure_of(name, f"with {FEW:,}", many, few, at_most(1.5), "ms")


def bytes_per_lease(directory: Path) -> Figure:
    """What a live lease with 100 bytes of labels takes in the store, ten on each machine."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        per_lease = []
        before = used_memory(store_socket)
        for i in range(REPETITIONS):
            start = FIRST + i * MANY // 5
            grant(store_socket, range(start, start + MANY // 5), machines=MANY // 10)
            after = used_memory(store_socket)
            per_lease.append((after - before) / (MANY // 5))
            before = after
    # Hash tables grow by doubling: the mean over all steps, not the middle one.
    mean = [sum(per_lease) / REPETITIONS] * REPETITIONS
    limit = [450.0] * REPETITIONS
    name = "store memory of a lease, 100 bytes of labels"
    return figure_of(name, "450 bytes", mean, limit, at_most(1), "bytes")


def bytes_per_stream(directory: Path) -> Figure:
    """What an idle stream takes in the daemon."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        job = {"kind": "idle", "port": daemon.port, "key": daemon.key()}
        # What the first connections make the daemon load is not theirs.
        stack.enter_context(servers.load(directory, **job, connections=100))
        per_stream = []
        before = daemon.rss_bytes()
        for i in range(REPETITIONS):
            count = STREAMS // REPETITIONS
            stack.enter_context(servers.load(directory, **job, connections=count, network=i))
            after = daemon.rss_bytes()
            per_stream.append((after - before) / count)
            before = after
    limit = [20_000.0] * REPETITIONS
    name = "daemon memory of an idle stream"
    return figure_of(name, "20,000 bytes", per_stream, limit, at_most(1), "bytes")


def two_workers(directory: Path) -> Figure:
    """Renewals through two workers, and through one."""
    cores = os.cpu_count() or 1
    if cores < CORES_FOR_TWO:
        raise servers.Failed(f"two workers need {CORES_FOR_TWO} cores to show; here are {cores}")
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        connections = 500

        def rate(workers: int, org: str) -> Callable[[], float]:
            daemon = stack.enter_context(
                servers.daemon(
                    directory / org, store_socket, "--workers", str(workers), orgs=(org,)
                )
            )
            grant(store_socket, range(FIRST, FIRST + connections), org=org)
            load = stack.enter_context(
                servers.load(
                    directory,
                    kind="renew-stream",
                    connections=connections,
                    leases=1,
                    first=FIRST,
                    port=daemon.port,
                    key=daemon.key(org),
                )
            )

            def per_second() -> float:
                told = load.run(SECONDS)
                return told["operations"] / told["seconds"]

            return per_second

        two, one = alternately(REPETITIONS, rate(2, "two"), rate(1, "one"))
    name = "renewals, one lease a frame, two workers"
    return figure_of(name, "one worker", two, one, at_least(1.5), "renewals/s")


def used_memory(store_socket: Path) -> int:
    """What the store has allocated, in bytes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(store_socket))
        (text,) = call(sock, [pack("INFO", "memory")])
    line = next(one for one in text.splitlines() if one.startswith(b"used_memory:"))
    return int(line.partition(b":")[2])
