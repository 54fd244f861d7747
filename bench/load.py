"""The load generator: ``python -m bench.load JOB``, a process of its own.

JOB is JSON (see ``make``). It connects, says ``ready``, and for each line ``SECONDS`` on stdin runs
for so long and answers with one line of JSON: operations, seconds, and the times of single answers.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from lessor_protocol import codec

from . import wire
from .arithmetic import percentile
from .connections import (
    AcquireReleaseStream,
    Http,
    Redis,
    RenewStream,
    WrongAnswer,
    connect,
)
from .direct import Commands
from .paced import Paced
from .waiters import Idle, Line, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .connections import Connection

READ_BYTES = 256 * 1024


class Load(Protocol):
    """Something that can be run for a while, again and again."""

    def run(self, seconds: float) -> dict[str, float]: ...


class ClosedLoop:
    """Each connection sends its next request when the last one is answered."""

    def __init__(self, connections: list[Connection]) -> None:
        self.connections = connections

    def run(self, seconds: float) -> dict[str, float]:
        """Load for ``seconds``, then wait for what is under way."""
        poll = select.epoll()
        by_fd = {one.sock.fileno(): one for one in self.connections}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        now = time.perf_counter
        began = now()
        until = began + seconds
        operations = 0
        times: list[float] = []
        for one in self.connections:
            one.started = now()
            one.sock.sendall(one.next_request())
        under_way = len(by_fd)
        while under_way:
            for fd, _ in poll.poll(10):
                one = by_fd[fd]
                data = one.sock.recv(READ_BYTES)
                if not data:
                    raise WrongAnswer("the server closed the connection")
                if not one.feed(data):
                    continue
                moment = now()
                if one.counted:
                    times.append(moment - one.started)
                    operations += one.worth
                if moment >= until and one.at_rest:
                    under_way -= 1
                else:
                    one.started = moment
                    one.sock.sendall(one.next_request())
        return summary(operations, now() - began, times)


def summary(operations: int, seconds: float, times: list[float]) -> dict[str, float]:
    """What is told of one run."""
    return {
        "operations": operations,
        "seconds": seconds,
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "most": max(times),
    }


def make(job: dict[str, Any]) -> Load:
    """The load that ``job`` names by its ``kind``."""
    kind = job["kind"]
    others: dict[str, Callable[[dict[str, Any]], Load]] = {
        "paced": Paced,
        "wait": Line,
        "wait-idle": Idle,
        "tokens": Tokens,
    }
    other = others.get(kind)
    if other is not None:
        return other(job)
    makers: dict[str, Callable[[dict[str, Any], int], Connection]] = {
        "renew-stream": _renew_stream,
        "idle": _idle,
        "renew-http": _renew_http,
        "acquire-release": _acquire_release,
        "scripts": _scripts,
        "etcd": _etcd,
    }
    return ClosedLoop([makers[kind](job, i) for i in range(job["connections"])])


def _ids(job: dict[str, Any], i: int) -> list[bytes]:
    first = job["first"] + i * job["leases"]
    return [wire.lease_id(number) for number in range(first, first + job["leases"])]


def _renew_stream(job: dict[str, Any], i: int) -> Connection:
    sock = connect(wire.HOST, job["port"])
    is_echo = job.get("echo", False)
    return RenewStream(sock, "/v1/stream", job["key"], _ids(job, i), is_echo=is_echo)


def _idle(job: dict[str, Any], i: int) -> Connection:
    # Connections beyond what one address has ports for come from others of 127.0.0.0/8.
    sock = connect(wire.HOST, job["port"], f"127.0.{1 + job.get('network', 0)}.{1 + i // 10_000}")
    return RenewStream(sock, "/v1/stream", job["key"], [wire.lease_id(1)], is_echo=True)


def _renew_http(job: dict[str, Any], i: int) -> Connection:
    sock = connect(wire.HOST, job["port"])
    wanted = b"leases" if job.get("echo") else b"renewed"
    if "keys" in job:  # an organization for each key, with one lease of its own
        i %= len(job["keys"])
        return Http(sock, wire.renew_request(_ids(job, i), job["keys"][i]), wanted)
    return Http(sock, wire.renew_request(_ids(job, i), job["key"]), wanted)


def _acquire_release(job: dict[str, Any], i: int) -> Connection:
    sock = connect(wire.HOST, job["port"])
    numbers = _own_numbers(i)
    return AcquireReleaseStream(sock, "/v1/stream", job["key"], job["license"], numbers)


def _own_numbers(i: int) -> Iterator[int]:
    """Numbers of leases that nobody else has had, in this run or an earlier one."""
    start = int.from_bytes(os.urandom(6), "big") << 48
    return itertools.count(start + (i << 36))


def _scripts(job: dict[str, Any], i: int) -> Connection:
    commands = Commands(job["org"], job.get("license", "kre"))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(job["socket"])
    commands.load(sock)
    depth = job["depth"]
    if job["script"] == "renew":
        first = job["first"] + i * job["leases"]
        one = b"".join([commands.renew(range(first, first + job["leases"]))] * depth)
        return Redis(sock, itertools.repeat(one), depth, depth * job["leases"])

    def pairs() -> Iterator[bytes]:
        numbers = _own_numbers(i)
        while True:
            a_round = list(itertools.islice(numbers, depth))
            yield b"".join(
                [commands.acquire(one) for one in a_round]
                + [commands.release(one) for one in a_round]
            )

    return Redis(sock, pairs(), 2 * depth, depth)


def _etcd(job: dict[str, Any], _i: int) -> Connection:
    """Keeps a lease of its own alive through the HTTP gateway."""
    sock = connect(wire.HOST, job["port"])

    def request(path: str, body: dict[str, object]) -> bytes:
        packed = codec.encode(body, codec.JSON)
        return wire.http_request("POST", path, packed, key="", media_type=codec.JSON)

    granted: dict[str, Any] = {}
    until = time.monotonic() + 20
    while "ID" not in granted and time.monotonic() < until:  # at first it has no leader
        sock.sendall(request("/v3/lease/grant", {"TTL": 30}))
        data = b""
        while (found := wire.split_answer(data)) is None:
            data += sock.recv(READ_BYTES)
        granted = json.loads(found[1])
    keep_alive = request("/v3/lease/keepalive", {"ID": granted["ID"]})
    return Http(sock, keep_alive, b'"TTL"')


def main() -> None:
    """Serve one parent over stdin and stdout."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = make(json.loads(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        cpu = time.process_time()
        result = load.run(float(line))
        result["cpu"] = time.process_time() - cpu
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
