"""All that can make a turn possible serves the line: nobody has to ask for it.

Whoever waits behind is offered a seat by the call that made the room, or by the next ``reap``. In
these tests nobody in line asks, since a question also serves the line and would hide the rest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lessor_daemon.store import leases
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.offline_records import FUTURE, PAST, give_back, issue, offline_license
from support.organization import lease_id
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from lessor_daemon.store.offline import OfflineRecord
    from support.organization import Organization

OFFER_MS = 3_000
GONE_MS = 10_000
PATIENCE_MS = 60_000


async def take(
    acme: Organization,
    number: int,
    machine: str = "m1",
    *,
    ephemeral: bool = False,
    wait: bool = False,
) -> None:
    granted = await acme.acquire(
        number, machine=machine, ephemeral=ephemeral, wait=wait, wall_ms=PAST * 1000
    )
    assert isinstance(granted, SeatGranted)


async def wait(
    acme: Organization, number: int, machine: str = "m1", *, seats: int = 1, team: str = ""
) -> None:
    """Stand in line; those on machines other than m1 are containers."""
    place = await acme.acquire(
        number,
        machine=machine,
        ephemeral=machine != "m1",
        seats=seats,
        labels={"team": team},
        wait=True,
        wall_ms=PAST * 1000,
    )
    assert isinstance(place, InLine), place


async def is_offered(acme: Organization, *numbers: int) -> list[bool]:
    found = [await leases.find(acme.store, acme.slug, lease_id(number)) for number in numbers]
    return [lease is not None and lease.offered for lease in found]


def group(name: str, **rules: object) -> dict[str, object]:
    given: dict[str, object] = {"head_start": 0, "reserve": 0, "cap": -1}
    return {"name": name, "label": "team", "value": name, **given, **rules}


# One in front leaves -----------------------------------------------------------------------------


async def seats_gather(acme: Organization) -> None:
    """11 needs all three seats and stands in front of 12, who needs one; one seat is free."""
    await acme.set_quota(3)
    for number in (1, 2):
        await take(acme, number)
    await wait(acme, 11, seats=3)
    await wait(acme, 12)
    assert await is_offered(acme, 12) == [False]


async def test_who_gathered_seats_and_leaves_makes_room_for_those_behind(
    acme: Organization,
) -> None:
    await seats_gather(acme)
    assert (await acme.release(11)).status == "left"
    assert await is_offered(acme, 12) == [True]


async def test_who_gathered_seats_and_dies_makes_room_for_those_behind(acme: Organization) -> None:
    await seats_gather(acme)
    await acme.pass_time(GONE_MS - 1_000)
    await acme.keep(12)
    await acme.pass_time(1_001)
    await acme.reap()
    assert await is_offered(acme, 12) == [True]


async def test_one_that_died_in_another_line_holds_nobody_up_there(acme: Organization) -> None:
    await seats_gather(acme)
    await acme.set_quota(1, license="two")
    await acme.acquire(50, license="two")
    assert isinstance(await acme.acquire(51, license="two", wait=True), InLine)
    await acme.pass_time(GONE_MS - 1_000)
    await acme.keep(12, 51)
    await acme.pass_time(1_001)
    await acme.release(50)
    assert await is_offered(acme, 12, 51) == [True, True]


async def test_who_gathered_seats_and_waits_no_longer_makes_room_for_those_behind(
    acme: Organization,
) -> None:
    await seats_gather(acme)
    assert await acme.acquire(11, seats=3) == NotGranted("full", "seats")
    assert await is_offered(acme, 12) == [True]


async def test_who_is_told_that_its_seats_can_never_be_free_leaves_the_line(
    acme: Organization,
) -> None:
    await seats_gather(acme)
    await acme.drain()
    await acme.set_quota(2)
    told = await acme.acquire(11, seats=3, labels={"team": ""}, wait=True)
    assert told == NotGranted("too_many", "2")
    await acme.release(11)
    await acme.release(12)
    await acme.release(1)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_one_that_a_new_cap_makes_impossible_does_not_hold_up_its_group(
    acme: Organization,
) -> None:
    await acme.set_quota(3)
    for number in (1, 2, 3):
        await take(acme, number)
    await wait(acme, 11, seats=3, team="web")
    await wait(acme, 12, team="web")
    await acme.set_policy(group("web", cap=2))
    await acme.release(1)
    assert await is_offered(acme, 11, 12) == [False, True]
    assert await acme.acquire(11, machine="m1", seats=3, labels={"team": "web"}, wait=True) == (
        NotGranted("too_many", "2")
    )


# Held up by machines -----------------------------------------------------------------------------


async def held_up(acme: Organization) -> None:
    """11 waits for a machine; for a minute now, so 12, whose machine is there, stands as well."""
    await acme.set_quota(3, 1)
    await take(acme, 1, "c1", ephemeral=True)
    await wait(acme, 11, "c2")
    for _ in range(PATIENCE_MS // 2_000):
        await acme.pass_time(2_000)
        await acme.renew(1)
        await acme.keep(11)
    await wait(acme, 12, "c1")
    await acme.reap()
    assert await is_offered(acme, 11, 12) == [False, False]


async def test_who_held_up_the_line_and_leaves_lets_it_go_on(acme: Organization) -> None:
    await held_up(acme)
    await acme.release(11)
    assert await is_offered(acme, 12) == [True]


async def test_who_held_up_the_line_and_dies_lets_it_go_on(acme: Organization) -> None:
    await held_up(acme)
    for _ in range(5):
        await acme.pass_time(GONE_MS // 5)
        await acme.keep(12)
    await acme.pass_time(1)
    await acme.reap()
    assert await is_offered(acme, 12) == [True]


async def test_who_held_up_the_line_is_served_when_the_machine_leaves(acme: Organization) -> None:
    await held_up(acme)
    await acme.release(1)
    assert await is_offered(acme, 11, 12) == [True, False]


async def test_nobody_is_held_up_for_a_machine_that_has_come_to_stay(acme: Organization) -> None:
    await acme.set_quota(2, 1)
    for number in (1, 2):
        await take(acme, number, "c1", ephemeral=True)
    await wait(acme, 11, "c1")
    await wait(acme, 12, "c2")
    await wait(acme, 13, "c1")
    for _ in range(PATIENCE_MS // 2_000):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        await acme.keep(11, 12, 13)
    await acme.release(1)
    await acme.release(2)
    assert await is_offered(acme, 11, 12, 13) == [True, False, False]
    await take(acme, 11, "c1", wait=True)  # and says that the machine is no container
    assert await is_offered(acme, 12, 13) == [False, True]


async def test_more_machines_serve_who_waits_for_one(acme: Organization) -> None:
    await held_up(acme)
    await acme.set_quota(3, 2)
    assert await is_offered(acme, 11, 12) == [True, True]


async def test_a_machine_removed_serves_who_waits_for_one(acme: Organization) -> None:
    await acme.set_quota(2, 1)
    await take(acme, 1)
    await acme.release(1)
    await wait(acme, 11, "c2")
    await acme.unregister("m1")
    assert await is_offered(acme, 11) == [True]


# The license allows more -------------------------------------------------------------------------


async def full(acme: Organization) -> None:
    """Both seats are held, and 11 waits."""
    for number in (1, 2):
        await take(acme, number)
    await wait(acme, 11)


async def test_more_seats_serve_the_line(acme: Organization) -> None:
    await full(acme)
    await acme.set_quota(3)
    assert await is_offered(acme, 11) == [True]


async def test_a_drain_that_is_over_serves_the_line(acme: Organization) -> None:
    await full(acme)
    await acme.drain()
    await acme.release(1)
    assert await is_offered(acme, 11) == [False]
    await acme.drain(drained=False)
    assert await is_offered(acme, 11) == [True]


async def test_a_greater_cap_serves_the_line(acme: Organization) -> None:
    await acme.set_policy(group("web", cap=1))
    labels = {"team": "web"}
    assert isinstance(await acme.acquire(1, labels=labels), SeatGranted)
    await wait(acme, 11, team="web")
    await acme.set_policy(group("web", cap=2))
    assert await is_offered(acme, 11) == [True]


async def test_a_term_that_is_over_offers_to_nobody_until_it_is_longer(acme: Organization) -> None:
    await full(acme)
    await acme.set_quota(2, expires=PAST)
    await acme.release(1)
    assert await is_offered(acme, 11) == [False]
    await acme.set_quota(2, expires=FUTURE)
    assert await is_offered(acme, 11) == [True]


async def test_who_is_told_that_the_term_is_over_leaves_the_line(acme: Organization) -> None:
    await full(acme)
    await acme.set_quota(2, expires=PAST)
    told = await acme.acquire(11, labels={"team": ""}, wait=True)
    assert told == NotGranted("license_expired", "")
    await acme.set_quota(3, expires=0)
    assert await is_offered(acme, 11) == [False]


# Offline licenses --------------------------------------------------------------------------------


async def offline_and_full(acme: Organization, *, expires: int = FUTURE) -> OfflineRecord:
    """One of two seats is an offline license's, the other is held, and 11 waits."""
    record = offline_license("m1", expires=expires)
    assert await issue(acme, record) == "issued"
    await take(acme, 1)
    await wait(acme, 11)
    return record


async def test_an_offline_license_that_is_returned_serves_the_line(acme: Organization) -> None:
    record = await offline_and_full(acme)
    assert await give_back(acme, record) == 1
    assert await is_offered(acme, 11) == [True]


async def test_an_offline_license_that_expires_serves_the_line(acme: Organization) -> None:
    await offline_and_full(acme, expires=PAST + 1)
    assert (await acme.sweep(wall_ms=PAST * 1000)).offline_seats == 0, "not by the daemon's clock"
    assert (await acme.sweep()).offline_seats == 1
    assert await is_offered(acme, 11) == [True]


async def test_a_daemons_clock_that_is_ahead_frees_no_offline_seat(acme: Organization) -> None:
    await offline_and_full(acme)
    assert (await acme.sweep(wall_ms=(FUTURE + 1) * 1000)).offline_seats == 0
    await acme.acquire(12, wait=True, wall_ms=(FUTURE + 1) * 1000)
    assert await is_offered(acme, 11) == [False]


async def test_an_acquire_that_is_refused_and_finds_an_offline_license_expired_serves_the_line(
    acme: Organization,
) -> None:
    await offline_and_full(acme, expires=PAST + 1)
    assert await acme.acquire(12, seats=3, wall_ms=FUTURE * 1000) == NotGranted("too_many", "2")
    assert await is_offered(acme, 11) == [True]


async def test_a_machine_with_an_offline_license_outlives_its_retention(
    acme: Organization,
) -> None:
    await acme.set_retention(0)
    soon = int(time.time()) + 3_600
    assert await issue(acme, offline_license("m1", expires=soon)) == "issued"
    await take(acme, 1, "m1")
    await acme.release(1)
    assert (await acme.sweep()).machines == 0
    await acme.set_retention(60)
    lapses = await acme.store.redis.zscore("{acme}:kre:machines", "m1")
    assert lapses == soon + 60
    await give_back(acme, offline_license("m1", expires=soon))
    lapses = await acme.store.redis.zscore("{acme}:kre:machines", "m1")
    assert lapses is not None
    assert lapses < time.time() + 61, "nothing runs there any more"


async def test_a_repeated_issue_is_known_though_another_change_came_between(
    acme: Organization,
) -> None:
    await offline_and_full(acme)
    await acme.set_policy()
    assert await issue(acme, offline_license("m1")) == "issued", "though no seat is free now"
    assert await acme.store.redis.hget("{acme}:kre:quota", "offline") == b"1"


async def test_an_offline_license_registers_its_machine_for_those_who_wait_on_it(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 2)
    await take(acme, 1)
    await acme.release(1)  # its machine stays, so c1 is the last one admitted
    await take(acme, 2, "c1", ephemeral=True)
    await wait(acme, 11, "c2", seats=2)
    await take(acme, 3, "c1", ephemeral=True, wait=True)
    await acme.unregister("m1")
    assert await issue(acme, offline_license("c2")) == "issued"
    await acme.set_quota(5, 2)
    assert await is_offered(acme, 11) == [True]


# Offers, grace and long lines --------------------------------------------------------------------


async def test_an_offer_of_several_seats_that_nobody_claims_goes_to_all_behind(
    acme: Organization,
) -> None:
    for number in (1, 2):
        await take(acme, number)
    await wait(acme, 11, seats=2)
    await wait(acme, 12)
    await wait(acme, 13)
    await acme.release(1)
    await acme.release(2)
    assert await is_offered(acme, 11, 12, 13) == [True, False, False]
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    assert await is_offered(acme, 11, 12, 13) == [False, True, True]


async def test_the_line_is_served_when_grace_is_over(acme: Organization) -> None:
    acme.trust = "none"
    await full(acme)
    restarted = acme.other_daemon()
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    await restarted.release(1)
    assert restarted.reading is not None
    while restarted.reading.recovering_ms:
        await restarted.pass_time(2_000)
        await restarted.renew(2)
        await restarted.keep(11)
    restarted.at_ms += 1
    assert restarted.clock.has_lapsed(restarted.at_ms), "so that the daemon reaps"
    await restarted.reap()
    assert await is_offered(restarted, 11) == [True]
    restarted.at_ms += 1
    assert not restarted.clock.has_lapsed(restarted.at_ms), "once"


async def test_more_seats_than_one_call_hands_out_are_handed_out_by_the_next(
    acme: Organization,
) -> None:
    await acme.set_quota(1)
    await take(acme, 1)
    crowd = range(1_000, 1_120)
    for number in crowd:
        await wait(acme, number)
    await acme.set_quota(200)
    assert sum(await is_offered(acme, *crowd)) == 100
    acme.at_ms += 1
    assert acme.clock.has_lapsed(acme.at_ms), "so that the daemon reaps"
    await acme.reap()
    assert all(await is_offered(acme, *crowd))
