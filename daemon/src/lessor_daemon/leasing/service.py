"""Leasing: what a call to acquire, renew or release a lease does.

The decision itself is one atomic script (``store/lua/acquire.lua``); here stand the rules around
it: who may ask, what the answer means, what is counted and logged.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack
import structlog
from lessor_protocol import timing
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import Lease
from lessor_protocol.queued import Queued

from lessor_daemon.directory.callers import RUN
from lessor_daemon.store import scripts
from lessor_daemon.store.messages import NEWS, OFFERS, listen
from lessor_daemon.store.scripts import InLine, NotGranted
from lessor_daemon.times import wall_text

from . import certificate
from .answers import full, queued, refusal, renew_answer
from .clocks import LeaseClocks
from .estimates import Estimates
from .holders import Holders, pack_holder
from .news import News
from .records import Records
from .renew_batch import RenewBatch
from .renewals import Renewals
from .waiting import Place, Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lessor_protocol.messages import AcquireRequest, Renewal, RenewAnswer, RenewRequest

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.directory.changes import RunScript
    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.scripts import Ended, SeatGranted
    from lessor_daemon.store.store import Store

    from .memory import ClockMemory
    from .renewals import Answered, Request, Result
    from .settings import LeasingSettings

LONGEST_HOLD_MS = 10_000
"""An acquire is held open no longer, so that proxies on the way do not lose patience."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease. ``is_new`` is False when the same acquire was answered before."""

    lease: Lease
    is_new: bool


class Leasing:
    """All calls on leases. Every method may raise ``Problem``."""

    def __init__(
        self,
        store: Store,
        settings: LeasingSettings,
        metrics: Metrics,
        memory: ClockMemory,
        *,
        boottime_ms: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._boottime_ms = boottime_ms
        self._wall_ms = wall_ms
        self._clocks = LeaseClocks(
            store,
            settings,
            metrics,
            memory,
            boottime_ms=boottime_ms,
            wall_ms=wall_ms,
            on_ended=self._count_ended,
        )
        self._batch = RenewBatch(store, settings, metrics, self._clocks, wall_ms=wall_ms)
        self._waiting = Waiting(store, self._clocks, boottime_ms=boottime_ms)
        self.news = News(store, self._clocks, max_ttl_ms=settings.max_ttl_ms)
        self._renewals: Renewals | None = None
        self._holders = Holders(store, boottime_ms)
        self.records = Records(store)
        self.estimates = Estimates(store, boottime_ms=boottime_ms, wall_ms=wall_ms)
        self._is_draining = False

    @property
    def run(self) -> RunScript:
        """Calls a script with an organization's lease clock."""
        return self._clocks.run

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return self._clocks.epoch

    @property
    def is_recovering(self) -> bool:
        """Whether some organization grants nothing yet."""
        return self._clocks.is_recovering

    def start(self, group: asyncio.TaskGroup) -> None:
        """Keep clocks running and renewals flowing in tasks of ``group`` until it ends."""
        self._renewals = Renewals(self._batch, group)
        group.create_task(self._clocks.keep_running(), name="lease clocks")
        self._waiting.start(group)
        self.news.start(group)
        hears = {OFFERS: self._waiting.offered, NEWS: self.news.heard}
        group.create_task(listen(self._store, hears), name="messages")

    def start_draining(self) -> None:
        """Grant nothing more; renewals and releases go on."""
        self._is_draining = True
        self._waiting.wake_all()
        self.news.start_draining()

    async def acquire(self, caller: Caller, request: AcquireRequest) -> Granted | Queued:
        """Grant a lease, or a place in the line when ``request.wait_ms`` is not 0."""
        answer, _ = await self._counted_acquire(caller, request)
        return answer

    async def _counted_acquire(
        self, caller: Caller, request: AcquireRequest
    ) -> tuple[Granted | Queued, int]:
        """The answer, and the ttl that the lease has or would have.

        What is refused is counted by who answers the call: most refusals never come this far.
        """
        org = caller.require(RUN)
        if self._is_draining:
            raise Problem("draining", "this daemon is shutting down", retry_after=1)
        caller.require_license(request.license)
        answer, ttl_ms = await self._acquire(org, caller, request)
        result = "queued" if isinstance(answer, Queued) else "granted"
        if isinstance(answer, Granted) and not answer.is_new:
            result = "repeated"
        self._metrics.acquire_total.labels(result).inc()
        return answer, ttl_ms

    async def acquire_held(
        self,
        caller: Caller,
        request: AcquireRequest,
        is_there: Callable[[], bool],
        authorize: Callable[[], Awaitable[Caller]],
    ) -> Granted | Queued:
        """As ``acquire``, but a place in the line is answered only after ``request.hold_ms``.

        The seat is claimed the moment it is offered, if ``is_there()``: the caller may have gone
        meanwhile, and then the offer goes to the next. So it does if the key was revoked meanwhile:
        ``authorize()`` says anew who calls, or raises ``Problem``.
        """
        with self._waiting.turn_of(caller.require(RUN), request.lease_id, is_there) as turn:
            place = None if self._is_draining else self._waiting.recall(caller, request)
            is_recalled = place is not None
            if place is None:
                told_ms = self._boottime_ms()
                answer, ttl_ms = await self._counted_acquire(caller, request)
                if isinstance(answer, Granted):
                    return answer
                place = Place(answer, ttl_ms, caller, request.content(), told_ms)
            # The client counts its deadline from before this call: most of a ttl must be left.
            hold_ms = min(request.hold_ms, LONGEST_HOLD_MS, place.ttl_ms // 3)
            try:
                async with asyncio.timeout(hold_ms / 1000):
                    await turn.has_come.wait()
            except TimeoutError:
                told = place.answer
                if is_recalled and not turn.kept_ms and is_there():
                    # Nothing since this call began has shown that no seat is offered to it.
                    answer = await self.acquire(await authorize(), request)
                    if isinstance(answer, Granted):
                        return answer
                    told = answer
                self._waiting.held_in_vain(request.lease_id, turn, place)
                told.retry_after_ms = 0
                return told
        if not is_there():
            return place.answer
        return await self.acquire(await authorize(), request)

    async def renew(self, caller: Caller, request: RenewRequest) -> list[Result]:
        """Extend leases; ``answers`` says what the results mean.

        Never refused for quota, and not for draining.
        """
        return await self._collector().renew(caller.require(RUN), request.renewals)

    def submit_renewals(
        self, caller: Caller, renewals: list[Renewal], answered: Answered
    ) -> Request:
        """As ``renew``, for one lease or more, without a task for each call.

        ``answered`` is called with what ``answers.renew_answer`` reads, or with what went wrong.
        """
        return self._collector().submit(caller.require(RUN), renewals, answered)

    def _collector(self) -> Renewals:
        if self._renewals is None:
            raise Problem("store_unavailable", "the daemon is still starting", retry_after=1)
        return self._renewals

    async def renew_proven(self, request: RenewRequest) -> RenewAnswer | None:
        """Extend leases whose certificates are the only proof, while their store recovers.

        A store that was emptied knows no API key either, and that must not end a healthy test.
        None unless all certificates are valid, of one organization, and it is recovering.
        """
        org = self._batch.proven_org(request.renewals)
        if org is None or not await self._clocks.check_recovering(org):
            return None
        results = await self._collector().renew(org, request.renewals)
        return renew_answer(request.renewals, results)

    async def release(self, caller: Caller, lease_id: bytes, reason: str = "") -> bool:
        """End a lease of the caller's own, or leave the line.

        False, and nothing is done, for an admin and what is somebody else's: to end that is the
        directory's part.
        Raises ``Problem`` ``not_found`` for an id never seen, which is spent from then on.
        """
        org = caller.require(RUN)
        await self.records.require_within_reach(org, caller, lease_id)
        _, released = await self._clocks.run(
            org,
            lambda c: scripts.release(
                self._store,
                org,
                c,
                lease_id,
                asker=caller.owner,
                may_end_others=caller.is_admin,
            ),
        )
        if released.status == "others":
            return False
        if released.status == "forbidden":
            raise Problem("forbidden", "this lease belongs to somebody else")
        if released.status == "unknown":
            raise Problem("not_found", f"no lease {format_lease_id(lease_id)}; the id is spent now")
        if released.status == "released":
            self._metrics.lease_ended_total.labels(released.reason).inc()
            _log.info(
                "lease_released",
                license=released.license,
                machine=released.machine,
                token=released.token,
                reason=reason or released.reason,
            )
        elif released.status == "left":
            _log.info("waiter_left", license=released.license)
        return True

    async def _acquire(
        self, org: str, caller: Caller, request: AcquireRequest
    ) -> tuple[Granted | Queued, int]:
        fingerprint = _fingerprint(request)
        _, ended, outcome = await self._clocks.run(
            org,
            lambda context: scripts.acquire(
                self._store,
                org,
                context,
                lease_id=request.lease_id,
                license=request.license,
                machine=request.machine.id,
                ephemeral=request.machine.ephemeral,
                fingerprint=fingerprint,
                owner=caller.owner,
                holder=pack_holder(request, caller.key_id),
                labels=msgpack.packb(request.labels),
                least_seats=request.seats,
                most_seats=request.most_seats,
                may_wait=request.wait_ms > 0,
                margin_ms=self._settings.fixed_margin_ms,
                wall_ms=self._wall_ms(),
            ),
        )
        self._count_ended(org, ended)
        if isinstance(outcome, InLine):
            holders = await self._holders.of(org, request.license)
            # Machines, caps and drains end by other rules than sessions do.
            estimate = (
                await self.estimates.of(org, request.license, outcome.position)
                if outcome.blocked_by == "seats"
                else None
            )
            return queued(outcome, holders, estimate), outcome.ttl_ms
        if isinstance(outcome, NotGranted):
            if outcome.status != "full":
                raise refusal(request.license, outcome)
            raise full(request.license, outcome.why, await self._holders.of(org, request.license))
        return self._granted(org, caller, request, outcome, fingerprint), outcome.ttl_ms

    def _granted(
        self,
        org: str,
        caller: Caller,
        request: AcquireRequest,
        seat: SeatGranted,
        fingerprint: bytes,
    ) -> Granted:
        proof = certificate.issue(
            self._settings.secret,
            certificate.Claims(
                org=org,
                license=request.license,
                lease_id=request.lease_id,
                machine=request.machine.id,
                ephemeral=request.machine.ephemeral,
                token=seat.token,
                epoch=self._clocks.epoch_of(org),
                ttl_ms=seat.ttl_ms,
                fingerprint=fingerprint,
                owner=caller.owner,
                seats=seat.seats,
                group=seat.group,
                named=seat.named,
                key_id=caller.key_id,
            ),
        )
        if seat.is_new:
            if seat.waited_ms is not None:
                self._metrics.queue_wait_seconds.observe(seat.waited_ms / 1000)
            _log.info(
                "lease_granted",
                license=request.license,
                machine=request.machine.id,
                token=seat.token,
                waited_ms=seat.waited_ms or 0,
            )
        lease = Lease(
            lease_id=request.lease_id,
            license=request.license,
            token=seat.token,
            ttl_ms=seat.ttl_ms,
            renew_after_ms=timing.renew_after_ms(seat.ttl_ms),
            granted_at=wall_text(seat.granted_at_wall_ms),
            certificate=proof,
            machine=request.machine,
            process=request.process,
            labels=request.labels,
            seats=seat.seats,
            idle_timeout_ms=seat.idle_seconds * 1000,
        )
        return Granted(lease, is_new=seat.is_new)

    def _count_ended(self, org: str, ended: list[Ended]) -> None:
        for lease in ended:
            self._metrics.lease_ended_total.labels(lease.reason).inc()
            _log.info(
                "lease_ended",
                org=org,
                license=lease.license,
                lease=format_lease_id(lease.lease_id),
                machine=lease.machine,
                token=lease.token,
                reason=lease.reason,
            )


def _fingerprint(request: AcquireRequest) -> bytes:
    """Tells a repeated acquire from another one under the same id."""
    return hashlib.blake2b(msgpack.packb(request.content()), digest_size=8).digest()
