"""``GET /v1/stream``: one WebSocket that carries the calls of many leases.

A frame is a call, and means and answers exactly what the same call over HTTP does (``leases.py``).
Renewals are the hot path: they are read, handed to the collector and answered from its batch
without a task of their own. Acquire and release are rare beside them and get one each.

What a client may cost is bounded: requests under way, and bytes it has not taken. Whoever reaches a
bound is not read from until it is below again; who stays there is cut off. Others never wait.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web
from lessor_protocol import frames
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, RenewRequest

from lessor_daemon import logs
from lessor_daemon.leasing.answers import renew_answer, renewed_wire
from lessor_daemon.leasing.service import Granted

from . import releasing
from .auth import authorize
from .context import LEASING, METRICS, SERVING
from .conversation import REQUEST_ID_HEADER, SERVER, internal_problem, request_id_of
from .socket_writer import SocketWriter

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lessor_protocol.messages import Lost, Renewal, RenewAnswer

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.leasing.renewals import Result

HEARTBEAT_SECONDS = 30.0
"""A ping after so long a silence; no pong within half of it ends the connection."""
CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close."""
CHECK_KEY_SECONDS = 2.0
"""How long a key is believed: as long as over HTTP (``KEY_KEPT_MS``)."""

MOST_UNDER_WAY = 1_024
"""Requests under way on one connection, in leases; then it is not read from."""
CALL_COSTS = 16
"""What an acquire or a release counts as: each occupies a task and a connection to the store."""
MOST_HELD = 1_024
"""Acquires of one connection that are held back while nothing is free; the next gets its place in
the line at once. They occupy a task but nothing else, and must not keep renewals from being read.
"""

_log = logs.get_logger("lessor.stream")


async def stream(request: web.Request) -> web.StreamResponse:
    """101, and frames until either side has enough."""
    caller = await authorize(request)
    if request.app[SERVING].is_draining:
        raise Problem("draining", "this daemon is shutting down", retry_after=1)
    _check_subprotocol(request)
    socket = web.WebSocketResponse(
        protocols=(frames.SUBPROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        timeout=CLOSE_SECONDS,
        max_msg_size=frames.MAX_FRAME_BYTES,
        compress=False,
    )
    if not socket.can_prepare(request):
        raise Problem("malformed", "this path is a WebSocket: send an upgrade (RFC 6455)")
    socket.headers[REQUEST_ID_HEADER] = request_id_of(request)
    socket.headers["Server"] = SERVER
    await socket.prepare(request)
    transport = request.transport
    if transport is not None:
        one = Stream(request, socket, SocketWriter(transport), caller)
        with request.app[SERVING].streams.joined_by(one):
            await one.serve()
    return socket


def _check_subprotocol(request: web.Request) -> None:
    """None offered means the only one there is, as with ``Lessor-Protocol``."""
    offered = request.headers.getall("Sec-WebSocket-Protocol", [])
    names = {name.strip() for line in offered for name in line.split(",")}
    if names and frames.SUBPROTOCOL not in names:
        raise Problem(
            "unsupported_version",
            f"this server speaks the subprotocol {frames.SUBPROTOCOL}",
            data={"supported": [frames.SUBPROTOCOL]},
        )


class Stream:
    """One connection: reads frames, has them answered, and keeps within bounds."""

    # There are ten thousands of them, and most are idle.
    __slots__ = (
        "__weakref__",
        "_caller",
        "_caller_until",
        "_carries",
        "_held",
        "_leasing",
        "_observe_renew",
        "_request",
        "_request_seconds",
        "_room",
        "_socket",
        "_under_way",
        "_writer",
    )

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        writer: SocketWriter,
        caller: Caller,
    ) -> None:
        self._request = request
        self._leasing = request.app[LEASING]
        self._request_seconds = request.app[METRICS].request_seconds
        self._observe_renew = self._request_seconds.labels(frames.RENEW).observe
        self._socket = socket
        self._writer = writer
        self._caller = caller
        self._caller_until = 0.0
        self._under_way = 0
        self._held: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._carries = request.app[LEASING].news.carriers.enter

    @property
    def org(self) -> str:
        """The organization whose leases it carries."""
        return self._caller.org or ""  # an operator, who has none, gets no stream

    async def serve(self) -> None:
        """Answer frames until the connection ends."""
        self._caller_until = time.monotonic() + CHECK_KEY_SECONDS
        async with asyncio.TaskGroup() as tasks:
            code = await self._read(tasks)
            for held in self._held:
                held.cancel()
        if code is not None:
            await self._socket.close(code=code)

    def push(self, op: str, body: object) -> None:
        """Say something unasked."""
        self._writer.write(frames.encode(frames.UNASKED, op, body))

    def tell_lost(self, lost: Lost) -> None:
        """A lease that it carries was ended by somebody else."""
        self._tell(frames.LOST, lost.to_wire())

    def tell_notice(self, notice: dict[str, object]) -> None:
        """The holder of a lease that it carries is asked something."""
        self._tell(frames.NOTICE, notice)

    def _tell(self, op: str, body: object) -> None:
        # Who does not read learns it with a renewal, and must not fill our memory.
        if not self._writer.is_full:
            self.push(op, body)

    def close(self, code: int) -> None:
        """End the connection after what was written to it."""
        self._writer.close(code)

    async def _read(self, tasks: asyncio.TaskGroup) -> int | None:
        """Take frame after frame; why to close, or None when that has been seen to."""
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return frames.CLOSE_NOT_BINARY if message.type is WSMsgType.TEXT else None
            try:
                seq, op, body = frames.decode_request(message.data)
            except Problem as problem:
                _log.info("unreadable_frame", reason=problem.detail)
                return frames.CLOSE_UNREADABLE
            await self._answer(tasks, seq, op, body)
            if self._under_way >= MOST_UNDER_WAY:
                self._room.clear()
                await self._room.wait()
            if self._writer.is_full and not await self._writer.empties():
                _log.info("slow_reader", unsent=self._writer.unsent_bytes)
                self._writer.close(frames.CLOSE_SLOW_READER)
                return None

    async def _answer(self, tasks: asyncio.TaskGroup, seq: int, op: str, body: object) -> None:
        """Answer a frame, or begin to; waits for nothing but, now and then, the key's record."""
        try:
            await self._check_key()
        except Problem as problem:
            if op == frames.RENEW and problem.code in ("unauthenticated", "rate_limited"):
                self._start(tasks, seq, op, self._renew_proven(seq, body, problem))
            else:
                self._refuse(seq, problem)
            return
        try:
            self._begin(tasks, seq, op, body)
        except Problem as problem:
            self._refuse(seq, problem)

    async def _check_key(self) -> None:
        """Raise ``Problem`` unless the key still holds: it may be revoked while we talk."""
        now = time.monotonic()
        if now >= self._caller_until:
            self._caller = await authorize(self._request)
            self._caller_until = now + CHECK_KEY_SECONDS

    def _begin(self, tasks: asyncio.TaskGroup, seq: int, op: str, body: object) -> None:
        if op == frames.RENEW:
            self._renew(seq, frames.renewals(body))
        elif op == frames.ACQUIRE:
            wanted = AcquireRequest.from_wire(frames.bounded(body))
            if wanted.hold_ms and wanted.wait_ms and len(self._held) < MOST_HELD:
                self._hold(tasks, seq, wanted)
            else:
                self._start(tasks, seq, op, self._acquire(seq, wanted))
        elif op == frames.RELEASE:
            self._start(tasks, seq, op, self._release(seq, frames.lease_to_release(body)))
        else:
            raise Problem("not_found", "nothing is served under this op")

    def _renew(self, seq: int, renewals: list[Renewal]) -> None:
        began = time.perf_counter()
        cost = len(renewals)

        def answered(outcome: list[Result] | Exception) -> None:
            if isinstance(outcome, Exception):
                self._fail(seq, outcome)
            elif (wire := renewed_wire(renewals, outcome)) is not None:
                self._carries([one.lease_id for one in renewals], weakref.ref(self))
                self._reply(seq, 200, wire)
            else:
                self._answer_renew(seq, renew_answer(renewals, outcome))
            self._observe_renew(time.perf_counter() - began)
            self._done(cost)

        if not renewals:
            self._answer_renew(seq, renew_answer([], []))
            return
        self._leasing.submit_renewals(self._caller, renewals, answered)
        self._under_way += cost

    async def _renew_proven(self, seq: int, body: object, problem: Problem) -> None:
        """The key is unknown, maybe because the store lost its memory: certificates may do."""
        proven = await self._leasing.renew_proven(RenewRequest(frames.renewals(body)))
        if proven is None:
            raise problem
        self._answer_renew(seq, proven)

    def _answer_renew(self, seq: int, answer: RenewAnswer) -> None:
        for lost in answer.lost:
            lease = format_lease_id(lost.lease_id)
            _log.info("renewal_refused", lease=lease, code=lost.code, reason=lost.reason)
        self._carries(answer.renewed, weakref.ref(self))
        self._reply(seq, 200, answer.to_wire())

    def _hold(self, tasks: asyncio.TaskGroup, seq: int, wanted: AcquireRequest) -> None:
        call = self._acquire(seq, wanted, is_held=True)
        task = tasks.create_task(self._see_through(seq, frames.ACQUIRE, call, cost=0))
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _acquire(self, seq: int, wanted: AcquireRequest, *, is_held: bool = False) -> None:
        logs.bind(lease=format_lease_id(wanted.lease_id), license=wanted.license)
        try:
            if is_held:
                outcome = await self._leasing.acquire_held(
                    self._caller, wanted, lambda: not self._writer.is_closed
                )
            else:
                outcome = await self._leasing.acquire(self._caller, wanted)
        except Problem as problem:
            _log.info("acquire_refused", code=problem.code)
            raise
        if isinstance(outcome, Granted):
            self._carries([wanted.lease_id], weakref.ref(self))
            self._reply(seq, 201 if outcome.is_new else 200, {"lease": outcome.lease.to_wire()})
        else:
            self._reply(seq, 202, outcome.to_wire())

    async def _release(self, seq: int, lease_id: bytes) -> None:
        logs.bind(lease=format_lease_id(lease_id))
        await releasing.release(self._request, self._caller, lease_id)
        self._reply(seq, 204, None)

    def _start(
        self, tasks: asyncio.TaskGroup, seq: int, op: str, call: Coroutine[None, None, None]
    ) -> None:
        self._under_way += CALL_COSTS
        tasks.create_task(self._see_through(seq, op, call, CALL_COSTS))

    async def _see_through(
        self, seq: int, op: str, call: Coroutine[None, None, None], cost: int
    ) -> None:
        """Nothing but a reply with a stable code comes of a call."""
        began = time.perf_counter()
        logs.bind(frame=seq)
        try:
            await call
        except Exception as error:  # noqa: BLE001  # the last line of defence, as in ``conversation``
            self._fail(seq, error)
        finally:
            self._request_seconds.labels(op).observe(time.perf_counter() - began)
            self._done(cost)

    def _done(self, cost: int) -> None:
        self._under_way -= cost
        if self._under_way < MOST_UNDER_WAY:
            self._room.set()

    def _fail(self, seq: int, error: Exception) -> None:
        if isinstance(error, Problem):
            self._refuse(seq, error)
        else:
            _log.error("internal_error", frame=seq, exc_info=error)
            self._refuse(seq, internal_problem())

    def _refuse(self, seq: int, problem: Problem) -> None:
        self._reply(seq, problem.status, problem.to_wire())

    def _reply(self, seq: int, status: int, body: object) -> None:
        self._writer.write(frames.encode(seq, status, body))
