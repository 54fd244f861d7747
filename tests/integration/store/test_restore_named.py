"""restore: what a registered user held, and what was being ended, come back as what they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store import changes, sessions
from lessor_daemon.store.changes import ChangeMark, Edit, EndOnline
from lessor_daemon.store.scripts import Proven, SeatGranted
from support.organization import RECOVERY_MS, TTL_MS, Organization, lease_id

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

ADA = "ada@example.com"
REGISTERED = "{acme}:studio:registered"
ONLINE = "{acme}:studio:online"


def proven(number: int, token: int, *, machine: str = "m1") -> Proven:
    return Proven(
        lease_id=lease_id(number),
        license="studio",
        machine=machine,
        ephemeral=False,
        token=token,
        ttl_ms=TTL_MS,
        fingerprint=b"content",
        owner=f"member:{ADA}",
        holder=b"\xc0",
        seats=1,
        group="",
        named=True,
    )


async def set_up(acme: Organization) -> None:
    await acme.set_quota(2, license="studio", kind="named-user")
    await acme.store.redis.hset(REGISTERED, ADA, "1")


async def activate(acme: Organization, number: int, machine: str) -> SeatGranted:
    granted = await acme.acquire(number, license="studio", owner=f"member:{ADA}", machine=machine)
    assert isinstance(granted, SeatGranted)
    assert granted.named
    return granted


@pytest.fixture
async def emptied(store: Store) -> tuple[Organization, list[SeatGranted]]:
    """Ada was on m1, then took over on m2; then the store was emptied and set up anew."""
    acme = Organization(store)
    await set_up(acme)
    granted = [await activate(acme, 1, "m1"), await activate(acme, 2, "m2")]
    await store.redis.flushall()
    await set_up(acme)
    return acme, granted


async def end(acme: Organization, number: int, reason: str, text: str) -> list[int]:
    _, results = await sessions.end(
        acme.store,
        acme.slug,
        acme.clock.context(acme.at_ms),
        [lease_id(number)],
        reason=reason,
        text=text,
        change_id=os.urandom(8),
        entry=b"",
    )
    return results


async def test_a_named_users_session_is_put_back_on_the_online_list(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, (_, last) = emptied
    assert await acme.restore(proven(2, last.token, machine="m2")) == [TTL_MS]
    assert await acme.store.redis.hgetall(ONLINE) == {ADA.encode(): lease_id(2)}
    await acme.release(2, asker=f"member:{ADA}")
    assert await acme.store.redis.hgetall(ONLINE) == {}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_activations_put_back_the_later_one_goes_on_whichever_comes_first(
    emptied: tuple[Organization, list[SeatGranted]], order: tuple[int, int]
) -> None:
    acme, granted = emptied
    for i in order:
        await acme.restore(proven(i + 1, granted[i].token, machine=f"m{i + 1}"))
    assert await acme.store.redis.hgetall(ONLINE) == {ADA.encode(): lease_id(2)}
    assert await acme.renew(1, 2) == ["taken_over activated on machine m2", TTL_MS]


async def test_a_put_back_session_of_a_user_on_another_machine_is_taken_over(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, (_, last) = emptied
    await acme.restore(proven(2, last.token, machine="m2"))
    passed = 0
    while passed < RECOVERY_MS:
        passed += TTL_MS // 2
        await acme.pass_time(TTL_MS // 2)
        assert await acme.renew(2) == [TTL_MS]
    await activate(acme, 3, "m3")
    assert await acme.renew(2) == ["taken_over activated on machine m3"]


async def test_a_withdrawn_users_session_is_put_back_as_ending(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, (_, last) = emptied
    mark = ChangeMark(None, os.urandom(8), b"", {f"user studio {ADA}": (0, b"")})
    await changes.change(
        acme.store,
        acme.slug,
        acme.clock.context(acme.at_ms),
        mark,
        edits=[Edit(REGISTERED, ADA)],
        endings=[EndOnline("studio", ADA, "withdrawn", "gone")],
    )
    (result,) = await acme.restore(proven(2, last.token, machine="m2"))
    assert str(result).startswith("withdrawn ")
    assert str((await acme.renew(2))[0]).startswith("withdrawn ")


async def test_who_was_assigned_again_before_the_grant_is_put_back_though_the_store_forgot_that(
    store: Store,
) -> None:
    acme = Organization(store)
    await set_up(acme)
    withdrawn = ChangeMark(None, os.urandom(8), b"", {f"user studio {ADA}": (0, b"")})
    await changes.change(
        store, acme.slug, acme.clock.context(acme.at_ms), withdrawn, edits=[Edit(REGISTERED, ADA)]
    )
    await acme.open_recovery()
    for _ in range(RECOVERY_MS // 2_000 + 1):
        await acme.pass_time(2_000)
    await store.redis.hset(REGISTERED, ADA, "1")  # assigned again, which is lost below
    granted = await activate(acme, 1, "m1")
    await acme.release(1, asker=f"member:{ADA}")
    await store.redis.zrem("{acme}:ended", lease_id(1))  # as if it were held on
    await acme.open_recovery()
    assert await acme.restore(proven(1, granted.token)) == [TTL_MS]


async def test_a_lease_that_was_being_ended_is_put_back_as_ending(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, (_, last) = emptied
    await acme.tick()
    assert await end(acme, 2, "ended", "adam ended it") == [-1]
    assert await acme.restore(proven(2, last.token, machine="m2")) == ["ended adam ended it"]
    assert await acme.renew(2) == ["ended adam ended it"]
    assert await acme.store.redis.scard("{acme}:studio:use") == 1, "counted: its process still runs"


async def test_the_mark_of_a_lease_that_nobody_puts_back_is_swept(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, _ = emptied
    await acme.tick()
    await end(acme, 2, "ended", "adam ended it")
    await acme.sweep()
    assert await acme.store.redis.exists("{acme}:ending")
    await acme.pass_time(RECOVERY_MS)
    await acme.sweep()
    assert not await acme.store.redis.exists("{acme}:ending")
