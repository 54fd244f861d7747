"""The line: order, no barging, offers, and both quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.organization import LEASE_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization

GONE_MS = 10_000
OFFER_MS = 3_000


async def fill(organization: Organization, seats: int = 2) -> None:
    """Take all seats with ids from 1."""
    for number in range(1, seats + 1):
        assert isinstance(await organization.acquire(number), SeatGranted)


async def position(organization: Organization, number: int, machine: str = "m1") -> int:
    place = await organization.acquire(number, wait=True, machine=machine)
    assert isinstance(place, InLine), place
    return place.position


async def test_waiters_stand_in_the_order_they_came(acme: Organization) -> None:
    await fill(acme)
    assert [await position(acme, number) for number in (11, 12, 13)] == [1, 2, 3]
    assert [await position(acme, number) for number in (13, 12, 11)] == [3, 2, 1]


async def test_a_freed_seat_goes_to_the_first_even_if_another_asks_first(
    acme: Organization,
) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    await acme.release(1)
    assert await position(acme, 12) == 1
    first = await acme.acquire(11, wait=True)
    assert isinstance(first, SeatGranted)
    assert first.is_new


async def test_nobody_barges_past_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.release(1)
    assert await acme.acquire(99) == NotGranted("full", "seats")
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_the_wait_is_told_with_the_grant(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.pass_time(4_000)
    await position(acme, 11)
    await acme.release(1)
    granted = await acme.acquire(11, wait=True)
    assert isinstance(granted, SeatGranted)
    assert granted.waited_ms == 4_000


async def test_a_waiter_that_stops_asking_loses_its_place(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.pass_time(GONE_MS - 1_000)
    await position(acme, 12)
    await acme.pass_time(1_001)
    await acme.reap()
    assert await position(acme, 12) == 1
    assert await position(acme, 11) == 2, "it may come again, at the end"


async def test_an_offer_that_is_not_claimed_goes_to_the_next(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    ended = await acme.reap()
    assert [(one.lease_id[-1], one.reason) for one in ended] == [(11, "unclaimed")]
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted)
    assert await position(acme, 11) == 1


async def let_pass(acme: Organization, number: int, freed: int) -> None:
    """``freed`` gives its seat back; ``number``, whose turn it is, does not claim it in time."""
    await acme.release(freed)
    await acme.pass_time(OFFER_MS + 1)
    ended = await acme.reap()
    assert [(one.lease_id[-1], one.reason) for one in ended] == [(number, "unclaimed")]


async def test_who_lets_an_offer_pass_is_at_its_old_place_again_when_it_asks(
    acme: Organization,
) -> None:
    await fill(acme)
    for number in (11, 12, 13):
        await position(acme, number)
    await let_pass(acme, 11, freed=1)
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted), "it went to the next"
    assert await position(acme, 13) == 2
    assert await position(acme, 11) == 1
    await acme.release(2)
    assert await position(acme, 13) == 1
    claimed = await acme.acquire(11, wait=True)
    assert isinstance(claimed, SeatGranted)
    assert claimed.waited_ms == OFFER_MS + 1, "since it joined"


async def test_who_let_an_offer_pass_is_passed_over_until_it_asks(acme: Organization) -> None:
    await fill(acme)
    for number in (11, 12, 13):
        await position(acme, number)
    await let_pass(acme, 11, freed=1)
    await acme.acquire(12, wait=True)
    await acme.release(2)
    assert isinstance(await acme.acquire(13, wait=True), SeatGranted), "one offer is all it costs"
    await acme.release(12)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_a_seat_that_nobody_else_wants_is_there_for_who_comes_back(
    acme: Organization,
) -> None:
    await fill(acme)
    await position(acme, 11)
    await let_pass(acme, 11, freed=1)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_a_place_is_lost_by_silence_also_across_an_offer(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.pass_time(1_000)
    await position(acme, 12)
    await let_pass(acme, 11, freed=1)
    await acme.acquire(12, wait=True)
    await position(acme, 13)
    await acme.pass_time(GONE_MS - OFFER_MS - 1_000)
    await acme.reap()
    assert await position(acme, 13) == 1, "11 was silent for ten seconds and a moment"
    assert await position(acme, 11) == 2


async def test_who_holds_a_call_open_for_the_absent_is_told_to_ask(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    await let_pass(acme, 11, freed=1)
    assert await acme.keep(11, 12) == [0, 0], "12 has the offer now"
    await acme.acquire(12, wait=True)
    await position(acme, 11)
    assert await acme.keep(11) == [1]


async def test_who_let_an_offer_pass_may_leave(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await let_pass(acme, 11, freed=1)
    await acme.release(11)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_who_leaves_instead_of_claiming_is_forgotten(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.release(1)
    await acme.release(11)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_a_policy_changed_during_an_offer_counts_for_who_lets_it_pass(
    acme: Organization,
) -> None:
    await fill(acme)
    await acme.acquire(11, wait=True, labels=URGENT)
    await position(acme, 12)
    await acme.release(1)
    await acme.set_policy(group(head_start_ms=60_000, cap=1))
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    await acme.acquire(12, wait=True)
    assert isinstance(await acme.acquire(13, wait=True, labels=URGENT), InLine)
    again = await acme.acquire(11, wait=True, labels=URGENT)
    assert isinstance(again, InLine)
    assert again.position == 1


async def test_who_asks_through_a_recovery_with_an_offer_keeps_its_place(
    acme: Organization,
) -> None:
    acme.trust = "none"
    await fill(acme)
    for number in (11, 12, 13):
        await position(acme, number)
    await acme.release(1)  # offered to 11, who cannot claim it before the grace is over
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    restarted = acme.other_daemon()
    await restarted.tick()
    while restarted.reading and restarted.reading.recovering_ms > 2_000:
        await restarted.pass_time(2_000)
        for number in (13, 12, 11):
            assert await restarted.acquire(number, wait=True) == NotGranted("recovering", "")
        await restarted.renew(2)
    await restarted.pass_time(2_000)
    await restarted.reap()
    assert isinstance(await restarted.acquire(12, wait=True), SeatGranted)
    assert await position(restarted, 13) == 2
    assert await position(restarted, 11) == 1


async def test_a_lapse_that_the_call_of_the_same_id_ends_is_told(acme: Organization) -> None:
    crowd = range(1, 102)
    await acme.set_quota(len(crowd))
    for number in crowd:
        await acme.acquire(number)
    await acme.pass_time(LEASE_MS + 1)
    assert await acme.acquire(101) == NotGranted("ended", "lapsed")
    assert len({one.lease_id for one in acme.ended}) == 101, "a hundred, and its own"


async def test_an_unclaimed_offer_registers_no_machine(acme: Organization) -> None:
    await acme.set_quota(2, 2)
    await fill(acme)
    await position(acme, 11, machine="dead")
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    assert isinstance(await acme.acquire(12, machine="m2"), SeatGranted)


async def test_a_claimed_offer_registers_its_machine_for_good(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11, machine="m2")
    await acme.release(1)
    assert isinstance(await acme.acquire(11, machine="m2", wait=True), SeatGranted)
    await acme.release(11)
    assert await acme.acquire(12, machine="m3") == NotGranted("full", "machines")


async def test_a_claimed_offer_lasts_a_whole_ttl(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.release(1)
    await acme.acquire(11, wait=True)
    await acme.pass_time(LEASE_MS)
    assert isinstance((await acme.renew(11))[0], int)


async def test_one_blocked_by_machines_does_not_block_one_whose_machine_is_registered(
    acme: Organization,
) -> None:
    await acme.set_quota(2, 1)
    await fill(acme)
    assert await position(acme, 11, machine="m2") == 1
    assert await position(acme, 12, machine="m1") == 2
    await acme.release(1)
    blocked = await acme.acquire(11, machine="m2", wait=True)
    assert isinstance(blocked, InLine)
    assert isinstance(await acme.acquire(12, machine="m1", wait=True), SeatGranted)


async def test_says_which_quota_binds(acme: Organization) -> None:
    await acme.set_quota(2, 1)
    assert isinstance(await acme.acquire(1, machine="m1"), SeatGranted)
    place = await acme.acquire(11, machine="m2", wait=True)
    assert isinstance(place, InLine)
    assert place.blocked_by == "machines"


async def test_a_lapsed_holder_makes_room_for_the_line(acme: Organization) -> None:
    await fill(acme)
    await acme.pass_time(LEASE_MS - 1_000)
    await position(acme, 11)
    await acme.pass_time(1_001)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_raising_the_seats_serves_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.set_quota(3, 2)
    assert await acme.store.redis.scard("{acme}:kre:use") == 3


async def test_who_will_not_wait_any_longer_leaves_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    assert await acme.acquire(11) == NotGranted("full", "seats")
    await acme.release(1)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_the_line_survives_a_restart_of_the_daemon(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    restarted = acme.other_daemon()
    assert await position(restarted, 12) == 2


# Several seats at once ---------------------------------------------------------------------------


async def seats_of(organization: Organization, number: int, **more: int) -> int:
    outcome = await organization.acquire(number, wait=True, **more)  # type: ignore[arg-type]  # seats
    return outcome.seats if isinstance(outcome, SeatGranted) else 0


async def test_several_seats_are_granted_together_or_not_at_all(acme: Organization) -> None:
    await acme.set_quota(5)
    assert await seats_of(acme, 1, seats=3) == 3
    assert await seats_of(acme, 2, seats=3) == 0
    assert await acme.store.redis.scard("{acme}:kre:use") == 3
    await acme.release(1)
    assert await seats_of(acme, 2, seats=3) == 3


async def test_a_range_takes_what_is_free_within_it(acme: Organization) -> None:
    await acme.set_quota(5)
    assert await seats_of(acme, 1, seats=2, most_seats=8) == 5
    assert await seats_of(acme, 2, seats=2, most_seats=8) == 0
    await acme.release(1)
    assert await seats_of(acme, 2, seats=2, most_seats=8) == 5


async def test_small_ones_do_not_starve_a_large_one(acme: Organization) -> None:
    await acme.set_quota(3)
    for number in (1, 2, 3):
        assert await seats_of(acme, number) == 1
    assert await seats_of(acme, 11, seats=3) == 0
    for number in (1, 2):
        await acme.release(number)
        assert await seats_of(acme, 20 + number) == 0, "seats gather for the large one"
    await acme.release(3)
    assert await seats_of(acme, 11, seats=3) == 3


async def test_more_seats_than_there_are_is_refused_at_once_and_blocks_nobody(
    acme: Organization,
) -> None:
    await acme.set_quota(3)
    assert await acme.acquire(1, wait=True, seats=4) == NotGranted("too_many", "3")
    assert await seats_of(acme, 2, seats=3) == 3
    assert await seats_of(acme, 3, seats=3) == 0
    await acme.set_quota(2, force=True)
    assert await seats_of(acme, 4) == 0
    await acme.release(2)
    assert await seats_of(acme, 4) == 1, "the one that became impossible left the line"
    assert await acme.acquire(3, wait=True, seats=3) == NotGranted("too_many", "2")


async def test_all_seats_of_a_lease_lapse_together(acme: Organization) -> None:
    await acme.set_quota(4)
    assert await seats_of(acme, 1, seats=4) == 4
    await acme.pass_time(LEASE_MS + 1)
    assert len(await acme.reap()) == 1
    await assert_at_rest(acme.store, acme.slug)


# Policy ------------------------------------------------------------------------------------------

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
    await fill(acme)
    await position(acme, 11)
    for _ in range(31):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        await position(acme, 11)
    await position(acme, 12)
    urgent = await acme.acquire(13, wait=True, labels=URGENT)
    assert isinstance(urgent, InLine)
    assert urgent.position == 2, "before 12, who came now; behind 11, who came 62 s ago"


async def test_within_a_priority_the_order_is_that_of_coming(acme: Organization) -> None:
    await acme.set_policy(group(head_start_ms=60_000))
    await fill(acme)
    for number in (21, 22, 23):
        await acme.acquire(number, wait=True, labels=URGENT)
    places = [await acme.acquire(number, wait=True, labels=URGENT) for number in (23, 22, 21)]
    assert [one.position for one in places if isinstance(one, InLine)] == [3, 2, 1]


async def test_a_reserved_seat_is_lent_while_idle_and_first_served_when_wanted(
    acme: Organization,
) -> None:
    await acme.set_policy(group(reserve=1))
    await fill(acme)  # both lent to others
    await position(acme, 11)
    await acme.acquire(12, wait=True, labels=URGENT)
    await acme.release(1)
    assert await position(acme, 11) == 1
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
    await fill(acme)
    await position(acme, 11)
    await acme.acquire(12, wait=True, labels=URGENT)
    await acme.set_policy(group(head_start_ms=60_000))
    assert await position(acme, 11) == 2


async def test_nobody_is_overtaken_by_who_came_later_than_the_head_start(
    acme: Organization,
) -> None:
    await acme.set_policy(group(head_start_ms=3_000))
    await fill(acme)
    await position(acme, 11)
    for number in range(21, 26):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        await acme.acquire(number, wait=True, labels=URGENT)
    assert await position(acme, 11) == 2, "only the one who came 2 s later is in front"


async def test_the_line_stands_still_during_recovery_and_keeps_its_order(
    acme: Organization,
) -> None:
    acme.trust = "none"
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    restarted = acme.other_daemon()
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    assert await restarted.acquire(12, wait=True) == NotGranted("recovering", "")
    await restarted.release(1)
    assert await restarted.acquire(11, wait=True) == NotGranted("recovering", "")
    while restarted.reading and restarted.reading.recovering_ms:
        await restarted.pass_time(2_000)
        for number in (12, 11):
            await restarted.acquire(number, wait=True)
        await restarted.renew(2)
    assert isinstance(await restarted.acquire(11, wait=True), SeatGranted)
    assert await position(restarted, 12) == 1


# Drain -------------------------------------------------------------------------------------------


async def test_a_drained_license_lets_the_running_finish_and_keeps_the_line(
    acme: Organization,
) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.drain()
    assert all(isinstance(ttl, int) for ttl in await acme.renew(1, 2))
    await acme.release(1)
    place = await acme.acquire(11, wait=True)
    assert isinstance(place, InLine)
    assert (place.position, place.blocked_by) == (1, "drained")
    assert await acme.acquire(12) == NotGranted("full", "drained")
    await acme.drain(drained=False)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_nobody_gets_a_free_seat_of_a_drained_license(acme: Organization) -> None:
    await acme.drain()
    assert await acme.acquire(1) == NotGranted("full", "drained")


# Machines ----------------------------------------------------------------------------------------


async def test_a_waiter_put_aside_for_its_machine_is_served_when_a_machine_leaves(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    assert await position(acme, 11, machine="c2") == 1
    assert isinstance(await acme.acquire(12, machine="c1", ephemeral=True, wait=True), SeatGranted)
    await acme.release(1)
    assert await position(acme, 11, machine="c2") == 1
    await acme.release(12)
    assert isinstance(await acme.acquire(11, machine="c2", wait=True), SeatGranted)


async def test_a_waiter_put_aside_is_served_when_its_machine_is_registered_by_another(
    acme: Organization,
) -> None:
    await acme.set_quota(4, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    for number in (11, 12):
        await position(acme, number, machine="c2")
    await acme.release(1)
    for number in (11, 12):
        assert isinstance(await acme.acquire(number, machine="c2", wait=True), SeatGranted)


async def test_one_blocked_by_machines_for_a_minute_holds_up_those_behind_it(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    await position(acme, 11, machine="c2")
    for _ in range(31):
        await acme.pass_time(2_000)
        await acme.renew(1)
        await position(acme, 11, machine="c2")
    late = await acme.acquire(12, machine="c1", ephemeral=True, wait=True)
    assert isinstance(late, InLine), "else the container would never leave"
    await acme.release(1)
    assert isinstance(await acme.acquire(11, machine="c2", wait=True), SeatGranted)


async def test_places_are_kept_in_one_call_for_many(acme: Organization) -> None:
    await fill(acme)
    for number in range(11, 31):
        await position(acme, number)
    for _ in range(8):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        assert await acme.keep(*range(11, 31), 99) == [*range(1, 21), 0]
    assert await position(acme, 30) == 20
