"""``lessor.AsyncClient``: seats for the tasks of one program, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Self

import aiohttp
from lessor_protocol import frames
from lessor_protocol import lease as machine
from lessor_protocol.errors import TRANSIENT, Problem
from lessor_protocol.messages import Lost

from lessor import config as configuration
from lessor.clock import now_ms
from lessor.errors import NoAnswer, UsageError, from_code
from lessor.wish import make_request

from .calls import Calls
from .claim import Claim
from .lease import AsyncLease
from .link import Link, session_timeout
from .listening import Listening
from .renewing import Renewing
from .way import find_ways

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from lessor_protocol.messages import AcquireRequest

    from lessor.config import ClientConfig
    from lessor.notice import OnNotice

    from .way import Way

_ASK_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.5
_GIVE_BACK_SECONDS = machine.RELEASE_PATIENCE_MS / 1000 + 1


class AsyncClient:
    """Acquires and keeps leases. Use it, and what it gives, in ``async with``, in one event loop.

    ``url`` may name several servers, separated by commas. What is not given comes from the
    environment and ``client.toml``, as for ``lessor run``. ``connect_timeout``, in seconds, is how
    long an acquire tries to reach a server at all.

    Its leases go over one WebSocket, which is made anew when it breaks; a server or proxy that
    refuses it is called by HTTP instead, and the logger ``lessor`` says so once.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        machine: str | None = None,
        ephemeral: bool | None = None,
        connect_timeout: float = 30.0,
    ) -> None:
        self._given = {"LESSOR_URL": url, "LESSOR_API_KEY": api_key}
        self._machine = machine
        self._ephemeral = ephemeral
        self._connect_timeout_ms = round(connect_timeout * 1000)
        self._open: _Open | None = None

    async def __aenter__(self) -> Self:
        """Begin to connect. Raises ``UsageError`` for a configuration that cannot work."""
        if self._open is not None:
            raise RuntimeError("this AsyncClient is in use already")
        given = {name: value for name, value in self._given.items() if value is not None}
        environ = {**os.environ, **given}
        config = await asyncio.to_thread(configuration.load, environ)
        ways = await asyncio.to_thread(find_ways, config)
        opened = _Open(config)
        await opened.start(ways)
        self._open = opened
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back what is still held, and close the connection."""
        opened, self._open = self._running(), None
        await opened.stop(kind, error, trace)

    @contextlib.asynccontextmanager
    async def acquire(
        self,
        license: str | None = None,
        *,
        seats: int | tuple[int, int] = 1,
        wait: float | None = None,
        labels: Mapping[str, str] | None = None,
        on_notice: OnNotice | None = None,
    ) -> AsyncGenerator[AsyncLease]:
        """Take a seat of ``license`` and keep it until the ``async with`` block ends.

        ``seats`` are taken together or not at all; ``(2, 8)`` takes as many as are free from two
        to eight, and ``lease.seats`` says how many that were. ``wait`` is how long to wait for
        them, in seconds: ``None`` for ever, 0 asks once. A cancelled acquire leaves no seat and no
        place in the queue behind. ``on_notice`` is called, in the event loop, with each ``Notice``
        that comes while the seat is held, such as an admin's request to finish.

        Raises ``Denied``, ``NoSeat``, ``Unreachable``, or ``UsageError`` for what cannot work.

        **There is no leash here.** ``lessor run`` stops its test when the lease is lost; nothing
        can do that inside a program. A task renews the lease and sets ``lease.lost`` when it is
        gone, but while the event loop or the whole program stands still (a blocking call, a
        debugger, SIGSTOP) neither happens. So the caller must stop its own work by
        ``lease.deadline``, or more may run than there are seats. A process forked from this one
        holds no seat.
        """
        opened = self._running()
        wait_ms = None if wait is None else round(wait * 1000)
        name = license or opened.config.license
        if not name:
            name = await opened.default_license(self._connect_timeout_ms, one_try=wait_ms == 0)
        request = await asyncio.to_thread(
            make_request,
            os.environ,
            license=name,
            pid=os.getpid(),
            command=" ".join(sys.argv),
            machine_id=self._machine,
            ephemeral=self._ephemeral,
            labels=labels,
            seats=(seats, seats) if isinstance(seats, int) else seats,
        )
        claim = opened.claim(request, on_notice)
        try:
            grant = await claim.acquire(
                wait_ms=wait_ms, connect_timeout_ms=self._connect_timeout_ms
            )
            opened.renewing.keep(claim)
            yield AsyncLease(grant, claim)
        finally:
            # The task is the client's: should we be cancelled while we wait, it goes on.
            given_back = opened.give_back(claim)
            if given_back is not None:
                await asyncio.shield(given_back)

    def _running(self) -> _Open:
        if self._open is None:
            raise RuntimeError("use AsyncClient in 'async with'")
        return self._open


class _Open:
    """What an entered client runs: the session, the link, the renewals, the releases."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._tasks = asyncio.TaskGroup()
        self._background: list[asyncio.Task[None]] = []
        self._claims: set[Claim] = set()
        self._giving_back: set[asyncio.Task[None]] = set()

    async def start(self, ways: list[Way]) -> None:
        """Connect, and keep connected and renewed from now on."""
        # Who waits for a seat by HTTP has a connection; without a limit no renewal waits for one.
        self._session = aiohttp.ClientSession(
            timeout=session_timeout(), connector=aiohttp.TCPConnector(limit=0)
        )
        await self._tasks.__aenter__()
        link = Link(self._session, ways, self._heard)
        self._calls = Calls(link)
        self.renewing = Renewing(self._calls, self._tasks)
        self._background = [
            self._tasks.create_task(link.keep(), name="lessor link"),
            self._tasks.create_task(self.renewing.run(), name="lessor renewals"),
            self._tasks.create_task(
                Listening(self._calls, link, self.renewing).run(), name="lessor watch"
            ),
        ]

    async def stop(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back, then end the tasks, then close: the reverse of the start."""
        try:
            for claim in list(self._claims):
                self.give_back(claim)
            if self._giving_back:
                await asyncio.wait(self._giving_back, timeout=_GIVE_BACK_SECONDS)
        finally:
            for task in self._background:
                task.cancel()
            try:
                # Only a cancellation is the group's business: any other error of the block would
                # come out wrapped in an ExceptionGroup.
                if kind is not None and issubclass(kind, asyncio.CancelledError):
                    await self._tasks.__aexit__(kind, error, trace)
                else:
                    await self._tasks.__aexit__(None, None, None)
            finally:
                await self._session.close()

    def claim(self, request: AcquireRequest, on_notice: OnNotice | None) -> Claim:
        """A seat to be sought."""
        claim = Claim(self._calls, request, on_notice)
        self._claims.add(claim)
        return claim

    def give_back(self, claim: Claim) -> asyncio.Task[None] | None:
        """Begin to release, in a task of the client's own; None if there is nothing to release."""
        if claim not in self._claims:
            return None
        self._claims.discard(claim)
        self.renewing.forget(claim)
        if not claim.may_be_known:
            return None
        if claim.state.phase == machine.HELD:
            claim.lost.set()
        task = self._tasks.create_task(claim.release(), name="lessor release")
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)
        return task

    async def default_license(self, connect_timeout_ms: int, *, one_try: bool) -> str:
        """The only floating license of the organization. Raises ``LessorError``."""
        until_ms = now_ms() + connect_timeout_ms
        least_ms = machine.ONE_TRY_LEAST_MS if one_try else 1
        while True:
            left_ms = max(least_ms, min(until_ms - now_ms(), round(_ASK_SECONDS * 1000)))
            try:
                found = await self._calls.default_license(left_ms)
                break
            except NoAnswer:
                if one_try or now_ms() >= until_ms:
                    raise
            except Problem as problem:
                if problem.code not in TRANSIENT or one_try or now_ms() >= until_ms:
                    raise from_code(problem.code, problem.detail) from None
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        if found is None:
            raise UsageError("say which license: acquire(license) or LESSOR_LICENSE")
        return found

    def _heard(self, op: str, body: object) -> None:
        """What the server says unasked. A client ignores what it does not know."""
        if op == frames.NOTICE:
            self.renewing.noticed(body)
        elif op == frames.LOST:
            try:
                lost = Lost.from_wire(body, "lost")
            except Problem:
                return
            self.renewing.lost(lost)
