"""What every call has in common: its id, version check, problem details, metrics, drain."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from aiohttp import web
from lessor_protocol import PROTOCOL_VERSION, frames
from lessor_protocol.errors import Problem

from lessor_daemon import logs

from .bodies import problem_answer
from .context import METRICS, SERVING

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

REQUEST_ID_HEADER = "Lessor-Request-Id"
VERSION_HEADER = "Lessor-Protocol"
SERVER = "lessor"
"""Instead of the versions of Python and aiohttp, which are nobody's business."""
STREAM = "stream"
"""The route that is a connection rather than a call."""
_REQUEST_ID = "request_id"

_log = logs.get_logger("lessor.http")


def new_request_id() -> str:
    """Always our own: a client cannot write into the log by choosing one."""
    return f"{random.getrandbits(64):016x}"  # told to everybody, and proves nothing


def request_id_of(request: web.Request) -> str:
    """The id of the call that ``converse`` has begun."""
    found: str = request[_REQUEST_ID]
    return found


@web.middleware
async def converse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Wrap a call: nothing but an answer with a stable code leaves the daemon."""
    serving = request.app[SERVING]
    request_id = new_request_id()
    request[_REQUEST_ID] = request_id
    logs.bind(request=request_id)
    started = time.perf_counter()
    serving.call_begins()
    try:
        response = await _answer(request, handler)
    finally:
        serving.call_ends()
        _observe(request, time.perf_counter() - started)
    response.headers[REQUEST_ID_HEADER] = request_id
    response.headers["Server"] = SERVER
    if serving.is_draining:
        response.force_close()
    _log.debug("request", method=request.method, path=request.path, status=response.status)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _check_version(request)
        return await handler(request)
    except Problem as problem:
        return _refuse(request, problem)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = _refuse(request, Problem("method_not_allowed", f"use {allowed}"))
        response.headers["Allow"] = allowed
        return response
    except web.HTTPNotFound:
        return _refuse(request, Problem("not_found", "nothing is served at this path"))
    except web.HTTPException as error:
        _log.warning("unexpected_http_error", status=error.status)
        return _refuse(request, Problem("malformed", error.reason))
    except Exception:  # noqa: BLE001  # the last line of defence: nothing of the inside leaks out
        _log.exception("internal_error", method=request.method, path=request.path)
        return _refuse(request, internal_problem())


def internal_problem() -> Problem:
    """What a client hears of our own mistakes: where to look, and nothing of the inside."""
    return Problem(
        "internal", f"the server failed; its log says more under this {REQUEST_ID_HEADER}"
    )


def _refuse(request: web.Request, problem: Problem) -> web.Response:
    if _operation(request) == frames.ACQUIRE:
        request.app[METRICS].acquire_refused(problem.code)
    response = problem_answer(request, problem)
    if not request.content.is_eof():
        # The rest of the body is still on its way, and may never end.
        response.force_close()
    return response


def _check_version(request: web.Request) -> None:
    spoken = request.headers.get(VERSION_HEADER)
    if spoken is not None and spoken != str(PROTOCOL_VERSION):
        raise Problem(
            "unsupported_version",
            f"this server speaks version {PROTOCOL_VERSION} of the protocol",
            data={"supported": [PROTOCOL_VERSION]},
        )


def _observe(request: web.Request, seconds: float) -> None:
    operation = _operation(request)
    if operation != STREAM:  # its frames are timed one by one
        request.app[METRICS].observe_request(operation, seconds)


def _operation(request: web.Request) -> str:
    """A name from our own routes: a label must not grow with what clients send."""
    route = request.match_info.route
    return route.name or "unknown"
