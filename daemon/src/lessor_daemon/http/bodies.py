"""Bodies in and out: media types, and bounds on size and time while a body arrives."""

from __future__ import annotations

import asyncio
import math
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import web
from lessor_protocol import codec
from lessor_protocol.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_SECONDS = 10.0
"""Longest time for a body to arrive, however slowly its sender trickles."""

_SPOKEN = (codec.JSON, codec.MSGPACK)


async def read_message(request: web.Request) -> object:
    """The decoded body.

    Raises ``Problem``: ``unsupported_type``, ``too_large`` or ``malformed``.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported_type", "send the body without a Content-Encoding")
    media_type = request.content_type
    if media_type not in _SPOKEN:
        raise Problem("unsupported_type", f"send {codec.JSON} or {codec.MSGPACK}")
    return codec.decode(await _receive(request), media_type)


async def _receive(request: web.Request) -> bytes:
    if (request.content_length or 0) > codec.MAX_BYTES:
        raise _too_large()
    content = request.content
    if content.is_eof() and content.exception() is None:
        # It came with the head, as a renewal's does: nothing to wait for, and no timer to set.
        received_whole = content.read_nowait()
        if len(received_whole) > codec.MAX_BYTES:
            raise _too_large()
        return received_whole
    if request.transport is None:  # lost before anybody read, which aiohttp takes for a mistake
        raise _ended_early()
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in content.iter_any():
                received += chunk
                if len(received) > codec.MAX_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Problem(
            "malformed", f"the body did not arrive within {BODY_SECONDS:.0f} seconds"
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise _ended_early() from None
    return bytes(received)


def _ended_early() -> Problem:
    return Problem("malformed", "the body ended early or is badly framed")


def _too_large() -> Problem:
    return Problem("too_large", f"a message has at most {codec.MAX_BYTES} bytes")


def answer(
    request: web.Request,
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """``value`` as an answer."""
    media_type = answer_type(request)
    return web.Response(
        body=codec.encode(value, media_type),
        status=status,
        headers={"Content-Type": media_type, **(headers or {})},
    )


def answer_type(request: web.Request) -> str:
    """The media type of an answer: what the client accepts, else what it sent, else JSON."""
    accepted = _first_spoken(request.headers.get("Accept", ""))
    if accepted is not None:
        return accepted
    return codec.MSGPACK if request.content_type == codec.MSGPACK else codec.JSON


def problem_answer(request: web.BaseRequest, problem: Problem) -> web.Response:
    """Problem details as an answer."""
    headers, body = problem_parts(request.headers.get("Accept", ""), problem)
    return web.Response(body=body, status=problem.status, headers=headers)


def problem_parts(accept: str, problem: Problem) -> tuple[dict[str, str], bytes]:
    """Headers and body of problem details: JSON unless the client says that it accepts msgpack."""
    plain = _first_spoken(accept) != codec.MSGPACK
    body = codec.encode(problem.to_wire(), codec.JSON if plain else codec.MSGPACK)
    headers = {"Content-Type": codec.PROBLEM_JSON if plain else codec.PROBLEM_MSGPACK}
    if problem.retry_after is not None:
        headers["Retry-After"] = retry_after_header(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers, body


def retry_after_header(seconds: float) -> str:
    """Whole seconds, rounded up: a client that takes them literally never comes too early."""
    return str(max(1, math.ceil(seconds)))


@lru_cache(maxsize=256)
def _first_spoken(accept: str) -> str | None:
    """The first of our media types that ``Accept`` names by name; wildcards leave it open."""
    for part in accept.split(","):
        media_type, _, parameters = part.partition(";")
        refused = parameters.replace(" ", "") in ("q=0", "q=0.0")
        name = media_type.strip().lower()
        if refused:
            continue
        if name in (codec.MSGPACK, codec.PROBLEM_MSGPACK):
            return codec.MSGPACK
        if name in (codec.JSON, codec.PROBLEM_JSON):
            return codec.JSON
    return None
