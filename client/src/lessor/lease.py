"""A lease inside a Python program: ``with lessor.acquire("kre", wait=600) as lease: ...``."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from lessor_protocol.lease_id import format_lease_id

from . import config as configuration
from .agent.explain import IN_PYTHON
from .clock import now_ms
from .errors import LeaseLost
from .keeper import Keeper, Waiter, Woken
from .listening import Listening
from .server import Server
from .wish import default_license, make_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from lessor_protocol.messages import Lease as Grant
    from lessor_protocol.queued import Estimate, Holder

    from .notice import Notice, OnNotice


def acquire(
    license: str | None = None,
    *,
    wait: float | None = None,
    url: str | None = None,
    api_key: str | None = None,
    machine: str | None = None,
    ephemeral: bool | None = None,
    labels: Mapping[str, str] | None = None,
    seats: int | tuple[int, int] = 1,
    connect_timeout: float = 30.0,
    on_notice: OnNotice | None = None,
) -> Lease:
    """Take a seat of ``license`` and keep it until the ``with`` block ends.

    ``seats`` are taken together or not at all; ``(2, 8)`` takes as many as are free from two to
    eight, and ``lease.seats`` says how many that were. ``wait`` is how long to wait for them, in
    seconds: ``None`` for ever, 0 asks once; ``connect_timeout``, also in seconds, how long to try
    to reach a server at all. ``on_notice`` is called, in the thread that renews, with each
    ``Notice`` that comes while the seat is held. What is not given comes from the environment and
    ``client.toml``, as for ``lessor run``.

    Raises ``Denied``, ``NoSeat``, ``Unreachable``, or ``UsageError`` for what cannot work.

    **There is no leash here.** ``lessor run`` stops its test when the lease is lost; nothing can
    do that inside a program. A thread renews the lease and sets ``lease.lost`` when it is gone,
    but while the whole program stands still (a debugger, SIGSTOP, a long call that keeps the
    interpreter) neither runs. So the caller must stop its own work by ``lease.deadline``, or
    more may run than there are seats. A process forked from this one holds no seat.
    """
    config = configuration.load(_environment(url, api_key))
    stop_fd, wake_fd = os.pipe()
    waiter = Waiter(stop_fd)
    server = Server(config, waiter)
    connect_timeout_ms = round(connect_timeout * 1000)
    grant: Grant | None = None
    try:
        name = license or config.license
        if not name:
            name = default_license(
                server,
                connect_timeout_ms=connect_timeout_ms,
                one_try=wait == 0,
                named_by="acquire(license)",
            )
        request = make_request(
            os.environ,
            license=name,
            pid=os.getpid(),
            command=" ".join(sys.argv),
            machine_id=machine,
            ephemeral=ephemeral,
            labels=labels,
            seats=(seats, seats) if isinstance(seats, int) else seats,
        )
        keeper = Keeper(
            server,
            waiter,
            request,
            listening=Listening(),
            on_notice=on_notice,
            terms=IN_PYTHON,
        )
        grant = keeper.acquire(
            wait_ms=None if wait is None else round(wait * 1000),
            connect_timeout_ms=connect_timeout_ms,
            on_wait=_wait_silently,
        )
    finally:
        if grant is None:
            server.close()
            os.close(stop_fd)
            os.close(wake_fd)
    return Lease(grant, keeper, server, (stop_fd, wake_fd))


class Lease:
    """A held seat. Made by ``acquire``; read there what it does not promise.

    ``token`` fences: it is higher than that of every lease before, so a resource that remembers
    the highest it saw can refuse a holder from the past. ``lost`` is set when the lease is gone.
    """

    def __init__(self, grant: Grant, keeper: Keeper, server: Server, pipe: tuple[int, int]) -> None:
        self.id = format_lease_id(grant.lease_id)
        self.license = grant.license
        self.token = grant.token
        self.seats = grant.seats
        self.idle_timeout = grant.idle_timeout_ms / 1000 or None
        """In seconds; None for no time-out."""
        self.lost = threading.Event()
        self._keeper = keeper
        self._server = server
        self._stop_fd, self._wake_fd = pipe
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_released = False
        self._is_let_go = False
        self._thread = threading.Thread(target=self._keep, name="lessor-renewal", daemon=True)
        self._thread.start()
        atexit.register(self.release)

    @property
    def deadline(self) -> float:
        """When the seat may go to somebody else, in seconds of ``time.CLOCK_BOOTTIME``.

        Each renewal moves it; work that uses the seat must have stopped by then.
        """
        return self._keeper.state.deadline_ms / 1000

    @property
    def remaining(self) -> float:
        """Seconds until ``deadline``, 0 once the lease is lost or released."""
        if self.lost.is_set() or self._is_released:
            return 0.0
        return max(0.0, (self._keeper.state.deadline_ms - now_ms()) / 1000)

    @property
    def notices(self) -> list[Notice]:
        """What the holder was told so far, oldest first: above all, a request to finish."""
        return list(self._keeper.board.notices)

    def check(self) -> None:
        """Raise ``LeaseLost`` unless the seat is held at this moment."""
        if self.lost.is_set() or self.remaining <= 0:
            state = self._keeper.state
            raise LeaseLost(state.reason or "the lease is not held any more", code=state.code)

    def touch(self) -> None:
        """Say that the seat is in use now, where the license has an ``idle_timeout``.

        A program that never says so never counts as idle. Once it has, a silence of nearly the
        time-out brings a ``Notice`` ``idle``, and a longer one ends the lease. Costs nothing: the
        next renewal says it.
        """
        if self.idle_timeout is not None:
            self._keeper.touch()

    def release(self) -> None:
        """Give the seat back at once. Again: nothing. In a forked process: nothing.

        May be called by ``on_notice``.
        """
        with self._lock:
            if self._is_released or os.getpid() != self._pid:
                return
            self._is_released = True
        atexit.unregister(self.release)
        # A byte, not only the end of the stream: a process forked meanwhile holds a copy of this
        # end, and as long as it lives closing ours would wake nobody.
        os.write(self._wake_fd, b"\0")
        os.close(self._wake_fd)
        # ``on_notice`` is called by the thread, which then has to come back from it.
        self._is_let_go = threading.current_thread() is self._thread
        if not self._is_let_go:
            self._thread.join()
        self._keeper.release()
        self._server.close()
        if not self._is_let_go:
            os.close(self._stop_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<lessor.Lease {self.id} of {self.license}, token {self.token}>"

    def _keep(self) -> None:
        try:
            while self._keeper.is_held:
                self._keeper.step()
        except Woken:
            return  # release was called
        finally:
            # Also when this thread fails: without it nothing keeps the seat.
            if not self._is_released:
                self.lost.set()
            elif self._is_let_go:
                os.close(self._stop_fd)


def _environment(url: str | None, api_key: str | None) -> Mapping[str, str]:
    given = {"LESSOR_URL": url, "LESSOR_API_KEY": api_key}
    return {**os.environ, **{name: value for name, value in given.items() if value is not None}}


def _wait_silently(
    _position: int, _blocked_by: str, _holders: Sequence[Holder], _estimate: Estimate | None
) -> None:
    """A program that wants to know why it waits has ``lessor status``."""
