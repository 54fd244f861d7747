"""Requests that are HTTP, and that hardly anybody sends: each answer is one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.raw import RawConnection

if TYPE_CHECKING:
    from support.daemon import DaemonProcess

HOST = b"Host: x\r\n"
RENEWAL = b'{"leases":[]}'
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


def get(target: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + HOST + b"".join(headers) + b"\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(get(b"/livez", b"Expect: x\r\n"), 400, "malformed", id="expect"),
        pytest.param(get(b"/nowhere", b"Expect: x\r\n"), 400, "malformed", id="expect nowhere"),
        pytest.param(
            b"POST /v1/leases HTTP/1.1\r\nHost: x\r\nExpect: x\r\nContent-Length: 9\r\n\r\n",
            400,
            "malformed",
            id="expect with a body that never comes",
        ),
        pytest.param(b"OPTIONS /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        pytest.param(b"TRACE /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        pytest.param(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        pytest.param(get(b"//livez"), 404, "not_found", id="two slashes"),
        pytest.param(get(b"/v1/../livez"), 404, "not_found", id="dots"),
        pytest.param(get(b"/%00%ff/%zz"), 404, "not_found", id="percent"),
        pytest.param(get(b"/" + b"a" * 8_000), 404, "not_found", id="long"),
        pytest.param(get(b"/" + b"a" * 9_000), 400, "malformed", id="too long"),
        pytest.param(get(b"livez"), 400, "malformed", id="no slash"),
        pytest.param(get(b"http://[/livez"), 400, "malformed", id="no address"),
        pytest.param(get(b"http://x:99999999/livez"), 400, "malformed", id="no port"),
        pytest.param(get(b"/livez", version=b"HTTP/1.2"), 400, "malformed", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed", id="http2"),
        pytest.param(
            b"POST /v1/leases HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed",
            id="two lengths",
        ),
        pytest.param(
            b"POST /v1/leases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            400,
            "malformed",
            id="unknown framing",
        ),
        pytest.param(
            get(b"/v1/leases", b"Authorization: Bearer \xff\xfe\x80\r\n"),
            401,
            "unauthenticated",
            id="a key that is no text",
        ),
        pytest.param(
            get(b"/v1/leases", b"Authorization: Bearer lsr_" + b"a" * 8_000 + b"_b\r\n"),
            401,
            "unauthenticated",
            id="a long key",
        ),
        pytest.param(get(b"/v1/stream", UPGRADE), 401, "unauthenticated", id="stream"),
    ],
)
def test_it_is_refused_with_a_code_and_a_request_id(
    shared: DaemonProcess, request_bytes: bytes, status: int, code: str
) -> None:
    with RawConnection(shared.url) as connection:
        connection.send(request_bytes)
        answered, headers, body = connection.read_answer()
    assert (answered, body["code"]) == (status, code)
    assert headers["lessor-request-id"]
    assert headers["server"] == "lessor"
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "key", [b"", b"Sec-WebSocket-Key: \xe9\xff\r\n", b"Sec-WebSocket-Key: a\r\n"]
)
def test_a_stream_without_a_proper_key_is_malformed(shared: DaemonProcess, key: bytes) -> None:
    authorization = f"Authorization: Bearer {shared.key()}\r\n".encode()
    with RawConnection(shared.url) as connection:
        connection.send(get(b"/v1/stream", authorization, UPGRADE, key))
        status, headers, body = connection.read_answer()
    assert (status, body["code"]) == (400, "malformed")
    assert headers["lessor-request-id"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get(b"/livez", version=b"HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(get(b"/livez", b"Expect: x\r\n", version=b"HTTP/1.0"), id="expect 1.0"),
        pytest.param(get(b"http://elsewhere/livez"), id="absolute"),
        pytest.param(get(b"/livez", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), id="h2c"),
        pytest.param(get(b"/livez", UPGRADE), id="websocket elsewhere"),
        pytest.param(get(b"/livez", b"A: b\r\n" * 100), id="many headers"),
        pytest.param(get(b"/livez", b"Accept: \xff;q=\xff,,;;\r\n"), id="accept"),
    ],
)
def test_it_is_answered_as_any_other(shared: DaemonProcess, request_bytes: bytes) -> None:
    with RawConnection(shared.url) as connection:
        connection.send(request_bytes)
        status, headers, body = connection.read_answer()
    assert (status, body) == (200, {"status": "alive"})
    assert headers["lessor-request-id"]


@pytest.mark.parametrize(("path", "status"), [(b"/livez", b"200"), (b"/v1/leases/renew", b"405")])
def test_a_head_alone_has_no_body(shared: DaemonProcess, path: bytes, status: bytes) -> None:
    with RawConnection(shared.url) as connection:
        connection.send(b"HEAD %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
        head = connection.read_rest()
    assert head.startswith(b"HTTP/1.1 %s " % status)
    assert b"\r\nLessor-Request-Id: " in head
    assert head.endswith(b"\r\n\r\n")


def test_who_expects_to_be_told_to_continue_is_told(shared: DaemonProcess) -> None:
    length = str(len(RENEWAL))
    with RawConnection(shared.url) as connection:
        connection.send_head(
            "/v1/leases/renew", shared.key(), Content_Length=length, Expect="100-continue"
        )
        assert connection.read_answer()[0] == 100
        connection.send(RENEWAL)
        status, headers, body = connection.read_answer()
    assert (status, body["renewed"]) == (200, [])
    assert headers["lessor-request-id"]


def test_each_of_those_sent_ahead_has_an_answer_of_its_own_up_to_what_cannot_be_read(
    shared: DaemonProcess,
) -> None:
    with RawConnection(shared.url) as connection:
        connection.send(get(b"/livez") + get(b"/nowhere"))
        answers = [connection.read_answer() for _ in range(2)]
        connection.send(get(b"/livez", b"Content-Length: x\r\n"))
        answers.append(connection.read_answer())
        assert connection.is_closed_within(5)
    assert [status for status, _, _ in answers] == [200, 404, 400]
    assert len({headers["lessor-request-id"] for _, headers, _ in answers}) == 3
