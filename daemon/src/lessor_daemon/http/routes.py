"""Every path that is served. The names label ``lessor_request_seconds``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from . import leases, ops, upgrade, watching
from .administration import routes as administration
from .context import DIRECTORY, LEASING, METRICS, REPEATS, SERVING, STORE, STREAM_CALLS
from .conversation import STREAM, converse
from .repeats import Repeats
from .stream_calls import StreamCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lessor_daemon.directory.service import Directory
    from lessor_daemon.leasing.service import Leasing
    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.store import Store

    from .context import Serving


class Route(NamedTuple):
    """One call."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    name: str


API = (
    Route("POST", "/v1/leases", leases.acquire, "acquire"),
    Route("POST", "/v1/leases/renew", leases.renew, "renew"),
    Route("POST", "/v1/leases/watch", watching.watch, "watch"),
    Route("GET", "/v1/leases", leases.leases, "leases"),
    Route("GET", "/v1/leases/{id}", leases.lease, "lease"),
    Route("DELETE", "/v1/leases/{id}", leases.release, "release"),
    Route("GET", "/v1/stream", upgrade.open_stream, STREAM),
    *(Route(*route) for route in administration.ROUTES),
)
OPS = (
    Route("GET", "/livez", ops.livez, "livez"),
    Route("GET", "/readyz", ops.readyz, "readyz"),
    Route("GET", "/metrics", ops.metrics, "metrics"),
    Route("GET", "/openapi.json", ops.openapi, "openapi"),
)


class Services(NamedTuple):
    """What the handlers call."""

    serving: Serving
    store: Store
    directory: Directory
    leasing: Leasing
    metrics: Metrics


def build(services: Services, routes: Sequence[Route]) -> web.Application:
    """An application that serves ``routes``."""
    app = web.Application(middlewares=[converse])
    app[SERVING] = services.serving
    app[STORE] = services.store
    app[DIRECTORY] = services.directory
    app[LEASING] = services.leasing
    app[METRICS] = services.metrics
    app[REPEATS] = Repeats(services.serving, services.directory, services.leasing, services.metrics)
    app[STREAM_CALLS] = StreamCalls(
        services.serving, services.directory, services.leasing, services.metrics
    )
    for route in routes:
        resource = app.router.add_resource(_pattern(route.path), name=route.name)
        resource.add_route(route.method, route.handler)
        if route in OPS:
            resource.add_route("HEAD", route.handler)  # as many probes ask; aiohttp sends no body
    return app


def _pattern(path: str) -> str:
    """The path as the router takes it: the name of a call is no id beside it."""
    beside, _, last = path.rpartition("/")
    if last == "{id}" and (names := _CALLS_BESIDE_IDS.get(beside)):
        return f"{beside}/{{id:(?!(?:{'|'.join(names)})$)[^{{}}/]+}}"
    return path


_CALLS_BESIDE_IDS = {"/v1/leases": ("renew", "watch"), "/v1/orgs/{org}/machines": ("remove",)}
