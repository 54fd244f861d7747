"""Several URLs are tried in turn, whatever is wrong with one of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from lessor.admin.api import Api
from lessor.config import ClientConfig
from lessor.errors import NoAnswer, UsageError
from lessor.server import Server
from lessor_protocol import codec, lease
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, Machine, Process, Renewal
from lessor_protocol.queued import Queued
from support.black_hole import black_hole
from support.command_line import Shell
from support.fake_server import KEY, FakeServer
from support.raw_server import RawServer, answer, answer_always, read_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.raw_server import Script


LEASE_ID = bytes(range(16))
ME = {"organization": "acme", "default_license": "kre"}
NOBODY = 69
HANDSHAKE_LEFT_OUT = "https://127.0.0.1:1"


def response(status: int, value: object) -> bytes:
    body = codec.encode(value, codec.MSGPACK)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {codec.MSGPACK}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


@pytest.fixture
def hole() -> Iterator[str]:
    with black_hole() as url:
        yield url


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*urls: str, ca_file: str = "") -> Server:
        made.append(Server(ClientConfig(urls, KEY, ca_file=ca_file)))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_a_host_whose_packets_vanish_does_not_hide_the_next(
    servers: Callable[..., Server], hole: str
) -> None:
    with RawServer(answer_always(response(200, ME))) as well:
        server = servers(hole, well.url)
        assert server.whoami(3_000) == ME
        assert server.url == well.url
        server.close()


def test_where_time_is_short_the_next_call_begins_with_the_next_url(
    servers: Callable[..., Server], hole: str
) -> None:
    """A share of it would be too short for a server that is well and far away."""
    with RawServer(answer_always(response(200, ME))) as well:
        server = servers(hole, well.url)
        with pytest.raises(NoAnswer, match=r"connecting to .* took longer than 0\.3 s"):
            server.whoami(300)
        assert server.whoami(300) == ME
        server.close()


def held_for(seconds: float, held: dict[str, object]) -> Script:
    def script(connection: socket.socket) -> None:
        head, _, body = read_request(connection).partition(b"\r\n\r\n")
        held["hold"] = AcquireRequest.from_wire(codec.decode(body, codec.MSGPACK)).hold_ms
        assert head.startswith(b"POST /v1/leases ")
        time.sleep(seconds)
        connection.sendall(response(202, Queued(9, 2, "seats", [], 500).to_wire()))

    return script


def test_an_acquire_that_is_held_keeps_the_time_for_it_when_others_cannot_be_reached(
    servers: Callable[..., Server], hole: str
) -> None:
    request = AcquireRequest(LEASE_ID, "kre", Machine("rig-1"), Process(7, "pytest"))
    request.wait_ms, request.hold_ms = 60_000, lease.HOLD_MS
    seen: dict[str, object] = {}
    with RawServer(held_for(lease.HOLD_MS / 1000, seen)) as well, black_hole() as another:
        server = servers(hole, another, well.url)
        answered = server.acquire(request, lease.ATTEMPT_TIMEOUT_MS)
    assert isinstance(answered, Queued)
    assert seen["hold"] == lease.HOLD_MS


def test_one_url_has_all_the_time_to_connect(servers: Callable[..., Server], hole: str) -> None:
    with pytest.raises(NoAnswer, match=r"connecting to .* took longer than 1\.5 s"):
        servers(hole).whoami(1_500)


def test_a_url_whose_certificates_are_gone_does_not_hide_the_next(
    servers: Callable[..., Server], tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone.pem")
    with RawServer(answer_always(response(200, ME))) as well:
        server = servers(HANDSHAKE_LEFT_OUT, well.url, ca_file=gone)
        assert server.whoami(5_000) == ME
        server.close()


def test_certificates_that_are_gone_are_wrong_usage_until_a_seat_is_held(
    servers: Callable[..., Server], tmp_path: Path
) -> None:
    server = servers(HANDSHAKE_LEFT_OUT, ca_file=str(tmp_path / "gone.pem"))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        server.whoami(5_000)
    with pytest.raises(NoAnswer, match="SSL_CERT_FILE"):
        server.renew([Renewal(LEASE_ID, "proof")], 5_000)
    with pytest.raises(NoAnswer, match="SSL_CERT_FILE"):
        server.watch(LEASE_ID, "", 1_000, 5_000)


# Administration ---------------------------------------------------------------------------------


def test_a_look_goes_to_the_next_where_packets_vanish(
    hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lessor.admin.api.TIMEOUT_MS", 3_000)
    with RawServer(answer_always(response(200, ME))) as well:
        api = Api(ClientConfig((hole, well.url), KEY))
        assert api.org == "/v1/orgs/acme"
        api.close()


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_change_that_could_not_be_sent_goes_to_the_next(
    hole: str, free_port: int, monkeypatch: pytest.MonkeyPatch, *, is_refused: bool
) -> None:
    monkeypatch.setattr("lessor.admin.api.TIMEOUT_MS", 3_000)
    log: list[bytes] = []
    first = f"http://127.0.0.1:{free_port}" if is_refused else hole
    with RawServer(answer_always(response(201, {"name": "kre"}), log)) as well:
        api = Api(ClientConfig((first, well.url), KEY))
        assert api.change("POST", "/v1/orgs/acme/licenses", {"name": "kre"}) == {"name": "kre"}
        api.close()
    assert len(log) == 1


def test_a_change_that_nobody_got_is_not_said_to_have_happened(free_port: int) -> None:
    api = Api(ClientConfig((f"http://127.0.0.1:{free_port}",), KEY))
    with pytest.raises(NoAnswer) as caught:
        api.change("POST", "/v1/orgs/acme/licenses", {"name": "kre"})
    assert "cannot be reached" in str(caught.value)
    assert "may have happened" not in str(caught.value)


def test_a_change_that_was_sent_goes_nowhere_else() -> None:
    with RawServer(answer(b"")) as silent, RawServer(answer_always()) as other:
        api = Api(ClientConfig((silent.url, other.url), KEY))
        with pytest.raises(NoAnswer, match="it may have happened all the same"):
            api.change("POST", "/v1/orgs/acme/licenses", {"name": "kre"})
        api.close()
    assert other.connections == 0


# Whole commands ---------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer(ttl_ms=20_000)
    yield fake
    fake.close()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_run_that_asks_once_asks_the_next_url(
    shell: Shell, server: FakeServer, hole: str
) -> None:
    settings = {"LESSOR_URL": f"{hole},{server.url}", "LESSOR_API_KEY": KEY}
    done = shell.run("run", "-n", "--", "echo", "mine", **settings)
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr


def test_who_asks_once_waits_for_a_server_no_longer_than_told(shell: Shell, hole: str) -> None:
    settings = {"LESSOR_URL": hole, "LESSOR_API_KEY": KEY}
    began = time.monotonic()
    done = shell.run("run", "-n", "-l", "kre", "--connect-timeout", "2s", "--", "true", **settings)
    assert done.returncode == NOBODY
    assert "took longer than 2.0 s" in done.stderr
    assert time.monotonic() < began + 8


@pytest.mark.parametrize("license", [(), ("-l", "kre")])
def test_who_asks_once_without_time_to_reach_a_server_gets_a_seat_all_the_same(
    shell: Shell, server: FakeServer, license: tuple[str, ...]
) -> None:
    settings = {"LESSOR_URL": server.url, "LESSOR_API_KEY": KEY}
    once = ("-n", "--connect-timeout", "0", *license)
    done = shell.run("run", *once, "--", "echo", "mine", **settings)
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
    done = shell.run("acquire", *once, "--while-pid", str(os.getpid()), **settings)
    assert done.returncode == 0, done.stderr
    (lease_id,) = server.leases
    assert shell.run("release", format_lease_id(lease_id), **settings).returncode == 0
    assert not server.leases
