"""For operators: liveness, readiness, metrics and the description of the API. No key needed."""

from __future__ import annotations

import asyncio

from aiohttp import web
from lessor_protocol.errors import Problem
from prometheus_client import CONTENT_TYPE_LATEST

from lessor_daemon import logs
from lessor_daemon.leasing.gauges import license_gauges
from lessor_daemon.store.errors import StoreUnavailable

from .bodies import answer
from .context import LEASING, METRICS, SERVING, STORE
from .openapi import document

PROBE_SECONDS = 2.0
"""A store that answers later than this counts as away; probes themselves give up soon after."""

_log = logs.get_logger("lessor.http")


async def livez(request: web.Request) -> web.Response:
    """200 while the event loop turns. It asks nothing else: a restart would not help the store."""
    return answer(request, {"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """200 when calls can be served, also while recovering; else 503 and why."""
    serving = request.app[SERVING]
    if serving.is_draining:
        raise Problem("draining", "the daemon is shutting down", retry_after=1)
    serving.require_ready()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await request.app[STORE].ping()
    except (StoreUnavailable, TimeoutError):
        raise Problem("store_unavailable", "the store does not answer", retry_after=1) from None
    return answer(request, {"status": "ready", "recovering": request.app[LEASING].is_recovering})


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text. Without the store the licenses' gauges are left out, the rest stays."""
    shown = request.app[METRICS]
    try:
        request.app[SERVING].require_ready()
        async with asyncio.timeout(PROBE_SECONDS):
            gauges = await license_gauges(request.app[STORE])
    except (Problem, StoreUnavailable, TimeoutError) as error:
        _log.debug("license_gauges_missing", reason=str(error))
        shown.hide_licenses()
    else:
        shown.show_licenses(gauges)
    others = await shown.ask_others()
    text = shown.exposition(others)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def openapi(_request: web.Request) -> web.Response:
    """The description of this API."""
    return web.json_response(document())
