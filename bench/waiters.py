"""Waiters for one seat: Lessor's line over HTTP, and beside it a list of tokens.

The seat is given back the moment it is got. What is measured is the time from there, just before
the release is sent, until the next waiter knows that it has the seat.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import hiredis
from lessor_protocol import codec
from lessor_protocol.lease import HOLD_MS
from lessor_protocol.lease_id import format_lease_id

from . import wire
from .arithmetic import percentile
from .connections import WrongAnswer, connect
from .direct import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            "hold": HOLD_MS / 1000,
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


class Idle(Line):
    """The same line while nothing moves: whoever has the seat keeps it."""

    def run(self, seconds: float) -> dict[str, float]:
        """Wait for ``seconds``. Operations are the calls that were held in vain and repeated."""
        repeated = 0
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for fd, _ in self._poll.poll(left):
                one = self._by_fd[fd]
                data = one.sock.recv(READ_BYTES)
                if not data:
                    raise WrongAnswer("the server closed the connection")
                repeated += not one.take(data)
        return {"operations": repeated, "seconds": seconds}


class Tokens:
    """``BLPOP`` of a token from a list, in the order of asking. Who dies with a token keeps it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._poll = select.epoll()
        self._socks: dict[int, tuple[socket.socket, hiredis.Reader]] = {}
        for _ in range(job["waiters"]):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(job["socket"])
            self._socks[sock.fileno()] = (sock, hiredis.Reader())
            self._poll.register(sock, select.EPOLLIN)
            sock.sendall(pack("BLPOP", "bench:tokens", "0"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(job["socket"])
            sock.sendall(pack("RPUSH", "bench:tokens", "x"))
            sock.recv(READ_BYTES)
        self._freed_at = 0.0

    def run(self, seconds: float) -> dict[str, float]:
        """Pass the token on for ``seconds``."""
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for fd, _ in self._poll.poll(0.1):
                sock, reader = self._socks[fd]
                reader.feed(sock.recv(READ_BYTES))
                while (reply := reader.gets()) is not False:
                    if not isinstance(reply, list):
                        continue  # how long the list is now
                    now = time.perf_counter()
                    times.append(now - self._freed_at)
                    self._freed_at = time.perf_counter()
                    sock.sendall(pack("RPUSH", "bench:tokens", "x"))
                    sock.sendall(pack("BLPOP", "bench:tokens", "0"))
        return _told(times[1:], seconds)


def _told(times: list[float], seconds: float) -> dict[str, float]:
    return {
        "operations": len(times),
        "seconds": seconds,
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "most": max(times),
    }
