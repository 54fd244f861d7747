"""The way to a server over real sockets: it answers, or there is an error in time that helps."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from lessor.clock import now_ms
from lessor.errors import NoAnswer, UsageError
from lessor.transport import Link, poll_wait
from support.raw_server import OK, RawServer, answer, answer_always, read_request, tunnel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lessor.http1 import Response

PLENTY_MS = 10_000
SHORT_MS = 300


def get(link: Link, timeout_ms: int = PLENTY_MS, body: bytes = b"") -> Response:
    return link.request("POST", "/v1/leases", [("X", "y")], body, now_ms() + timeout_ms)


def refusal(link: Link, timeout_ms: int = PLENTY_MS, body: bytes = b"") -> str:
    with pytest.raises(NoAnswer) as caught:
        get(link, timeout_ms, body)
    return str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_tls(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back() -> None:
    log: list[bytes] = []
    with RawServer(answer_always(log=log)) as server:
        link = Link(server.url + "/lessor/")
        response = get(link, body=b"hello")
        link.close()
    assert (response.status, response.body) == (200, b"ok")
    head = f"POST /lessor/v1/leases HTTP/1.1\r\nHost: localhost:{server.port}\r\nX: y\r\n"
    assert log == [head.encode() + b"Content-Length: 5\r\n\r\nhello"]


def test_a_connection_is_kept_for_the_next_request() -> None:
    with RawServer(answer_always()) as server:
        link = Link(server.url)
        get(link)
        get(link)
        link.close()
    assert server.connections == 1


def test_a_server_that_says_close_gets_a_new_connection() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with RawServer(answer_always(closing)) as server:
        link = Link(server.url)
        get(link)
        get(link)
        link.close()
    assert server.connections == 2


def test_a_kept_connection_that_was_closed_while_idle_is_replaced_without_a_word() -> None:
    with RawServer(answer(OK), answer_always()) as server:
        link = Link(server.url)
        get(link)
        assert get(link).body == b"ok"
        link.close()
    assert server.connections == 2


def test_a_fresh_connection_that_is_closed_without_an_answer_is_a_failure() -> None:
    with RawServer(answer(b"")) as server:
        assert "closed the connection without an answer" in refusal(Link(server.url))
    assert server.connections == 1


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    with RawServer(answer(OK[:-1])) as server:
        assert "before its answer was complete" in refusal(Link(server.url))


def test_a_silent_server_costs_no_more_than_the_time_out() -> None:
    with RawServer(lambda connection: read_request(connection) and server.over.wait()) as server:
        began = time.monotonic()
        text = refusal(Link(server.url), SHORT_MS)
        took = time.monotonic() - began
    assert f"the answer of localhost:{server.port} took longer than 0.3 s" in text
    assert 0.25 < took < 2


def test_an_answer_byte_by_byte_does_not_stretch_the_time_out() -> None:
    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000:
            connection.send(bytes([byte]))
            if server.over.wait(0.02):
                return

    with RawServer(trickle) as server:
        began = time.monotonic()
        refusal(Link(server.url), SHORT_MS)
        took = time.monotonic() - began
    assert took < 2


def test_a_server_that_reads_nothing_does_not_stretch_the_time_out() -> None:
    with RawServer(lambda _: server.over.wait()) as server:
        began = time.monotonic()
        refusal(Link(server.url), SHORT_MS, body=b"x" * (32 << 20))
        took = time.monotonic() - began
    assert took < 2


def test_after_a_time_out_the_next_request_uses_a_fresh_connection() -> None:
    with RawServer(
        lambda connection: read_request(connection) and server.over.wait(), answer_always()
    ) as server:
        link = Link(server.url)
        refusal(link, SHORT_MS)
        assert get(link).body == b"ok"
        link.close()
    assert server.connections == 2


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"\x00\x01\x02 garbage\r\n\r\n", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "head of its answer is larger than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "larger than 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1_100_000, "larger than 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS on this port: use https://"),
    ],
)
def test_nonsense_is_named(response: bytes, expected: str) -> None:
    with RawServer(answer(response)) as server:
        text = refusal(Link(server.url))
    assert text.startswith(f"localhost:{server.port} sent nonsense: ")
    assert expected in text


def test_bytes_after_an_answer_are_not_taken_for_the_next_answer() -> None:
    with RawServer(answer(OK + b"HTTP/1.1 500 Oops\r\n\r\n"), answer_always()) as server:
        link = Link(server.url)
        assert get(link).status == 200
        assert get(link).status == 200
        link.close()
    assert server.connections == 2


def test_a_refused_connection_says_where_and_what_to_check(free_port: int) -> None:
    text = refusal(Link(f"http://127.0.0.1:{free_port}"))
    assert text == (
        f"127.0.0.1:{free_port} cannot be reached (connection refused): "
        "is it running there, and are host and port right?"
    )


def test_a_name_that_does_not_exist_is_named() -> None:
    text = refusal(Link("http://no-such-host.invalid"))
    assert text.startswith("the name no-such-host.invalid has no address (")


class Names:
    """Stands for the system's resolver, which tests cannot break or slow down themselves."""

    def __init__(self, port: int, *hosts: str) -> None:
        self.port = port
        self.hosts = hosts
        self.calls = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.calls += 1
        self.may_answer.wait(30)
        if not self.hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in self.hosts]
        return [
            (family, socket.SOCK_STREAM, 6, "", (host, self.port))
            for family, host in zip(families, self.hosts, strict=True)
        ]


def test_a_resolver_that_hangs_does_not_stretch_the_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(answer_always()) as server:
        names = Names(server.port, "127.0.0.1")
        names.may_answer.clear()
        monkeypatch.setattr(socket, "getaddrinfo", names)
        link = Link(f"http://lessor.test:{server.port}")
        began = time.monotonic()
        text = refusal(link, SHORT_MS)
        took = time.monotonic() - began
        names.may_answer.set()
        assert get(link).body == b"ok"
        link.close()
    assert text == "looking up the name lessor.test took longer than 0.3 s"
    assert took < 2
    assert names.calls == 1


def test_all_addresses_of_a_name_are_tried_and_the_one_that_works_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(answer_always()) as server:
        names = Names(server.port, "127.0.0.2", "::1", "127.0.0.1")
        monkeypatch.setattr(socket, "getaddrinfo", names)
        link = Link(f"http://lessor.test:{server.port}")
        get(link)
        link.close()
        get(link)
        link.close()
    assert names.calls == 1


def test_an_outage_of_dns_does_not_hurt_who_was_connected_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(answer(OK), answer_always(), answer_always()) as server:
        names = Names(server.port, "127.0.0.1")
        monkeypatch.setattr(socket, "getaddrinfo", names)
        link = Link(f"http://lessor.test:{server.port}")
        get(link)
        names.hosts = ()
        assert get(link).body == b"ok"
        link.close()


class Interrupted(Exception):
    pass


def test_whatever_the_wait_raises_aborts_the_request_and_drops_the_connection() -> None:
    must_abort = False

    def wait(fd: int, for_write: bool, until_ms: int) -> None:
        if must_abort:
            raise Interrupted
        poll_wait(fd, for_write, until_ms)

    def answer_once(connection: socket.socket) -> None:
        answer(OK)(connection)
        read_request(connection)
        server.over.wait()

    with RawServer(answer_once, answer_always()) as server:
        link = Link(server.url, wait=wait)
        get(link)
        must_abort = True
        with pytest.raises(Interrupted):
            get(link)
        must_abort = False
        get(link)
        link.close()
    assert server.connections == 2


def test_tls_against_a_trusted_certificate(authority: trustme.CA, ca_file: str) -> None:
    with RawServer(answer_always(), tls=server_tls(authority)) as server:
        link = Link(server.url, ca_file)
        assert get(link).body == b"ok"
        assert get(link).body == b"ok"
        link.close()
    assert server.connections == 1


def test_a_kept_tls_connection_that_was_closed_while_idle_is_replaced(
    authority: trustme.CA, ca_file: str
) -> None:
    with RawServer(answer(OK), answer_always(), tls=server_tls(authority)) as server:
        link = Link(server.url, ca_file)
        get(link)
        assert get(link).body == b"ok"
        link.close()


def test_a_certificate_of_an_unknown_authority_is_not_trusted(authority: trustme.CA) -> None:
    with RawServer(answer_always(), tls=server_tls(authority)) as server:
        text = refusal(Link(server.url))
    assert "its certificate is not trusted" in text
    assert "SSL_CERT_FILE" in text


@pytest.mark.parametrize("years", [-1, 1])
def test_a_certificate_out_of_its_term_is_no_matter_of_whom_to_trust(
    authority: trustme.CA, ca_file: str, *, years: int
) -> None:
    now = datetime.now(UTC)
    begins, ends = sorted((now + timedelta(days=365 * years), now + timedelta(days=730 * years)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert("localhost", not_before=begins, not_after=ends)
    issued.configure_cert(context)
    with RawServer(answer_always(), tls=context) as server:
        text = refusal(Link(server.url, ca_file))
    assert ("has expired" if years < 0 else "is not valid yet") in text
    assert "SSL_CERT_FILE" not in text


def test_the_systems_certificates_are_trusted_from_a_directory_or_a_bundle(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    (directory / "12345678.0").write_text("")
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with RawServer(answer_always(), tls=server_tls(authority)) as server:
        link = Link(server.url)
        assert get(link).body == b"ok"
        link.close()
    assert server.connections == 2


def test_a_certificate_of_another_host_is_not_trusted(authority: trustme.CA, ca_file: str) -> None:
    with RawServer(answer_always(), tls=server_tls(authority, "other.test")) as server:
        text = refusal(Link(server.url, ca_file))
    assert "its certificate is for other names" in text
    assert "SSL_CERT_FILE" not in text  # another authority would not help


def test_https_to_a_plain_port_asks_whether_http_was_meant(ca_file: str) -> None:
    plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with RawServer(lambda connection: connection.sendall(plain)) as server:
        text = refusal(Link(f"https://localhost:{server.port}", ca_file))
    assert "does not speak TLS on this port: is it http:// ?" in text


def test_http_to_a_tls_port_says_use_https(authority: trustme.CA) -> None:
    with RawServer(answer_always(), tls=server_tls(authority)) as server:
        text = refusal(Link(f"http://localhost:{server.port}"))
    assert text.endswith("if it speaks TLS there, use https://")


def test_a_silent_handshake_does_not_stretch_the_time_out(ca_file: str) -> None:
    with RawServer(lambda _: server.over.wait()) as server:
        text = refusal(Link(f"https://localhost:{server.port}", ca_file), SHORT_MS)
    assert text == f"the TLS handshake with localhost:{server.port} took longer than 0.3 s"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_without_certificates_is_a_usage_error(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with RawServer(answer_always()) as server, pytest.raises(UsageError, match="SSL_CERT_FILE"):
        get(Link(f"https://localhost:{server.port}", str(path)))


def proxied(port: int, scheme: str, user: str = "") -> Mapping[str, str]:
    return {f"{scheme}_proxy": f"http://{user}127.0.0.1:{port}"}


def test_an_http_proxy_gets_the_whole_address_and_the_password() -> None:
    log: list[bytes] = []
    with RawServer(answer_always(log=log)) as proxy:
        link = Link("http://lessor.test:7420", environ=proxied(proxy.port, "http", "ada:p%40ss@"))
        assert get(link).body == b"ok"
        link.close()
    lines = log[0].split(b"\r\n")
    assert lines[0] == b"POST http://lessor.test:7420/v1/leases HTTP/1.1"
    assert lines[1] == b"Host: lessor.test:7420"
    assert b"Proxy-Authorization: Basic YWRhOnBAc3M=" in lines


def test_tls_goes_through_a_proxy_in_a_tunnel(authority: trustme.CA, ca_file: str) -> None:
    asked: list[bytes] = []

    def connect(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        tunnel(connection, server.port)

    tls = server_tls(authority, "lessor.test")
    with RawServer(answer_always(), tls=tls) as server, RawServer(connect) as proxy:
        link = Link("https://lessor.test", ca_file, proxied(proxy.port, "https", "ada:secret@"))
        assert get(link).body == b"ok"
        assert get(link).body == b"ok"
        link.close()
    assert len(asked) == 1
    assert asked[0].startswith(b"CONNECT lessor.test:443 HTTP/1.1\r\nHost: lessor.test:443\r\n")
    assert b"Proxy-Authorization: Basic YWRhOnNlY3JldA==" in asked[0]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(403, "refused the way to lessor.test:443 (403)"), (407, "wants a user name and password")],
)
def test_a_proxy_that_refuses_is_named(status: int, expected: str) -> None:
    response = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    with RawServer(answer(response)) as proxy:
        text = refusal(Link("https://lessor.test", environ=proxied(proxy.port, "https")))
    assert text.startswith(f"the proxy 127.0.0.1:{proxy.port} ")
    assert expected in text


def test_a_proxy_that_is_not_there_is_named(free_port: int) -> None:
    text = refusal(Link("https://lessor.test", environ=proxied(free_port, "https")))
    assert text.startswith(f"the proxy 127.0.0.1:{free_port} cannot be reached")


def test_a_proxy_of_another_kind_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="https_proxy"):
        Link("https://lessor.test", environ={"https_proxy": "socks5://127.0.0.1:1080"})
