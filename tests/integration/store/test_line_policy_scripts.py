"""The line under a policy: head starts, reserves and caps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import InLine, SeatGranted

if TYPE_CHECKING:
    from support.organization import Organization

OFFER_MS = 3_000
URGENT = {"team": "release"}


def group(*, head_start_ms: int = 0, reserve: int = 0, cap: int = -1) -> dict[str, object]:
    return {
        "name": "release",
        "label": "team",
        "value": "release",
        "head_start": head_start_ms,
        "reserve": reserve,
        "cap": cap,
    }


async def test_a_head_start_overtakes_those_who_came_less_than_that_before(
    acme: Organization,
) -> None:
    await acme.set_policy(group(head_start_ms=60_000))
    await acme.fill()
    await acme.position(11)
    for _ in range(31):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        await acme.position(11)
    await acme.position(12)
    urgent = await acme.acquire(13, wait=True, labels=URGENT)
    assert isinstance(urgent, InLine)
    assert urgent.position == 2, "before 12, who came now; behind 11, who came 62 s ago"


async def test_within_a_priority_the_order_is_that_of_coming(acme: Organization) -> None:
    await acme.set_policy(group(head_start_ms=60_000))
    await acme.fill()
    for number in (21, 22, 23):
        await acme.acquire(number, wait=True, labels=URGENT)
    places = [await acme.acquire(number, wait=True, labels=URGENT) for number in (23, 22, 21)]
    assert [one.position for one in places if isinstance(one, InLine)] == [3, 2, 1]


async def test_a_reserved_seat_is_lent_while_idle_and_first_served_when_wanted(
    acme: Organization,
) -> None:
    await acme.set_policy(group(reserve=1))
    await acme.fill()  # both lent to others
    await acme.position(11)
    await acme.acquire(12, wait=True, labels=URGENT)
    await acme.release(1)
    assert await acme.position(11) == 1
    assert isinstance(await acme.acquire(12, wait=True, labels=URGENT), SeatGranted)
    await acme.release(2)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted), "the reserve is in use"


async def test_a_group_at_its_cap_waits_and_blocks_nobody(acme: Organization) -> None:
    await acme.set_policy(group(cap=1))
    assert isinstance(await acme.acquire(1, labels=URGENT), SeatGranted)
    capped = await acme.acquire(2, wait=True, labels=URGENT)
    assert isinstance(capped, InLine)
    assert capped.blocked_by == "cap"
    assert isinstance(await acme.acquire(3, wait=True), SeatGranted)
    await acme.release(1)
    assert isinstance(await acme.acquire(2, wait=True, labels=URGENT), SeatGranted)


async def test_a_new_policy_regroups_those_who_wait(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.acquire(12, wait=True, labels=URGENT)
    await acme.set_policy(group(head_start_ms=60_000))
    assert await acme.position(11) == 2


async def test_nobody_is_overtaken_by_who_came_later_than_the_head_start(
    acme: Organization,
) -> None:
    await acme.set_policy(group(head_start_ms=3_000))
    await acme.fill()
    await acme.position(11)
    for number in range(21, 26):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        await acme.acquire(number, wait=True, labels=URGENT)
    assert await acme.position(11) == 2, "only the one who came 2 s later is in front"


async def test_a_policy_changed_during_an_offer_counts_for_who_lets_it_pass(
    acme: Organization,
) -> None:
    await acme.fill()
    await acme.acquire(11, wait=True, labels=URGENT)
    await acme.position(12)
    await acme.release(1)
    await acme.set_policy(group(head_start_ms=60_000, cap=1))
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    await acme.acquire(12, wait=True)
    assert isinstance(await acme.acquire(13, wait=True, labels=URGENT), InLine)
    again = await acme.acquire(11, wait=True, labels=URGENT)
    assert isinstance(again, InLine)
    assert again.position == 1
