"""Waiters for one seat: Lessor's line over HTTP, and beside it a lock that each waiter polls.

The seat is given back the moment it is got. What is measured is the time from there, just before
the release is sent, until the next waiter knows that it has the seat.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import hiredis
from lessor_protocol import codec
from lessor_protocol.lease_id import format_lease_id

from . import wire
from .arithmetic import percentile
from .connections import WrongAnswer, connect
from .direct import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 0.1
"""How often a waiter of the peer asks: the default of the lock of Python's Redis client."""
READ_BYTES = 64 * 1024


class _Waiter:
    """One connection that acquires with a held call, releases at once, and waits again."""

    def __init__(self, sock: socket.socket, key: str, numbers: Iterator[int]) -> None:
        self.sock = sock
        self._key = key
        self._numbers = numbers
        self._id = ""
        self._rest = b""
        self.releases = False

    def ask(self) -> None:
        """Join the line under a new id."""
        self._id = format_lease_id(wire.lease_id(next(self._numbers)))
        self.releases = False
        self._repeat()

    def _repeat(self) -> None:
        body = {
            "id": self._id,
            "license": "one",
            "machine": {"id": "machine-1"},
            "process": {"pid": 4711, "command": "pytest -q"},
            "wait": 3600,
            "hold": 8,
        }
        packed = codec.encode(body, codec.MSGPACK)
        self._send("POST", "/v1/leases", packed)

    def release(self) -> None:
        """Give the seat back."""
        self.releases = True
        self._send("DELETE", f"/v1/leases/{self._id}", b"")

    def take(self, data: bytes) -> bool:
        """Whether ``data`` says that it has the seat. A call that was held in vain is repeated."""
        found = wire.split_answer(self._rest + data)
        if found is None:
            self._rest += data
            return False
        status, body, self._rest = found
        if status == 201:
            return True
        if status == 202:
            self._repeat()
        elif status == 204:
            self.ask()
        else:
            raise WrongAnswer(f"{status} {body[:200]!r}")
        return False

    def _send(self, method: str, path: str, body: bytes) -> None:
        self.sock.sendall(
            wire.http_request(method, path, body, key=self._key, media_type=codec.MSGPACK)
        )


class Line:
    """Lessor's line, waited in at several daemons."""

    def __init__(self, job: dict[str, Any]) -> None:
        numbers = itertools.count(int.from_bytes(os.urandom(6), "big") << 64)
        ports = job["ports"]
        self._waiters = [
            _Waiter(connect(wire.HOST, ports[i % len(ports)]), job["key"], numbers)
            for i in range(job["waiters"])
        ]
        self._poll = select.epoll()
        self._by_fd = {one.sock.fileno(): one for one in self._waiters}
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        for one in self._waiters:
            one.ask()
        self._freed_at = 0.0

    def run(self, seconds: float) -> dict[str, float]:
        """Pass the seat on for ``seconds``."""
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for fd, _ in self._poll.poll(0.1):
                one = self._by_fd[fd]
                data = one.sock.recv(READ_BYTES)
                if not data:
                    raise WrongAnswer("the server closed the connection")
                if one.take(data):
                    now = time.perf_counter()
                    times.append(now - self._freed_at)
                    self._freed_at = time.perf_counter()
                    one.release()
        # The first waited since the run before.
        return _told(times[1:], seconds)


class Polled:
    """``SET … NX``, tried by each waiter every ``POLL_SECONDS``. It knows no order."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(job["socket"])
        self._reader = hiredis.Reader()
        dice = random.Random(7)  # the same spread in each run
        now = time.perf_counter()
        self._turns = [now + dice.uniform(0, POLL_SECONDS) for _ in range(job["waiters"])]
        heapq.heapify(self._turns)

    def run(self, seconds: float) -> dict[str, float]:
        """Pass the lock on for ``seconds``."""
        times = []
        freed_at = time.perf_counter()
        until = freed_at + seconds
        while (due := self._turns[0]) < until:
            time.sleep(max(0.0, due - time.perf_counter()))
            heapq.heapreplace(self._turns, due + POLL_SECONDS)
            if self._call("SET", "bench:lock", "x", "NX", "PX", "30000") is None:
                continue
            now = time.perf_counter()
            times.append(now - freed_at)
            freed_at = time.perf_counter()
            self._call("DEL", "bench:lock")
        return _told(times, seconds)

    def _call(self, *words: str) -> object:
        self._sock.sendall(pack(*words))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._sock.recv(READ_BYTES))
        return reply


def _told(times: list[float], seconds: float) -> dict[str, float]:
    return {
        "operations": len(times),
        "seconds": seconds,
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "most": max(times),
    }
