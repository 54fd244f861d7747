"""Bytes that are no text, wherever a request may carry some: no call fails because of them."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.http import routes
from support.raw import RawConnection

if TYPE_CHECKING:
    from support.daemon import DaemonProcess

JSON = b"application/json"
NO_TEXT = (b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe9")
"""No UTF-8, half of a surrogate pair, and text that is not ASCII."""
HEADERS = (
    b"Authorization",
    b"Content-Type",
    b"Content-Encoding",
    b"Accept",
    b"Lessor-Protocol",
    b"If-Match",
    b"Cookie",
    b"Host",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Version",
    b"Upgrade",
    b"Expect",
    b"X-Forwarded-For",
)
QUERY = (
    *(
        b"limit",
        b"cursor",
        b"license",
        b"user",
        b"machine",
        b"reason",
        b"state",
        b"since",
        b"until",
    ),
    *(b"member", b"format", b"dry_run", b"end_sessions", b"unseen_for", b"action", b"ephemeral"),
)
NAMES = {"org": "default", "id": "67ca3ace-0ae6-4801-a51c-7b0ea531ed19", "name": "kre"}
NAMES |= {"email": "ada@example.com", "serial": "0011223344556677"}
ROUTES = (*routes.API, *routes.OPS)


def ask(
    daemon: DaemonProcess, method: str, path: bytes, headers: dict[bytes, bytes], body: bytes = b""
) -> tuple[int, str]:
    """Status and code of one request of these bytes."""
    given = {
        b"Host": b"x",
        b"Authorization": b"Bearer " + (daemon.caller().key or "").encode(),
        b"Content-Type": JSON,
        b"Content-Length": str(len(body)).encode(),
        b"Connection": b"close",
        **headers,
    }
    lines = [b"%s %s HTTP/1.1" % (method.encode(), path)]
    lines += [b"%s: %s" % line for line in given.items()]
    with RawConnection(daemon.url) as connection:
        connection.send(b"\r\n".join([*lines, b"", b""]) + body)
        status, headers_read, answer = connection.read_bytes()
    code = ""
    if headers_read.get("content-type") == "application/problem+json":
        code = json.loads(answer)["code"]
    return status, code


def is_answer(status: int, code: str) -> bool:
    """Whether it is one that the protocol knows."""
    return status < 500 and code != "internal"


@pytest.mark.parametrize("text", NO_TEXT, ids=[text.hex() for text in NO_TEXT])
def test_a_key_of_any_bytes_is_unauthenticated(shared: DaemonProcess, text: bytes) -> None:
    keys = [b"Bearer " + text, b"Bearer lsr_" + text + b"_x", b"Bearer lsr_x_" + text]
    for key in [*keys, text, b"Bearer " + text + b" x", b"B" + text + b" lsr_x_y"]:
        for path in (b"/v1/whoami", b"/v1/stream", b"/v1/leases"):
            told = ask(shared, "GET", path, {b"Authorization": key})
            assert told in ((401, "unauthenticated"), (429, "rate_limited"))


@pytest.mark.parametrize("header", HEADERS, ids=[name.decode() for name in HEADERS])
def test_a_header_of_any_bytes_fails_no_call(shared: DaemonProcess, header: bytes) -> None:
    one_of_each = {route.method: route for route in ROUTES if "{" not in route.path}.values()
    paths = [(route.method, route.path) for route in one_of_each]
    paths += [
        ("DELETE", "/v1/orgs/default/members/ada@example.com"),
        ("GET", "/v1/stream"),
        ("GET", "/nowhere"),
    ]
    for text, (method, path) in itertools.product(NO_TEXT, paths):
        told = ask(shared, method, path.encode(), {header: text})
        assert is_answer(*told), (method, path, text)
        told = ask(shared, method, path.encode(), {header: b"a;q=" + text + b", b"})
        assert is_answer(*told), (method, path, text)


@pytest.mark.parametrize("header", ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_an_upgrade_of_any_bytes_is_malformed(shared: DaemonProcess, header: str) -> None:
    upgrade = {
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
        b"Sec-WebSocket-Key": b"AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for text in NO_TEXT:
        told = ask(shared, "GET", b"/v1/stream", {**upgrade, header.encode(): text})
        assert told == (400, "malformed")


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_paths_and_queries_of_any_bytes_fail_no_call(
    shared: DaemonProcess, route: routes.Route
) -> None:
    for text in NO_TEXT:
        for sent in (text, b"".join(b"%%%02X" % byte for byte in text)):
            for name in NAMES:
                if f"{{{name}}}" in route.path:
                    path = route.path.replace(f"{{{name}}}", "@@").format(**NAMES).encode()
                    told = ask(shared, route.method, path.replace(b"@@", b"x" + sent), {}, b"{}")
                    assert is_answer(*told), (path, sent)
            path = route.path.format(**NAMES).encode()
            query = b"&".join(b"%s=%s" % (name, sent) for name in QUERY)
            for asked in (path + b"?" + query, path + b"?" + sent, path + b"#" + sent):
                told = ask(shared, route.method, asked, {}, b"{}")
                assert is_answer(*told), asked


@pytest.mark.parametrize("name", QUERY, ids=[name.decode() for name in QUERY])
def test_a_parameter_of_any_bytes_fails_no_list(shared: DaemonProcess, name: bytes) -> None:
    lists = [route.path for route in routes.API if route.method == "GET" and route.name != "stream"]
    for path, text in itertools.product(lists, NO_TEXT[:4]):
        sent = b"".join(b"%%%02X" % byte for byte in text)
        told = ask(shared, "GET", path.format(**NAMES).encode() + b"?%s=%s" % (name, sent), {})
        assert is_answer(*told), (path, text)
