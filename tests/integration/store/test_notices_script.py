"""The scripts ``finish`` and ``news``, and how a notice reaches whoever renews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.messages import NEWS
from lessor_daemon.store.scripts import InLine, Noticed
from support.organization import LEASE_MS, TTL_MS, lease_id
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization


async def test_a_notice_comes_with_every_renewal_and_the_lease_goes_on(acme: Organization) -> None:
    await acme.set_quota(2)
    await acme.acquire(1)
    await acme.acquire(2)
    assert await acme.finish(1, code="finish", text="please") == "asked"
    noticed = Noticed(TTL_MS, {"code": "finish", "text": "please"})
    for _ in range(2):
        assert await acme.renew(1, 2) == [noticed, TTL_MS]
        await acme.pass_time(20_000)
    assert await acme.renew(1, 2) == [noticed, TTL_MS]


async def test_a_newer_notice_replaces_the_one_before(acme: Organization) -> None:
    await acme.acquire(1)
    await acme.finish(1, text="soon")
    await acme.finish(1, text="now")
    assert await acme.renew(1) == [Noticed(TTL_MS, {"text": "now"})]


async def test_nobody_is_asked_who_holds_nothing(acme: Organization) -> None:
    await acme.set_quota(1)
    assert await acme.finish(1) == "unknown"
    await acme.acquire(1)
    assert isinstance(await acme.acquire(2, wait=True), InLine)
    assert await acme.finish(2) == "unknown"
    await acme.release(1)  # now it is offered to 2, who has not claimed it
    assert await acme.finish(2) == "unknown"


async def test_a_notice_goes_with_its_lease(acme: Organization) -> None:
    await acme.set_quota(2)
    await acme.acquire(1)
    await acme.acquire(2)
    await acme.finish(1)
    await acme.finish(2)
    await acme.release(1)
    await acme.pass_time(LEASE_MS + 1)
    await acme.reap()
    await assert_at_rest(acme.store, acme.slug)


async def test_news_are_what_a_renewal_would_tell_and_extend_nothing(acme: Organization) -> None:
    await acme.set_quota(5)
    for number in (1, 2, 3, 4):
        await acme.acquire(number)
    await acme.finish(2, text="please")
    await acme.end(3)
    await acme.release(4)
    told = [None, {"text": "please"}, "ended an admin said so", "released", "unknown"]
    assert await acme.news(1, 2, 3, 4, 9) == told
    assert (await acme.renew(3))[0] == told[2]
    await acme.pass_time(LEASE_MS - 1)
    await acme.news(1)
    await acme.pass_time(2)
    assert await acme.renew(1) == ["lapsed"]


async def test_news_of_a_lease_are_published_when_they_come(acme: Organization) -> None:
    await acme.set_quota(2)
    await acme.acquire(1)
    await acme.acquire(2)
    async with acme.store.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(NEWS)
        await acme.renew(1, 2)
        await acme.finish(1)
        await acme.end(2)
        await acme.end(2)
        await acme.finish(1)
        heard: list[bytes] = []
        while heard.count(lease_id(1)) < 2:
            message = await subscription.get_message(timeout=5)
            heard += [message["data"]] if message else []
    assert heard == [lease_id(1), lease_id(2), lease_id(1)]
