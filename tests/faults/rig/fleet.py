"""Thousands of leases held by a few: renewed in batches, now by HTTP and now over a stream.

A fleet writes down each grant and each end, and of all renewals in between only the last: that one
has the deadline by which the lease is judged.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor.errors import NoAnswer
from lessor.server import Server
from lessor_protocol import timing
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import (
    AcquireRequest,
    Lease,
    Machine,
    Process,
    Renewal,
    RenewAnswer,
    RenewRequest,
)
from lessor_protocol.queued import Queued
from support.streaming import Closed, Refused, StreamCaller

from .history import (
    ACQUIRE,
    GRANTED,
    LOST,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
    UNANSWERED,
    Asked,
    Ran,
    now,
)
from .tap import lost_outcome

if TYPE_CHECKING:
    from lessor.config import ClientConfig

    from .held import Notes

LICENSE = "fleet"
BATCH = 100
FILLED_AT_ONCE = 50
"""Grants sought between two looks at who is due."""
TURN_SECONDS = 0.02
FLIP_SECONDS = (1.0, 4.0)
"""How long one transport is used before the other takes over with the same leases."""
CALL_MS = 1_000
RELEASE_TRIES = 20


class Streamed:
    """The calls of ``Server``, over one stream."""

    def __init__(self, url: str, key: str) -> None:
        try:
            self._stream = StreamCaller(url, key, timeout=CALL_MS / 1000)
        except (Refused, Closed, OSError) as error:
            raise NoAnswer(str(error)) from error

    def acquire(self, request: AcquireRequest, timeout_ms: int) -> Lease | Queued:
        """As ``Server.acquire``."""
        status, body = self._call("acquire", request.to_wire(), timeout_ms)
        return Queued.from_wire(body) if status == 202 else Lease.from_wire(body["lease"])

    def renew(self, renewals: list[Renewal], timeout_ms: int) -> RenewAnswer:
        """As ``Server.renew``."""
        _, body = self._call("renew", RenewRequest(renewals).to_wire(), timeout_ms)
        return RenewAnswer.from_wire(body)

    def release(self, lease_id: bytes, timeout_ms: int) -> None:
        """As ``Server.release``."""
        self._call("release", {"id": format_lease_id(lease_id)}, timeout_ms)

    def close(self) -> None:
        """Drop the connection."""
        self._stream.close()

    def _call(self, op: str, body: dict[str, object], timeout_ms: int) -> tuple[int, dict]:  # type: ignore[type-arg]  # whatever the server says
        self._stream.set_timeout(timeout_ms / 1000)
        try:
            answer = self._stream.call(op, body)
        except (Closed, OSError) as error:
            raise NoAnswer(str(error)) from error
        if answer.status >= 400:
            raise Problem.from_wire(answer.body, answer.status)
        return answer.status, answer.body


@dataclass
class Member:
    """One lease. ``kept`` is the last request that moved its deadline."""

    lease_id: bytes
    token: int = 0
    certificate: str = ""
    began: float = 0.0
    deadline: float = 0.0
    kept: Asked | None = None


class Fleet(threading.Thread):
    """Holds ``count`` leases until ``over``."""

    def __init__(
        self,
        notes: Notes,
        config: ClientConfig,
        name: str,
        *,
        count: int,
        ttl: float,
        over: threading.Event,
        seed: str,
    ) -> None:
        super().__init__(name=name)
        self.failure: BaseException | None = None
        self._notes = notes
        self._config = config
        self._count = count
        self._ttl = ttl
        self._over = over
        self._chance = random.Random(seed)
        self._server = Server(config)
        self._stream: Streamed | None = None
        self._members: dict[bytes, Member] = {}
        self._wanted: list[Member] = [Member(os.urandom(16)) for _ in range(count)]
        self._flip_at = self._again_at = 0.0
        self._late_at = 0.0
        """When this thread last got its turn too late to blame a server for what it lost."""

    def run(self) -> None:
        """Until it is over; then give all back."""
        try:
            while not self._over.is_set():
                began = now()
                self._flip_when_due()
                self._fill()
                self._renew()
                self._over.wait(TURN_SECONDS)
                if now() - began > self._ttl / 8:
                    self._late_at = now()
                self._bury()
            for member in list(self._members.values()):
                self._give_back(member)
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error
        finally:
            self._server.close()
            if self._stream is not None:
                self._stream.close()

    @property
    def _way(self) -> Server | Streamed:
        return self._stream or self._server

    def _flip_when_due(self) -> None:
        if now() >= self._flip_at:
            self._flip_at = now() + self._chance.uniform(*FLIP_SECONDS)
            self._flip()

    def _flip(self) -> None:
        """The other transport from now on, by whichever server answers."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            return
        try:
            self._stream = Streamed(self._chance.choice(self._config.urls), self._config.api_key)
        except NoAnswer:
            return  # HTTP then, which tries the others by itself

    def _fill(self) -> None:
        """Take leases for those that have none; an id whose answer was lost asks again."""
        for member in self._wanted[:FILLED_AT_ONCE]:
            if self._due():
                return
            request = AcquireRequest(
                member.lease_id, LICENSE, Machine(self.name, ephemeral=True), Process(1, "virtual")
            )
            sent = now()
            try:
                answer = self._way.acquire(request, CALL_MS)
            except NoAnswer:
                self._note(member, ACQUIRE, sent, UNANSWERED, answered=None)
                self._flip()
                return
            except Problem as problem:
                self._note(member, ACQUIRE, sent, problem.code)
                if problem.code == "lease_ended":
                    self._wanted.remove(member)
                    self._wanted.append(Member(os.urandom(16)))
                return
            if isinstance(answer, Queued):
                return
            noted = self._note(member, ACQUIRE, sent, GRANTED, token=answer.token, ttl=self._ttl)
            member.token, member.certificate = answer.token, answer.certificate
            member.began, member.deadline, member.kept = now(), sent + self._ttl, noted
            self._wanted.remove(member)
            self._members[member.lease_id] = member

    def _renew(self) -> None:
        """All that are due, a batch at a time, until one is not answered."""
        while now() >= self._again_at and (batch := self._due()):
            sent = now()
            timeout_ms = timing.attempt_timeout_ms(round(self._ttl * 1000))
            wanted = [Renewal(one.lease_id, one.certificate) for one in batch]
            try:
                answer = self._way.renew(wanted, timeout_ms)
            except (NoAnswer, Problem) as error:
                self._again_at = now() + self._ttl / 30
                if isinstance(error, NoAnswer):
                    self._flip()
                return
            for lease_id in answer.renewed:
                member = self._members[lease_id]
                member.deadline = sent + self._ttl
                member.kept = self._asked(member, RENEW, sent, RENEWED, ttl=self._ttl)
            for lost in answer.lost:
                self._lost(self._members[lost.lease_id], sent, lost.code, lost.reason)

    def _due(self) -> list[Member]:
        moment = now() + self._ttl * 3 / 4
        return [one for one in self._members.values() if one.deadline <= moment][:BATCH]

    def _lost(self, member: Member, sent: float, code: str, text: str) -> None:
        outcome, reason = lost_outcome(code, text)
        self._note(member, RENEW, sent, outcome, reason=reason)
        is_lapsed = outcome != LOST or reason == "lapsed"
        self._drop(member, "lost" if is_lapsed else "ended")

    def _bury(self) -> None:
        """Those whose deadline has passed: whoever worked by them has stopped."""
        for member in list(self._members.values()):
            if member.deadline <= now():
                self._drop(member, "lost")

    def _drop(self, member: Member, how: str) -> None:
        if how == "lost" and now() - self._late_at < self._ttl:
            how = "late"
        del self._members[member.lease_id]
        self._wanted.append(Member(os.urandom(16)))
        ended = min(now(), member.deadline)
        if member.kept is not None and member.kept.verb == RENEW:
            self._notes.asked.append(member.kept)
        if ended > member.began:
            who = (format_lease_id(member.lease_id), LICENSE, self.name, member.token)
            self._notes.ran.append(Ran(*who, member.began, ended, is_process=False, how=how))

    def _give_back(self, member: Member) -> None:
        self._drop(member, "done")
        for _ in range(RELEASE_TRIES):
            sent = now()
            try:
                self._way.release(member.lease_id, CALL_MS)
            except NoAnswer:
                self._flip()
                continue
            except Problem as problem:
                if problem.code != "not_found":
                    continue
            self._note(member, RELEASE, sent, RELEASED)
            return

    def _note(self, member: Member, verb: str, sent: float, outcome: str, **more: object) -> Asked:
        noted = self._asked(member, verb, sent, outcome, **more)
        self._notes.asked.append(noted)
        return noted

    def _asked(self, member: Member, verb: str, sent: float, outcome: str, **more: object) -> Asked:
        fields = {"token": member.token, "answered": now(), "outcome": outcome, **more}
        return Asked(
            *(self.name, verb, format_lease_id(member.lease_id), LICENSE, self.name, sent),
            **fields,  # type: ignore[arg-type]  # by keyword
        )
