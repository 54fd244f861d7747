"""``/v1/leases``: acquire, renew, release, look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, RenewRequest, read_lease_id

from lessor_daemon import logs
from lessor_daemon.leasing.answers import renew_answer, renewed_wire
from lessor_daemon.leasing.service import Granted

from . import releasing
from .auth import actor_of, authorize
from .bodies import answer, read_message, retry_after_header
from .context import DIRECTORY, LEASING
from .paging import limit_of
from .repeats import remember_head

if TYPE_CHECKING:
    from lessor_protocol.queued import Queued

    from lessor_daemon.directory.callers import Caller

_log = logs.get_logger("lessor.http")


async def acquire(request: web.Request) -> web.Response:
    """201 with a new lease, 200 with one already granted, 202 with a place in the queue."""
    await authorize(request)
    wanted = AcquireRequest.from_wire(await read_message(request))
    caller = await authorize(request)  # anew: a body takes its time, and a key may be revoked
    logs.bind(lease=format_lease_id(wanted.lease_id), license=wanted.license)
    try:
        outcome = await _acquire(request, caller, wanted)
    except Problem as problem:
        _log.info("acquire_refused", code=problem.code)
        raise
    if isinstance(outcome, Granted):
        status = 201 if outcome.is_new else 200
        return answer(request, {"lease": outcome.lease.to_wire()}, status=status)
    retry_after = retry_after_header(outcome.retry_after_ms / 1000)
    return answer(request, outcome.to_wire(), status=202, headers={"Retry-After": retry_after})


async def _acquire(
    request: web.Request, caller: Caller, wanted: AcquireRequest
) -> Granted | Queued:
    leasing = request.app[LEASING]
    if not (wanted.hold_ms and wanted.wait_ms):
        return await leasing.acquire(caller, wanted)

    def is_there() -> bool:
        return request.transport is not None and not request.transport.is_closing()

    return await leasing.acquire_held(caller, wanted, is_there, partial(authorize, request))


async def renew(request: web.Request) -> web.Response:
    """200 with what was renewed and what is lost."""
    leasing = request.app[LEASING]
    try:
        caller = await authorize(request)
    except Problem as problem:
        if problem.code not in ("unauthenticated", "rate_limited"):
            raise
        wanted = RenewRequest.from_wire(await read_message(request))
        proven = await leasing.renew_proven(wanted)
        if proven is None:
            raise
        outcome = proven
    else:
        wanted = RenewRequest.from_wire(await read_message(request))
        results = await leasing.renew(caller, wanted)
        wire = renewed_wire(wanted.renewals, results)
        if wire is not None:
            remember_head(request)
            return answer(request, wire)
        outcome = renew_answer(wanted.renewals, results)
    for lost in outcome.lost:
        lease = format_lease_id(lost.lease_id)
        _log.info("renewal_refused", lease=lease, code=lost.code, reason=lost.reason)
    return answer(request, outcome.to_wire())


async def release(request: web.Request) -> web.Response:
    """204, also when repeated."""
    caller = await authorize(request)
    await releasing.release(
        request.app[LEASING],
        request.app[DIRECTORY],
        actor_of(request, caller),
        caller,
        _lease_id(request),
    )
    return web.Response(status=204)


async def lease(request: web.Request) -> web.Response:
    """200 with one lease."""
    caller = await authorize(request)
    found = await request.app[LEASING].records.get(caller, _lease_id(request))
    return answer(request, found.to_wire())


async def leases(request: web.Request) -> web.Response:
    """200 with a page of the leases that the key may see."""
    caller = await authorize(request)
    cursor = request.query.get("cursor") or None
    found, following = await request.app[LEASING].records.page(caller, cursor, limit_of(request))
    page: dict[str, object] = {"items": found}
    if following is not None:
        page["next"] = following
    return answer(request, page)


def _lease_id(request: web.Request) -> bytes:
    lease_id = read_lease_id(request.match_info["id"], "id")
    logs.bind(lease=format_lease_id(lease_id))
    return lease_id
