"""What a daemon says unasked on a stream: leases that end, and requests to finish."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.async_clients import client_of
from support.relay import REFUSE, Relay
from support.streaming import StreamCaller
from support.waiting import wait_until_async

if TYPE_CHECKING:
    import lessor
    from support.daemon import MakeDaemon

AT_ONCE_SECONDS = 2.0
"""Far below the 7.5 s until the next renewal, and enough for a busy machine."""


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """Two workers: what one does must reach the streams of the other."""
    daemon = make_daemon("--workers", "2", bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


def told(stream: StreamCaller, op: str) -> dict[str, object]:
    """The next thing said unasked."""
    began = time.monotonic()
    while not stream.unasked:
        stream.read_frame()
    assert time.monotonic() - began < AT_ONCE_SECONDS
    said, body = stream.unasked.pop(0)
    assert said == op
    assert isinstance(body, dict)
    return body


def test_an_ended_session_is_told_at_once_by_whichever_worker(acme: Acme) -> None:
    url, key = acme.daemon.url, acme.daemon.key("admin")
    # Each call goes over a connection of its own, so both workers end some of other's leases.
    for _ in range(6):
        with StreamCaller(url, key) as stream:
            lease_id = stream.acquire().body["lease"]["id"]
            acme.post(f"/sessions/{lease_id}/end", {"reason": "the lab closes"})
            lost = told(stream, "lost")
            assert lost == {
                "id": lease_id,
                "code": "lease_ended",
                "reason": "olga@example.com ended it: the lab closes",
            }
            assert stream.release(lease_id).status == 204


def test_a_request_to_finish_is_told_at_once_and_the_lease_goes_on(acme: Acme) -> None:
    with StreamCaller(acme.daemon.url, acme.daemon.key("admin")) as stream:
        lease_id = stream.acquire().body["lease"]["id"]
        acme.post(f"/sessions/{lease_id}/finish", {"text": "please"})
        notice = told(stream, "notice")
        assert (notice["lease"], notice["code"], notice["text"]) == (lease_id, "finish", "please")
        renewed = stream.renew(lease_id).body
        assert (renewed["renewed"], renewed["notices"]) == ([lease_id], [notice])


def test_the_stream_that_renewed_a_lease_last_is_told(acme: Acme) -> None:
    with StreamCaller(acme.daemon.url, acme.daemon.key("admin")) as first:
        lease_id = first.acquire().body["lease"]["id"]
    with StreamCaller(acme.daemon.url, acme.daemon.key("admin")) as second:
        second.renew(lease_id)
        acme.post(f"/sessions/{lease_id}/end", {})
        assert told(second, "lost")["id"] == lease_id


def test_who_asks_for_leases_that_are_not_there_is_told_nothing_of_them(acme: Acme) -> None:
    with (
        StreamCaller(acme.daemon.url, acme.daemon.key("admin")) as stream,
        StreamCaller(acme.daemon.url, acme.daemon.key("other")) as stranger,
    ):
        lease_id = stream.acquire().body["lease"]["id"]
        stranger.renew(lease_id, str(uuid.uuid4()))
        acme.post(f"/sessions/{lease_id}/end", {})
        told(stream, "lost")
        assert stranger.renew(lease_id).status == 200
        assert stranger.unasked == []


async def test_an_async_lease_is_lost_at_once_with_its_reason(acme: Acme) -> None:
    async with client_of(acme.daemon, "admin") as client, client.acquire("kre") as lease:
        assert not lease.lost.is_set()
        began = time.monotonic()
        await asyncio.to_thread(
            acme.post, f"/sessions/{lease.id}/end", {"reason": "the lab closes"}
        )
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await lease.lost.wait()
        assert time.monotonic() - began < AT_ONCE_SECONDS
        with pytest.raises(Exception, match="ended it: the lab closes"):
            lease.check()
        assert lease.remaining == 0


async def test_an_async_client_without_a_stream_is_told_at_once_too(acme: Acme) -> None:
    heard: list[lessor.Notice] = []
    async with (
        Relay(acme.daemon.url, REFUSE) as relay,
        client_of(acme.daemon, "admin", url=relay.url) as client,
        client.acquire("kre", on_notice=heard.append) as lease,
        client.acquire("kre") as other,
    ):
        # The watch begins a moment after the lease; what comes before is told when it begins.
        await asyncio.to_thread(acme.post, f"/sessions/{lease.id}/finish", {"text": "please"})

        async def has_heard() -> bool:
            return bool(heard)

        await wait_until_async(has_heard, AT_ONCE_SECONDS, "the notice")
        await asyncio.to_thread(acme.post, f"/sessions/{other.id}/end", {"reason": "maintenance"})
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await other.lost.wait()
        assert not lease.lost.is_set()
        assert [one.text for one in lease.notices] == ["please"]
    assert len(heard) == 1


async def test_an_async_lease_hears_each_notice_once(acme: Acme) -> None:
    heard: list[lessor.Notice] = []
    async with (
        client_of(acme.daemon, "admin") as client,
        client.acquire("kre", on_notice=heard.append) as lease,
        client.acquire("kre", on_notice=heard.append) as other,
    ):
        await asyncio.to_thread(acme.post, f"/sessions/{lease.id}/finish", {"text": "please"})

        async def has_heard() -> bool:
            return bool(heard)

        await wait_until_async(has_heard, AT_ONCE_SECONDS, "the notice")
        assert [one.code for one in lease.notices] == ["finish"]
        assert (heard[0].text, heard[0].by) == ("please", "olga@example.com")
        assert other.notices == []
        assert not lease.lost.is_set()
    assert len(heard) == 1
