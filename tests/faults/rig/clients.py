"""Virtual clients: each asks as a client does, and writes down what it asked and what it heard.

Its deadline is its own sum, time before sending plus ttl, and not the product's: a client that only
wrote down when it stopped could not tell that it was told to stop too late.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from lessor.errors import NoAnswer
from lessor.server import Server
from lessor_protocol import timing
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, Machine, Process, Queued, Renewal

from .history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    KEPT_GOING,
    LOOK,
    LOST,
    PRESENT,
    QUEUED,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
    Asked,
    Ran,
    now,
)
from .tap import lost_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lessor.config import ClientConfig
    from lessor_protocol.messages import Lease

LONGEST_HOLD_SECONDS = 1.5
CALL_MS = 10_000
PAUSE_SECONDS = 0.1
WAIT_MS = 60_000
HOLD_MS = 1_000
"""How long the server may hold an acquire: waiters are judged by how often they ask."""
RETRY_PAUSE_SECONDS = (0.05, 0.15)
LATE_TRIES = 4

HABITS = (*["hold"] * 16, "abandon", "leave", "come_twice", "come_late")
"""What a client does in a round; those named more often are done more often."""


class Notes:
    """What the clients of one process write down."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ran: list[Ran] = []


class Held:
    """One lease from its first request on: every call is noted."""

    def __init__(
        self, notes: Notes, server: Server, client: str, license: str, machine: str
    ) -> None:
        self.token = 0
        self.ttl_ms = 0
        self.deadline = 0.0
        self.outcome = ""
        self.retry_after = PAUSE_SECONDS
        self._notes = notes
        self._server = server
        self._client = client
        self._license = license
        self._machine = machine
        self._lease_id = os.urandom(16)
        self._certificate = ""

    @property
    def lease(self) -> str:
        """Its id."""
        return format_lease_id(self._lease_id)

    @property
    def may_run(self) -> bool:
        """Whether its deadline is still to come."""
        return now() < self.deadline

    def twin(self, server: Server) -> Held:
        """The same lease for another thread, as a retry that overtakes its own first try."""
        other = Held(self._notes, server, self._client, self._license, self._machine)
        other._lease_id = self._lease_id
        return other

    def acquire(self, *, wait_ms: int = WAIT_MS, late: bool = False) -> str:
        """Ask once. The outcome."""
        request = AcquireRequest(
            self._lease_id,
            self._license,
            Machine(self._machine, ephemeral=True),
            Process(1, "virtual"),
            wait_ms=wait_ms,
            hold_ms=HOLD_MS if wait_ms else 0,
        )

        def call(noted: Asked) -> Asked:
            answer = self._server.acquire(request, CALL_MS)
            if isinstance(answer, Queued):
                self.retry_after = answer.retry_after_ms / 1000
                return replace(noted, outcome=QUEUED, blocked_by=answer.blocked_by)
            self._take(answer, noted.sent)
            return replace(noted, outcome=GRANTED, token=answer.token, ttl=answer.ttl_ms / 1000)

        return self._ask(ACQUIRE, call, late=late)

    def _take(self, lease: Lease, sent: float) -> None:
        self.token, self.ttl_ms = lease.token, lease.ttl_ms
        self._certificate = lease.certificate
        self.deadline = sent + lease.ttl_ms / 1000

    def renew(self, *, late: bool = False) -> str:
        """Renew once, within the time a client has for it."""
        timeout_ms = timing.attempt_timeout_ms(self.ttl_ms)

        def call(noted: Asked) -> Asked:
            answer = self._server.renew([Renewal(self._lease_id, self._certificate)], timeout_ms)
            if answer.renewed:
                self.deadline = max(self.deadline, noted.sent + answer.ttl_ms / 1000)
                return replace(noted, outcome=RENEWED, ttl=answer.ttl_ms / 1000)
            outcome, reason = lost_outcome(answer.lost[0].code, answer.lost[0].reason)
            return replace(noted, outcome=outcome, reason=reason)

        return self._ask(RENEW, call, late=late)

    def release(self) -> str:
        """Give it back, or leave the line."""

        def call(noted: Asked) -> Asked:
            self._server.release(self._lease_id, CALL_MS)
            return replace(noted, outcome=RELEASED)

        return self._ask(RELEASE, call)

    def look(self) -> str:
        """Whether the server still has it, without touching it."""

        def call(noted: Asked) -> Asked:
            # The client has no need of this call, and so no method for it.
            self._server._call("GET", f"/v1/leases/{self.lease}", CALL_MS)
            return replace(noted, outcome=PRESENT)

        return self._ask(LOOK, call)

    def _ask(self, verb: str, call: Callable[[Asked], Asked], *, late: bool = False) -> str:
        noted = Asked(
            *(self._client, verb, self.lease, self._license, self._machine, now()),
            token=self.token,
            late=late,
        )
        try:
            noted = replace(call(noted), answered=now())
        except Problem as problem:
            reason = str((problem.data or {}).get("reason", ""))
            noted = replace(noted, answered=now(), outcome=problem.code, reason=reason)
            if problem.code == "not_found":
                # A release of an id never seen spends it: nothing is left either way.
                gone = {RELEASE: RELEASED, LOOK: ABSENT}
                noted = replace(noted, outcome=gone.get(verb, problem.code))
        except NoAnswer:
            pass
        self._notes.asked.append(noted)
        self.outcome = noted.outcome
        return noted.outcome

    def ran(self, began: float, *, how: str = "done") -> None:
        """Note that it used its seat from ``began`` until now, at most until its deadline."""
        ended = min(now(), self.deadline)
        if ended > began:
            self._notes.ran.append(
                Ran(
                    *(self.lease, self._license, self._machine, self.token, began, ended),
                    is_process=False,
                    how=how,
                )
            )


class Client(threading.Thread):
    """One client's rounds, each of another kind, until ``over``."""

    def __init__(
        self,
        notes: Notes,
        config: ClientConfig,
        name: str,
        *,
        licenses: Sequence[str],
        machines: Sequence[str],
        habits: Sequence[str],
        over: threading.Event,
        seed: str,
    ) -> None:
        super().__init__(name=name)
        self._notes = notes
        self._config = config
        self._server = Server(config)
        self._licenses = licenses
        self._machines = machines
        self._habits = habits
        self._over = over
        self._chance = random.Random(seed)
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until it is over."""
        kinds = [getattr(self, f"_{habit}") for habit in self._habits]
        try:
            while not self._over.is_set():
                self._chance.choice(kinds)()
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error
        finally:
            self._server.close()

    def _new(self) -> Held:
        license, machine = self._chance.choice(self._licenses), self._chance.choice(self._machines)
        return Held(self._notes, self._server, self.name, license, machine)

    def _hold(self) -> Held | None:
        """Acquire, use, release."""
        held = self._new()
        if not self._seek(held):
            return None
        self._use(held, self._chance.uniform(0, LONGEST_HOLD_SECONDS))
        self._give_back(held)
        return held

    def _abandon(self) -> None:
        """Die holding a seat, and watch when it is free. A renewal comes too late then."""
        held = self._new()
        if not self._seek(held):
            return
        self._use(held, self._chance.uniform(0, LONGEST_HOLD_SECONDS / 2))
        while not self._over.is_set():
            if now() > held.deadline - PAUSE_SECONDS and held.look() == ABSENT:
                held.renew(late=True)
                return
            self._over.wait(PAUSE_SECONDS)

    def _leave(self) -> None:
        """Lose patience in the line."""
        held = self._new()
        until = now() + self._chance.uniform(0, 2)
        while now() < until and held.acquire() not in KEPT_GOING:
            self._pause(held)
        self._give_back(held)

    def _come_twice(self) -> None:
        """Ask for the same lease from two connections at once."""
        held = self._new()
        server = Server(self._config)
        other = threading.Thread(target=held.twin(server).acquire)
        other.start()
        is_granted = self._seek(held)
        other.join()
        server.close()
        if is_granted:
            self._use(held, self._chance.uniform(0, LONGEST_HOLD_SECONDS / 2))
            self._give_back(held)

    def _come_late(self) -> None:
        """After the release, let its own earlier requests arrive once more."""
        held = self._hold()
        if held is None or held.outcome != RELEASED:
            return
        for _ in range(LATE_TRIES):
            self._over.wait(self._chance.uniform(0, 1))
            held.acquire(wait_ms=self._chance.choice((0, WAIT_MS)), late=True)
        held.renew(late=True)

    def _seek(self, held: Held) -> bool:
        """Ask until there is a seat that can still be used. Else leave."""
        while not self._over.is_set():
            outcome = held.acquire()
            if outcome == GRANTED and held.may_run:
                return True
            if outcome in (GRANTED, "lease_ended", "conflict"):
                break
            self._pause(held)
        self._give_back(held)
        return False

    def _pause(self, held: Held) -> None:
        if held.outcome == QUEUED:
            self._over.wait(held.retry_after)
        else:
            self._over.wait(self._chance.uniform(*RETRY_PAUSE_SECONDS))

    def _use(self, held: Held, seconds: float) -> None:
        """Use the seat and renew as told. What its deadline cuts off was not used."""
        began = now()
        until = began + seconds
        due = began + timing.renew_after_ms(held.ttl_ms) / 1000
        how = "done"
        while held.may_run and now() < until:
            if now() >= due:
                if held.renew() == LOST:
                    how = "ended"
                    break
                pause_ms = (
                    timing.renew_after_ms if held.outcome == RENEWED else timing.retry_every_ms
                )
                due = now() + pause_ms(held.ttl_ms) / 1000
            time.sleep(max(0.0, min(until, due, held.deadline) - now()))
        held.ran(began, how=how)

    def _give_back(self, held: Held) -> None:
        for _ in range(20):
            if held.release() == RELEASED:
                return
            self._over.wait(self._chance.uniform(*RETRY_PAUSE_SECONDS))


class Probe(threading.Thread):
    """Renews one lease all the time, to know when a path was disturbed."""

    def __init__(
        self, notes: Notes, config: ClientConfig, name: str, over: threading.Event
    ) -> None:
        super().__init__(name=name)
        self._notes = notes
        self._server = Server(config)
        self._over = over
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until it is over."""
        try:
            while not self._over.is_set():
                self._hold_one()
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error
        finally:
            self._server.close()

    def _hold_one(self) -> None:
        held = Held(self._notes, self._server, self.name, "probe", "probe")
        while held.acquire(wait_ms=0) != GRANTED:
            if self._over.wait(PAUSE_SECONDS):
                return
        while not self._over.wait(PAUSE_SECONDS / 2):
            if held.renew() in (LOST, "not_found"):
                return
        held.release()
