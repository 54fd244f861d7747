"""What the frames of a stream ask for.

A frame is a call, and means and answers exactly what the same call over HTTP does (``leases.py``).
Renewals are the hot path: they are read, handed to the collector and answered from its batch
without a task of their own. Acquire and release are rare beside them and get one each.
"""

from __future__ import annotations

import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lessor_protocol import frames
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, RenewRequest

from lessor_daemon import logs
from lessor_daemon.directory import permissions
from lessor_daemon.directory.callers import Actor
from lessor_daemon.leasing.answers import least_ttl_ms, renew_answer
from lessor_daemon.leasing.service import Granted

from . import releasing
from .conversation import internal_problem
from .repeated_frames import Repeated, after_seq

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from lessor_protocol.messages import RenewAnswer

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.directory.service import Directory
    from lessor_daemon.leasing.renewals import Result
    from lessor_daemon.leasing.service import Leasing
    from lessor_daemon.metrics import Metrics

    from .context import Serving
    from .stream import Stream

CALL_COSTS = 16
"""What an acquire or a release counts as: each occupies a task and a connection to the store."""
MOST_HELD = 1_024
"""Acquires of one connection that are held back while nothing is free; the next gets its place in
the line at once. They occupy a task but nothing else, and must not keep renewals from being read.
"""

_log = logs.get_logger("lessor.stream")


class _Asked(NamedTuple):
    """A request, and the frame it came in."""

    seq: int
    op: str
    body: object
    frame: bytes

    @classmethod
    def in_frame(cls, frame: bytes) -> _Asked:
        """Raises ``Problem``."""
        return cls(*frames.decode_request(frame), frame)


class _Call(NamedTuple):
    """A request that is answered in a task of its own."""

    stream: Stream
    caller: Caller
    seq: int


class StreamCalls:
    """Answers the requests of all streams of a daemon."""

    def __init__(
        self, serving: Serving, directory: Directory, leasing: Leasing, metrics: Metrics
    ) -> None:
        self._serving = serving
        self._directory = directory
        self._recall = directory.authentication.recall_by_digest
        self.digest = directory.authentication.digest
        self._leasing = leasing
        self._carries = leasing.news.carriers.enter
        self._observe = metrics.observe_request
        self._acquire_refused = metrics.acquire_refused
        self._observe_renew = metrics.request_seconds.labels(frames.RENEW).observe

    def stream_begins(self) -> None:
        """While a stream is open, the daemon that drains waits for it as for a call."""
        self._serving.call_begins()

    def stream_ends(self) -> None:
        """Its connection has ended."""
        self._serving.call_ends()

    def answer(self, stream: Stream, frame: bytes) -> None:
        """Answer a request, or begin to. Raises ``Problem`` for a frame that is none."""
        repeated = stream.repeated
        if repeated is not None and frame.endswith(repeated.asked):
            head = frame[: -len(repeated.asked)]
            if frames.seq_in(head) and (caller := self._recall(stream.key_digest)):
                try:
                    self._renew(stream, caller, head, repeated)
                except Exception as error:  # noqa: BLE001  # as below
                    self._fail(stream, frames.RENEW, frames.seq_in(head), error)
                return
        asked = _Asked.in_frame(frame)
        caller = self._recall(stream.key_digest)
        if caller is None:
            # Its record is to be read anew, or there is something to say about it.
            stream.waits_for_key = [frame]
            self._run(self._answer_waiting(stream))
            return
        try:
            self._begin(stream, caller, asked)
        except Exception as error:  # noqa: BLE001  # maybe another's task reads this stream on
            self._fail(stream, asked.op, asked.seq, error)

    async def _answer_waiting(self, stream: Stream) -> None:
        """Answer what came since the key's record is being read, in order."""
        waiting = stream.waits_for_key or []
        while waiting:
            try:
                asked = _Asked.in_frame(waiting.pop(0))
            except Problem as problem:
                stream.end_unreadable(problem)
                break
            try:
                await self._answer_checked(stream, asked)
            except Exception as error:  # noqa: BLE001  # the last line of defence, as in ``conversation``
                self._fail(stream, asked.op, asked.seq, error)
        stream.waits_for_key = None
        stream.go_on()

    async def _answer_checked(self, stream: Stream, asked: _Asked) -> None:
        opened = stream.opened
        try:
            caller = await self._directory.authenticate(opened.api_key, asked.op, opened.source)
        except Problem as problem:
            is_unknown = problem.code in ("unauthenticated", "rate_limited")
            if asked.op != frames.RENEW or not is_unknown:
                raise
            await self._renew_proven(stream, asked, problem)
        else:
            self._begin(stream, caller, asked)

    def _begin(self, stream: Stream, caller: Caller, asked: _Asked) -> None:
        call = _Call(stream, caller, asked.seq)
        if asked.op == frames.RENEW:
            renewals = frames.renewals(asked.body)
            repeated = Repeated(renewals, after_seq(asked.frame, asked.seq))
            if repeated.asked and renewals:
                stream.repeated = repeated
            self._renew(stream, caller, frames.head(asked.seq), repeated)
        elif asked.op == frames.ACQUIRE:
            permissions.check(caller, asked.op, None)
            wanted = AcquireRequest.from_wire(frames.bounded(asked.body))
            if wanted.hold_ms and wanted.wait_ms and len(stream.held or ()) < MOST_HELD:
                self._hold(call, wanted)
            else:
                self._start(call, asked.op, self._acquire(call, wanted))
        elif asked.op == frames.RELEASE:
            permissions.check(caller, asked.op, None)
            lease_id = frames.lease_to_release(asked.body)
            self._start(call, asked.op, self._release(call, lease_id))
        else:
            raise Problem("not_found", "nothing is served under this op")

    def _renew(self, stream: Stream, caller: Caller, head: bytes, wanted: Repeated) -> None:
        """Renew, and answer with a frame of this ``head``."""
        began = time.perf_counter()
        cost = len(wanted.renewals)

        def answered(outcome: list[Result] | Exception) -> None:
            try:
                if isinstance(outcome, Exception):
                    self._fail(stream, frames.RENEW, frames.seq_in(head), outcome)
                elif ttl_ms := least_ttl_ms(outcome):
                    self._carries(wanted.lease_ids, weakref.ref(stream))
                    stream.send(head + wanted.answer(ttl_ms))
                else:
                    answer = renew_answer(wanted.renewals, outcome)
                    self._answer_renew(stream, frames.seq_in(head), answer)
            except Exception as error:  # noqa: BLE001  # others of the batch are still to be answered
                self._fail(stream, frames.RENEW, frames.seq_in(head), error)
            self._observe_renew(time.perf_counter() - began)
            stream.done(cost)

        if not wanted.renewals:
            permissions.check(caller, frames.RENEW, None)
            self._answer_renew(stream, frames.seq_in(head), renew_answer([], []))
            return
        self._leasing.submit_renewals(caller, wanted.renewals, answered)
        stream.under_way += cost

    async def _renew_proven(self, stream: Stream, asked: _Asked, problem: Problem) -> None:
        """The key is unknown, maybe because the store lost its memory: certificates may do."""
        request = RenewRequest(frames.renewals(asked.body))
        proven = await self._leasing.renew_proven(request)
        if proven is None:
            raise problem
        self._answer_renew(stream, asked.seq, proven)

    def _answer_renew(self, stream: Stream, seq: int, answer: RenewAnswer) -> None:
        for lost in answer.lost:
            _log.info(
                "renewal_refused",
                request=stream.opened.request_id,
                org=stream.org,
                lease=format_lease_id(lost.lease_id),
                code=lost.code,
                reason=lost.reason,
            )
        self._carries(answer.renewed, weakref.ref(stream))
        stream.reply(seq, 200, answer.to_wire())

    def _hold(self, call: _Call, wanted: AcquireRequest) -> None:
        stream = call.stream
        work = self._acquire(call, wanted, is_held=True)
        task = self._run(self._see_through(call, frames.ACQUIRE, work, cost=0))
        if stream.held is None:
            stream.held = set()
        stream.held.add(task)
        task.add_done_callback(stream.held.discard)

    async def _acquire(self, call: _Call, wanted: AcquireRequest, *, is_held: bool = False) -> None:
        stream = call.stream
        logs.bind(lease=format_lease_id(wanted.lease_id), license=wanted.license)
        try:
            if is_held:
                outcome = await self._leasing.acquire_held(
                    call.caller, wanted, lambda: stream.is_open, partial(self._authorize, stream)
                )
            else:
                outcome = await self._leasing.acquire(call.caller, wanted)
        except Problem as problem:
            _log.info("acquire_refused", code=problem.code)
            raise
        if isinstance(outcome, Granted):
            self._carries([wanted.lease_id], weakref.ref(stream))
            status = 201 if outcome.is_new else 200
            stream.reply(call.seq, status, {"lease": outcome.lease.to_wire()})
        else:
            stream.reply(call.seq, 202, outcome.to_wire())

    async def _authorize(self, stream: Stream) -> Caller:
        """Who claims a seat. Raises ``Problem``."""
        caller = self._recall(stream.key_digest)
        if caller is None:
            opened = stream.opened
            caller = await self._directory.authenticate(
                opened.api_key, frames.ACQUIRE, opened.source
            )
        permissions.check(caller, frames.ACQUIRE, None)
        return caller

    async def _release(self, call: _Call, lease_id: bytes) -> None:
        logs.bind(lease=format_lease_id(lease_id))
        opened = call.stream.opened
        actor = Actor.of(call.caller, opened.source, opened.request_id)
        await releasing.release(self._leasing, self._directory, actor, call.caller, lease_id)
        call.stream.reply(call.seq, 204, None)

    def _start(self, call: _Call, op: str, work: Coroutine[None, None, None]) -> None:
        self._run(self._see_through(call, op, work, CALL_COSTS))
        call.stream.under_way += CALL_COSTS

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self._serving.streams.run(work)

    async def _see_through(
        self, call: _Call, op: str, work: Coroutine[None, None, None], cost: int
    ) -> None:
        """Nothing but a reply with a stable code comes of a call."""
        began = time.perf_counter()
        caller, stream = call.caller, call.stream
        logs.unbind()
        logs.bind(
            request=stream.opened.request_id, org=caller.org, key=caller.key_id, frame=call.seq
        )
        self._serving.call_begins()
        try:
            await work
        except Exception as error:  # noqa: BLE001  # the last line of defence, as in ``conversation``
            self._fail(stream, op, call.seq, error)
        finally:
            self._serving.call_ends()
            self._observe(op, time.perf_counter() - began)
            logs.unbind()  # requests that it held up may be read now
            stream.done(cost)

    def _fail(self, stream: Stream, op: str, seq: int, error: Exception) -> None:
        if isinstance(error, Problem):
            problem = error
        else:
            request_id = stream.opened.request_id
            _log.error("internal_error", request=request_id, frame=seq, exc_info=error)
            problem = internal_problem()
        if op == frames.ACQUIRE:
            self._acquire_refused(problem.code)
        stream.refuse(seq, problem)
