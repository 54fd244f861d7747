"""Renewals as bytes, and whether the daemon had to take them apart."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .raw import RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .daemon import DaemonProcess

Answer = tuple[int, dict[str, str], Any]


def renewal(key: str, *leases: str, **headers: str) -> bytes:
    """A request in one piece."""
    body = json.dumps({"leases": leases}).encode()
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = [
        "POST /v1/leases/renew HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        *(f"{name}: {value}" for name, value in given.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(connection: RawConnection, data: bytes) -> Answer:
    connection.send(data)
    return connection.read_answer()


def was_taken_apart(answer: Answer) -> bool:
    """Whether aiohttp wrote the answer: it puts the length behind the other headers."""
    return list(answer[1]).index("content-length") > list(answer[1]).index("server")


def until_known(connection: RawConnection, request: bytes) -> Answer:
    """The first answer that was not taken apart: right after another one, aiohttp is still busy."""
    for _ in range(100):
        answer = ask(connection, request)
        if not was_taken_apart(answer):
            return answer
    raise AssertionError("the request stays unknown")


@contextmanager
def known(daemon: DaemonProcess, request: bytes) -> Iterator[RawConnection]:
    """A connection on which ``request`` is known by its head."""
    with RawConnection(daemon.url) as connection:
        until_known(connection, request)
        yield connection
