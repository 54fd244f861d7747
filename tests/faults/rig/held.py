"""One lease of a virtual client: every call is made as a client makes it, and written down.

Its deadline is its own sum, time before sending plus ttl, and not the product's: a client that only
wrote down when it stopped could not tell that it was told to stop too late.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lessor.errors import NoAnswer
from lessor_protocol import timing
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, Machine, Process, Renewal
from lessor_protocol.queued import Queued

from .history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    LOOK,
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
    from collections.abc import Callable

    from lessor.server import Server
    from lessor_protocol.messages import Lease

CALL_MS = 10_000
WAIT_MS = 60_000
HOLD_MS = 1_000
"""How long the server may hold an acquire: waiters are judged by how often they ask."""
PAUSE_SECONDS = 0.1


class Notes:
    """What the clients of one process write down."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ran: list[Ran] = []


class Held:
    """One lease from its first request on: every call is noted."""

    def __init__(
        self,
        notes: Notes,
        server: Server,
        client: str,
        license: str,
        machine: str,
        *,
        seats: tuple[int, int] = (1, 1),
        team: str = "",
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
        self._wanted = seats
        self._team = team
        self._seats = 1

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
        other = Held(
            *(self._notes, server, self._client, self._license, self._machine),
            seats=self._wanted,
            team=self._team,
        )
        other._lease_id = self._lease_id
        return other

    def acquire(self, *, wait_ms: int = WAIT_MS, hold_ms: int = HOLD_MS, late: bool = False) -> str:
        """Ask once. The outcome."""
        request = AcquireRequest(
            self._lease_id,
            self._license,
            Machine(self._machine, ephemeral=True),
            Process(1, "virtual"),
            wait_ms=wait_ms,
            hold_ms=hold_ms if wait_ms else 0,
            seats=self._wanted[0],
            most_seats=self._wanted[1],
            labels={"team": self._team} if self._team else None,
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
        self._seats = lease.seats
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
                    seats=self._seats,
                    team=self._team,
                )
            )
