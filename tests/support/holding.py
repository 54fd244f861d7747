"""Clients that hold leases, as the promise sees them: each with its own deadline, on its own clock.

What is judged is what they saw, never what the store says.
"""

from __future__ import annotations

import http.client
import threading
import time
import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .calls import Answer, Caller

RETRY_SECONDS = 0.05


class Holder:
    """One lease. ``deadline`` counts from before the request that was answered last."""

    def __init__(self, caller: Caller, lease_id: str | None = None) -> None:
        self.caller = caller
        self.lease_id = lease_id or str(uuid.uuid4())
        self.lease: dict[str, Any] = {}
        self.deadline = 0.0

    @property
    def token(self) -> int:
        return int(self.lease["token"])

    @property
    def is_live(self) -> bool:
        """Whether its process may still run."""
        return time.monotonic() < self.deadline

    def acquire(self) -> Answer:
        """Ask once, without waiting."""
        sent = time.monotonic()
        answer = self.caller.acquire(id=self.lease_id)
        if answer.status in (200, 201):
            self.lease = answer.body["lease"]
            self.deadline = sent + self.lease["ttl"]
        return answer

    def renew(self) -> Answer:
        """Ask once."""
        sent = time.monotonic()
        wanted = {"id": self.lease_id, "certificate": self.lease["certificate"]}
        answer = self.caller.call("POST", "/v1/leases/renew", {"leases": [wanted]})
        if answer.status == 200 and answer.body["renewed"]:
            self.deadline = sent + answer.body["ttl"]
        return answer

    def release(self) -> Answer:
        """Give the seat back; the process has ended before."""
        self.deadline = 0.0
        return self.caller.release(self.lease_id)

    def hold_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Renew until ``condition()``; the lease must not reach its deadline meanwhile."""
        give_up = time.monotonic() + seconds
        while True:
            assert self.is_live, f"a healthy lease ran out while waiting for {what}"
            answer = self.renew()
            if answer.status == 200:
                assert answer.body["renewed"] == [self.lease_id], answer.body
            if condition():
                return
            assert time.monotonic() < give_up, f"waited {seconds} s in vain for {what}"
            time.sleep(RETRY_SECONDS)


@dataclass
class Turn:
    """A time in which a client was allowed to run."""

    token: int
    began: float
    ended: float = field(default=float("inf"))


class Contest:
    """Clients that take turns on one seat, through any of several daemons, until it is closed."""

    def __init__(self, callers: Sequence[Caller], *, clients: int = 4, hold: float = 0.4) -> None:
        self.turns: list[Turn] = []
        self._callers = callers
        self._hold = hold
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._play, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def turns_since(self, moment: float) -> int:
        """How many began after ``moment`` (``time.monotonic``)."""
        with self._lock:
            return sum(1 for turn in self.turns if turn.began > moment)

    def wait_for_turns(self, turns: int, seconds: float, what: str) -> None:
        """Wait until so many more were taken."""
        begin = time.monotonic()
        wait_until(lambda: self.turns_since(begin) >= turns, seconds, what)

    def assert_promise_kept(self) -> None:
        """At no time two at once, and tokens that grow with each turn."""
        turns = sorted(self.turns, key=lambda turn: turn.began)
        assert len(turns) > 1, "nobody had a turn"
        for one, following in pairwise(turns):
            assert one.ended <= following.began, f"two at once: {one} and {following}"
            assert one.token < following.token, f"a token went back: {one} and {following}"

    def _play(self, number: int) -> None:
        """Each acquires, holds, and gives back or, every third time, just goes away."""
        rounds = 0
        while not self._over.is_set():
            rounds += 1
            holder = Holder(self._callers[(number + rounds) % len(self._callers)])
            turn = self._take(holder)
            if turn is None:
                continue
            self._keep(holder)
            turn.ended = min(time.monotonic(), holder.deadline)
            if rounds % 3:
                self._give_back(holder)

    def _take(self, holder: Holder) -> Turn | None:
        answer = _try(holder.acquire)
        began = time.monotonic()
        if answer is None or answer.status not in (200, 201) or began >= holder.deadline:
            self._over.wait(RETRY_SECONDS)
            return None
        turn = Turn(holder.token, began)
        with self._lock:
            self.turns.append(turn)
        return turn

    def _keep(self, holder: Holder) -> None:
        until = time.monotonic() + self._hold
        while time.monotonic() < min(until, holder.deadline):
            answer = _try(holder.renew)
            if answer is not None and answer.status == 200 and answer.body["lost"]:
                return
            time.sleep(RETRY_SECONDS)

    def _give_back(self, holder: Holder) -> None:
        while not self._over.is_set():
            answer = _try(holder.release)
            if answer is not None and answer.status in (204, 404):
                return
            time.sleep(RETRY_SECONDS)


def _try(call: Callable[[], Answer]) -> Answer | None:
    """None when the daemon did not answer."""
    try:
        return call()
    except (OSError, http.client.HTTPException):
        return None
