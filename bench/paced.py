"""Renewals as real clients send them: each lease every quarter of its ttl, whatever came back."""

from __future__ import annotations

import heapq
import random
import select
import time
from typing import TYPE_CHECKING, Any

from lessor_protocol import frames
from lessor_protocol.lease_id import format_lease_id

from . import wire
from .arithmetic import percentile
from .connections import RenewStream, WrongAnswer, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .connections import Connection

SPREAD = 0.1
READ_BYTES = 64 * 1024


class _Line(RenewStream):
    """A connection of many leases, with several renewals under way."""

    def __init__(self, job: dict[str, Any], i: int) -> None:
        sock = connect(wire.HOST, job["port"], f"127.0.0.{2 + i % 8}")
        super().__init__(sock, "/v1/stream", job["key"], [wire.lease_id(1)], is_echo=True)
        first = job["first"] + i * job["leases"]
        self.ids = [format_lease_id(wire.lease_id(first + k)) for k in range(job["leases"])]
        self.due_at: dict[int, float] = {}
        self.taken: list[float] = []
        self._seq = 0

    def renew(self, k: int, due_at: float) -> None:
        """Renew the connection's ``k``-th lease, which was due at that moment."""
        self._seq += 1
        self.due_at[self._seq] = due_at
        packed = frames.encode(self._seq, frames.RENEW, {"leases": [self.ids[k]]})
        self.sock.sendall(wire.socket_frame(packed))

    def take(self, payload: bytes) -> None:
        seq, status, body = frames.decode_from_server(payload)
        if status != 200 or not isinstance(body, dict) or len(body["renewed"]) != 1:
            raise WrongAnswer(f"{status} {body}")
        self.taken.append(time.perf_counter() - self.due_at.pop(seq))


class Paced:
    """An open loop: a late answer does not slow down what is sent."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._every_seconds = job["every"]
        self._lines = [_Line(job, i) for i in range(job["connections"])]
        self._random = random.Random(7)  # the same spread in each run

    @property
    def connections(self) -> list[Connection]:
        """All of them."""
        return list(self._lines)

    def run(self, seconds: float) -> dict[str, float]:
        """Renew for ``seconds``, then wait for the answers. Times count from when each was due."""
        poll = select.epoll()
        by_fd = {one.sock.fileno(): one for one in self._lines}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        began = time.perf_counter()
        plan = list(self._first_turns(began))
        heapq.heapify(plan)
        until = began + seconds
        sent = 0
        while True:
            now = time.perf_counter()
            while plan and plan[0][0] <= now and now < until:
                due_at, i, k = plan[0]
                self._lines[i].renew(k, due_at)
                sent += 1
                pause = self._every_seconds * self._random.uniform(1 - SPREAD, 1 + SPREAD)
                heapq.heapreplace(plan, (due_at + pause, i, k))
            if now >= until and not any(one.due_at for one in self._lines):
                break
            wait = max(0.0, min(plan[0][0], until) - time.perf_counter()) if now < until else 0.05
            for fd, _ in poll.poll(wait):
                one = by_fd[fd]
                data = one.sock.recv(READ_BYTES)
                if not data:
                    raise WrongAnswer("the server closed the connection")
                one.feed(data)
        taken = [moment for one in self._lines for moment in one.taken]
        for one in self._lines:
            one.taken.clear()
        return {
            "operations": sent,
            "seconds": time.perf_counter() - began,
            "p50": percentile(taken, 0.5),
            "p99": percentile(taken, 0.99),
            "most": max(taken),
        }

    def _first_turns(self, began: float) -> Iterator[tuple[float, int, int]]:
        for i, line in enumerate(self._lines):
            for k in range(len(line.ids)):
                yield began + self._random.uniform(0, self._every_seconds), i, k
