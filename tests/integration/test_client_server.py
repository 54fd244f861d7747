"""The server's calls over a real socket: what is sent, and what each kind of answer means."""

from __future__ import annotations

import pytest
from lessor.config import ClientConfig
from lessor.errors import NoAnswer
from lessor.server import Server
from lessor_protocol import codec
from lessor_protocol.errors import Problem
from lessor_protocol.messages import AcquireRequest, Lease, Machine, Process, Renewal, RenewAnswer
from lessor_protocol.queued import Queued
from support.raw_server import RawServer, answer, answer_always

LEASE_ID = bytes(range(16))
KEY = "lsr_k1_S3cret"
REQUEST = AcquireRequest(LEASE_ID, "kre", Machine("rig-1"), Process(7, "pytest"))
LEASE = Lease(
    lease_id=LEASE_ID,
    license="kre",
    token=7,
    ttl_ms=30_000,
    renew_after_ms=7_500,
    granted_at="2026-01-01T00:00:00Z",
    certificate="proof",
    machine=REQUEST.machine,
    process=REQUEST.process,
    labels={},
)
ME = {"organization": "acme", "default_license": "kre"}


def response(
    status: int, value: object, media_type: str = codec.MSGPACK, *, raw: bytes | None = None
) -> bytes:
    body = raw if raw is not None else codec.encode(value, media_type.replace("problem+", ""))
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def server_at(*urls: str) -> Server:
    return Server(ClientConfig(urls, KEY))


def whoami(*responses: bytes) -> dict[str, object]:
    with RawServer(answer(*responses)) as raw:
        server = server_at(raw.url)
        try:
            return server.whoami(5_000)
        finally:
            server.close()


def test_an_acquire_is_sent_with_all_that_the_protocol_asks_for() -> None:
    log: list[bytes] = []
    with RawServer(answer_always(response(201, {"lease": LEASE.to_wire()}), log)) as raw:
        server = server_at(raw.url)
        assert server.acquire(REQUEST, 5_000) == LEASE
        server.close()
    head, _, body = log[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/leases HTTP/1.1"
    assert {
        f"Authorization: Bearer {KEY}",
        "Accept: application/msgpack",
        "Content-Type: application/msgpack",
        "Lessor-Protocol: 1",
        "User-Agent: lessor/0.1.0",
    } <= set(lines)
    assert AcquireRequest.from_wire(codec.decode(body, codec.MSGPACK)) == REQUEST


@pytest.mark.parametrize(
    "media_type", [codec.MSGPACK, codec.JSON, "application/json; charset=utf-8"]
)
def test_answers_are_read_in_both_media_types(media_type: str) -> None:
    body = codec.encode(ME, media_type.partition(";")[0])
    assert whoami(response(200, None, media_type, raw=body)) == ME


def test_a_202_is_a_place_in_the_queue() -> None:
    queued = Queued(9, 2, "seats", [], 500)
    with RawServer(answer(response(202, queued.to_wire()))) as raw:
        server = server_at(raw.url)
        assert server.acquire(REQUEST, 5_000) == queued
        server.close()


def test_renewals_and_releases_are_sent_and_read() -> None:
    log: list[bytes] = []
    renewed = RenewAnswer([LEASE_ID], [], 30_000, 7_500)
    no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
    with RawServer(answer(response(200, renewed.to_wire()), no_content, log=log)) as raw:
        server = server_at(raw.url)
        assert server.renew([Renewal(LEASE_ID, "proof")], 5_000) == renewed
        server.release(LEASE_ID, 5_000)
        server.close()
    assert log[1].startswith(b"DELETE /v1/leases/00010203-0405-0607-0809-0a0b0c0d0e0f HTTP/1.1\r\n")


def test_lists_are_read_page_by_page() -> None:
    log: list[bytes] = []
    pages = [
        response(200, {"items": [{"id": "a"}], "next": "c/1 &"}),
        response(200, {"items": [{"id": "b"}]}),
    ]
    with RawServer(answer(*pages, log=log)) as raw:
        server = server_at(raw.url)
        assert server.leases(5_000) == [{"id": "a"}, {"id": "b"}]
        server.close()
    assert log[1].startswith(b"GET /v1/leases?cursor=c%2F1%20%26 HTTP/1.1\r\n")


@pytest.mark.parametrize("media_type", [codec.PROBLEM_JSON, codec.PROBLEM_MSGPACK, codec.JSON])
def test_a_refusal_is_a_problem_with_its_code(media_type: str) -> None:
    problem = Problem("recovering", "soon", retry_after=2.5)
    body = codec.encode(
        problem.to_wire(), codec.JSON if media_type.endswith("json") else codec.MSGPACK
    )
    with pytest.raises(Problem) as caught:
        whoami(response(503, None, media_type, raw=body))
    assert (caught.value.code, caught.value.retry_after) == ("recovering", 2.5)


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (response(200, None, "text/html", raw=b"<html>"), "not as a Lessor server does"),
        (response(502, None, "text/html", raw=b"Bad Gateway"), "answered 502, but not as a Lessor"),
        (response(401, {"error": "login"}, codec.JSON), "answered 401, but not as a Lessor"),
        (response(302, None, "text/html", raw=b""), "redirects (302)"),
        (response(507, {"code": "of_a_newer_server"}), "answered 507 (of_a_newer_server)"),
        (response(200, None, codec.MSGPACK, raw=b"\xc1"), "sent nonsense: not a msgpack message"),
        (response(200, None, codec.JSON, raw=b"{"), "sent nonsense: not a JSON message"),
        (response(200, [1, 2]), "cannot be understood: the answer must be an object"),
    ],
)
def test_what_no_lessor_server_says_is_no_answer(answered: bytes, expected: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        whoami(answered)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "value", [{}, {"lease": None}, {"lease": {**LEASE.to_wire(), "ttl": 0}}, {"lease": {"id": 1}}]
)
def test_a_lease_that_makes_no_sense_is_no_answer(value: object) -> None:
    with RawServer(answer(response(201, value))) as raw:
        server = server_at(raw.url)
        with pytest.raises(NoAnswer, match="cannot be understood"):
            server.acquire(REQUEST, 5_000)
        server.close()


def test_the_next_url_is_asked_when_one_is_down_and_the_one_that_answers_is_kept(
    free_port: int,
) -> None:
    with RawServer(answer_always(response(200, ME))) as raw:
        server = server_at(f"http://127.0.0.1:{free_port}", raw.url)
        assert server.whoami(5_000) == ME
        assert server.url == raw.url
        assert server.whoami(5_000) == ME
        server.close()
    assert raw.connections == 1


@pytest.mark.parametrize("code", ["draining", "store_unavailable", "internal"])
def test_the_next_url_is_asked_when_one_daemon_is_in_trouble(code: str) -> None:
    troubled = response(503, Problem(code, "not now").to_wire(), codec.PROBLEM_MSGPACK)
    with (
        RawServer(answer_always(troubled)) as one,
        RawServer(answer_always(response(200, ME))) as other,
    ):
        server = server_at(one.url, other.url)
        assert server.whoami(5_000) == ME
        assert server.url == other.url
        server.close()


def test_a_refusal_for_good_is_not_asked_again_elsewhere() -> None:
    refused = response(403, Problem("revoked", "gone").to_wire(), codec.PROBLEM_MSGPACK)
    with RawServer(answer_always(refused)) as one, RawServer(answer_always()) as other:
        server = server_at(one.url, other.url)
        with pytest.raises(Problem):
            server.whoami(5_000)
        server.close()
    assert other.connections == 0


def test_when_all_are_down_each_is_named(free_port: int) -> None:
    server = server_at(f"http://127.0.0.1:{free_port}", "http://no-such-host.invalid")
    with pytest.raises(NoAnswer) as caught:
        server.whoami(5_000)
    assert f"127.0.0.1:{free_port} cannot be reached" in str(caught.value)
    assert "no-such-host.invalid has no address" in str(caught.value)
    server.close()


def test_a_refusal_of_one_weighs_more_than_the_silence_of_another(free_port: int) -> None:
    troubled = response(503, Problem("draining", "not now").to_wire(), codec.PROBLEM_MSGPACK)
    with RawServer(answer_always(troubled)) as raw:
        server = server_at(raw.url, f"http://127.0.0.1:{free_port}")
        with pytest.raises(Problem, match="draining"):
            server.whoami(5_000)
        server.close()


def test_a_proxy_that_wants_a_password_is_named_as_such() -> None:
    denied = response(407, None, "text/html", raw=b"<html>")
    with RawServer(answer(denied)) as proxy:
        environ = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        server = Server(ClientConfig(("http://lessor.test",), KEY, environ=environ))
        with pytest.raises(NoAnswer, match="wants a user name and password"):
            server.whoami(5_000)
        server.close()


def test_no_error_ever_shows_the_key() -> None:
    for broken in (b"", b"nonsense\r\n\r\n", response(500, None, "text/html", raw=b"")):
        with pytest.raises(NoAnswer) as caught:
            whoami(broken)
        assert "S3cret" not in repr(caught.value)
