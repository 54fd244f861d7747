"""``lessor.AsyncClient`` with several URLs, of which one is not there, frozen or has no streams."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import lessor
import pytest
from lessor.aio import link
from lessor_protocol.errors import Problem
from support.async_clients import client_of, live
from support.black_hole import black_hole
from support.fake_server import KEY, FakeServer
from support.raw_server import RawServer
from support.relay import REFUSE, Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemon import DaemonProcess

LOG = "lessor"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "REACH_SECONDS", 0.3, raising=False)
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.6)


@pytest.fixture
def hole() -> Iterator[str]:
    with black_hole() as url:
        yield url


@pytest.fixture
def frozen() -> Iterator[str]:
    """Its kernel accepts connections; nobody answers on them."""
    with RawServer(lambda _: server.over.wait()) as server:
        yield server.url


@pytest.fixture
def in_trouble() -> Iterator[FakeServer]:
    """Has no streams."""
    server = FakeServer()
    yield server
    server.close()


@pytest.mark.parametrize("first", ["hole", "frozen"])
async def test_who_serves_without_a_stream_is_taken_before_who_does_not_answer(
    daemon: DaemonProcess,
    first: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, LOG)
    dead: str = request.getfixturevalue(first)
    async with (
        Relay(daemon.url, REFUSE) as relay,
        client_of(daemon, url=f"{dead},{relay.url}") as client,
        client.acquire("kre", wait=0) as lease,
    ):
        assert live(daemon) == [lease.id]
    (said,) = [one.getMessage() for one in caplog.records if one.name == LOG]
    assert said.startswith(f"no stream to {relay.url.removeprefix('http://')} (")


@pytest.mark.parametrize("code", ["store_unavailable", "internal", "draining"])
async def test_where_one_is_in_trouble_the_next_is_asked_and_kept(
    daemon: DaemonProcess, in_trouble: FakeServer, code: str
) -> None:
    in_trouble.refusal = Problem(code, "it is in trouble")
    async with (
        Relay(daemon.url, REFUSE) as relay,
        client_of(daemon, url=f"{in_trouble.url},{relay.url}") as client,
        client.acquire("kre", wait=0) as lease,
    ):
        assert live(daemon) == [lease.id]
        asked = in_trouble.count("acquire")
        async with client.acquire("kre", wait=0):
            assert len(live(daemon)) == 2
        assert asked == in_trouble.count("acquire") == 1
    assert live(daemon) == []


async def test_where_all_are_in_trouble_it_is_said_which(in_trouble: FakeServer) -> None:
    in_trouble.refusal = Problem("store_unavailable", "the store cannot be used now")
    urls = f"{in_trouble.url},{in_trouble.url.replace('127.0.0.1', 'localhost')}"
    async with lessor.AsyncClient(urls, KEY, machine="m", connect_timeout=0.5) as client:
        with pytest.raises(lessor.Unreachable, match="the store cannot be used now"):
            async with client.acquire("kre", wait=0):
                pass


async def test_an_outage_is_not_taken_for_a_server_without_streams(
    hole: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, LOG)
    async with lessor.AsyncClient(hole, KEY, machine="machine-1", connect_timeout=1.5) as client:
        with pytest.raises(lessor.Unreachable):
            async with client.acquire("kre"):
                pass
    assert not [one for one in caplog.records if one.name == LOG]


@pytest.mark.parametrize("first", ["hole", "frozen"])
async def test_the_default_license_is_asked_of_the_next_where_one_does_not_answer(
    daemon: DaemonProcess, first: str, request: pytest.FixtureRequest
) -> None:
    dead: str = request.getfixturevalue(first)
    urls = f"{dead},{daemon.url}"
    async with (
        lessor.AsyncClient(urls, daemon.key("ci"), machine="m", connect_timeout=2) as client,
        client.acquire(wait=0) as lease,
    ):
        assert lease.license == "kre"
