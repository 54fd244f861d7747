"""The rows: what is measured, beside what, and how far it should reach."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import light, line, servers, size
from .arithmetic import REPETITIONS, alternately, at_least, at_most, figure_of
from .direct import grant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .arithmetic import Figure, Reach

SECONDS = 1.5
"""Of load per measurement."""
FIRST = 1_000


@dataclass(frozen=True)
class Row:
    """One row. ``measure`` makes its figure in an empty directory."""

    name: str
    measure: Callable[[Path], Figure]


def _rate(load: servers.Load) -> Callable[[], float]:
    def per_second() -> float:
        told = load.run(SECONDS)
        return told["operations"] / told["seconds"]

    return per_second


def renewals_against_echo(
    directory: Path, *, name: str, kind: str, connections: int, reach: Reach
) -> Figure:
    """One-lease renewals beside the same aiohttp stack that only echoes them."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        _, echo_port = stack.enter_context(servers.echo(directory))
        grant(store_socket, range(FIRST, FIRST + connections))
        job = {"kind": kind, "connections": connections, "leases": 1, "first": FIRST}
        ours = stack.enter_context(
            servers.load(directory, **job, port=daemon.port, key=daemon.key())
        )
        theirs = stack.enter_context(
            servers.load(directory, **job, port=echo_port, key=daemon.key(), echo=True)
        )
        rates, echoes = alternately(REPETITIONS, _rate(ours), _rate(theirs))
    return figure_of(name, "the same stack, echoing", rates, echoes, reach, "renewals/s")


def renewals_in_frames(directory: Path) -> Figure:
    """Renewals of 100 leases a frame beside the renew script called directly with 100 ids."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        connections, leases = 16, 100
        grant(store_socket, range(FIRST, FIRST + connections * leases))
        job = {"connections": connections, "leases": leases, "first": FIRST}
        ours = stack.enter_context(
            servers.load(directory, **job, kind="renew-stream", port=daemon.port, key=daemon.key())
        )
        theirs = stack.enter_context(
            servers.load(
                directory,
                **{**job, "connections": 4},
                kind="scripts",
                script="renew",
                depth=1,
                org="bench",
                socket=str(store_socket),
            )
        )
        rates, direct = alternately(REPETITIONS, _rate(ours), _rate(theirs))
    name = "renewals, 100 leases a frame"
    return figure_of(name, "the renew script, 100 ids", rates, direct, at_least(0.5), "renewals/s")


def acquire_and_release(directory: Path) -> Figure:
    """Acquire and release over the stream beside the two scripts called directly, pipelined."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        ours = stack.enter_context(
            servers.load(
                directory,
                kind="acquire-release",
                connections=64,
                port=daemon.port,
                key=daemon.key(),
                license="kre",
            )
        )
        theirs = stack.enter_context(
            servers.load(
                directory,
                kind="scripts",
                script="acquire",
                connections=1,
                depth=50,
                org="bench",
                socket=str(store_socket),
            )
        )
        rates, direct = alternately(REPETITIONS, _rate(ours), _rate(theirs))
    name = "acquire + release over the stream"
    return figure_of(name, "the two scripts, pipelined", rates, direct, at_least(0.3), "pairs/s")


def renewals_on_time(directory: Path) -> Figure:
    """How late renewals are answered: 20,000 leases of ttl 30 s over 2,000 connections."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        connections, leases = 2_000, 10
        grant(store_socket, range(FIRST, FIRST + connections * leases))
        load = stack.enter_context(
            servers.load(
                directory,
                kind="paced",
                connections=connections,
                leases=leases,
                first=FIRST,
                every=7.5,
                port=daemon.port,
                key=daemon.key(),
            )
        )
        load.run(SECONDS)  # what all connections cost at first is not counted
        p99 = [load.run(2 * SECONDS)["p99"] * 1000 for _ in range(REPETITIONS)]
    limit = [100.0] * REPETITIONS
    name = "renew p99, 20,000 leases, 2,000 connections"
    return figure_of(name, "100 ms", p99, limit, at_most(1), "ms")


def renewals_against_etcd(directory: Path, *, kind: str, connections: int, reach: Reach) -> Figure:
    """Renewals beside etcd's keep-alive over its HTTP gateway, on as many connections."""
    with ExitStack() as stack:
        etcd_port = stack.enter_context(servers.etcd(directory))
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        grant(store_socket, range(FIRST, FIRST + connections))
        job = {"connections": connections, "leases": 1, "first": FIRST}
        ours = stack.enter_context(
            servers.load(directory, **job, kind=kind, port=daemon.port, key=daemon.key())
        )
        theirs = stack.enter_context(servers.load(directory, **job, kind="etcd", port=etcd_port))
        rates, keep_alives = alternately(REPETITIONS, _rate(ours), _rate(theirs))
    way = "HTTP" if kind == "renew-http" else "the stream"
    name = f"renewals over {way}, {connections} connections"
    return figure_of(name, "etcd, HTTP gateway", rates, keep_alives, reach, "renewals/s")


ROWS = (
    Row(
        "renew-stream",
        lambda directory: renewals_against_echo(
            directory,
            name="renewals, one lease a frame, 500 connections",
            kind="renew-stream",
            connections=500,
            reach=at_least(0.65),
        ),
    ),
    Row("renew-frames", renewals_in_frames),
    Row(
        "renew-http",
        lambda directory: renewals_against_echo(
            directory,
            name="renewals over HTTP, 64 connections",
            kind="renew-http",
            connections=64,
            reach=at_least(0.65),
        ),
    ),
    Row("acquire", acquire_and_release),
    Row("acquire-p99", size.acquire_beside_many),
    Row("renew-p99", renewals_on_time),
    Row("lease-memory", size.bytes_per_lease),
    Row("stream-memory", size.bytes_per_stream),
    Row("workers", size.two_workers),
    Row(
        "etcd-http",
        lambda directory: renewals_against_etcd(
            directory, kind="renew-http", connections=64, reach=at_least(0.9)
        ),
    ),
    Row(
        "etcd-stream",
        lambda directory: renewals_against_etcd(
            directory, kind="renew-stream", connections=500, reach=at_least(3)
        ),
    ),
    Row("line-p50", lambda directory: line.wait(directory, share="p50", limit_ms=10)),
    Row("line-p99", lambda directory: line.wait(directory, share="p99", limit_ms=50)),
    Row("line-tokens", line.wait_beside_tokens),
    Row("line-npm", line.wait_beside_redis_semaphore),
    Row("line-growth", line.a_long_line),
    Row("line-idle", line.an_idle_line),
    Row("run-wall", lambda directory: light.wall(directory, over_tls=False)),
    Row("run-memory", lambda directory: light.memory(directory, over_tls=False)),
    Row("run-wall-tls", lambda directory: light.wall(directory, over_tls=True)),
    Row("run-memory-tls", lambda directory: light.memory(directory, over_tls=True)),
)
