"""idle: who does nothing with a registered user's seat is warned, and then loses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import Noticed
from support.organization import TTL_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization

ADA = "ada@example.com"
TIMEOUT, AHEAD = 600, 120
"""In seconds; the warning comes a fifth before."""


async def activate(acme: Organization, *, idle: int = TIMEOUT) -> None:
    await acme.set_quota(2, license="studio", kind="named-user", idle=idle)
    await acme.store.redis.hset("{acme}:studio:registered", ADA, "1")
    granted = await acme.acquire(1, license="studio", owner=f"member:{ADA}")
    assert getattr(granted, "idle_seconds", None) == idle


async def notice(acme: Organization) -> dict[str, object] | None:
    (renewed,) = await acme.renew(1)
    return renewed.notice if isinstance(renewed, Noticed) else None


async def keep_for(acme: Organization, seconds: int) -> None:
    for _ in range(0, seconds, 20):
        await acme.pass_time(20_000)
        await acme.renew(1)


async def test_a_warning_comes_first_and_then_the_session_ends(acme: Organization) -> None:
    await activate(acme)
    assert await acme.idle(_1=TIMEOUT - AHEAD - 1) == [None]
    assert await notice(acme) is None
    assert await acme.idle(_1=TIMEOUT - AHEAD) == [None]
    said = await notice(acme)
    assert said is not None
    assert (said["code"], said["ends_in"]) == ("idle", AHEAD)
    await keep_for(acme, AHEAD)
    assert await acme.idle(_1=TIMEOUT - 1) == [None]
    assert await acme.idle(_1=TIMEOUT) == ["idle nothing was done for 10 minutes"]
    assert await acme.renew(1) == ["idle nothing was done for 10 minutes"]
    assert (await acme.release(1, asker=f"member:{ADA}")).reason == "idle"
    await assert_at_rest(acme.store, "acme")


async def test_who_says_it_late_is_warned_for_as_long_as_anybody(acme: Organization) -> None:
    await activate(acme)
    assert await acme.idle(_1=TIMEOUT * 10) == [None]
    await keep_for(acme, AHEAD - 20)
    assert await acme.idle(_1=TIMEOUT * 10) == [None]
    await keep_for(acme, 20)
    assert (await acme.idle(_1=TIMEOUT * 10))[0] is not None


async def test_use_takes_the_warning_back_and_the_next_is_a_new_one(acme: Organization) -> None:
    await activate(acme)
    await acme.idle(_1=TIMEOUT)
    first = await notice(acme)
    assert await acme.idle(_1=3) == [None]
    assert await acme.renew(1) == [TTL_MS]
    await acme.idle(_1=TIMEOUT)
    second = await notice(acme)
    assert first is not None
    assert second is not None
    assert first["id"] != second["id"]


async def test_a_request_to_finish_is_left_alone_by_use(acme: Organization) -> None:
    await activate(acme)
    await acme.finish(1, code="finish", text="please")
    await acme.idle(_1=3)
    assert await notice(acme) == {"code": "finish", "text": "please"}


async def test_without_a_time_out_or_on_a_floating_seat_nobody_is_idle(acme: Organization) -> None:
    await activate(acme, idle=0)
    assert await acme.idle(_1=10**6) == [None]
    assert await notice(acme) is None
    await acme.acquire(2)
    assert await acme.idle(_2=10**6) == [None]
    assert await acme.renew(2) == [TTL_MS]
    assert await acme.idle(_3=10**6) == [None], "a lease that is not there"
