"""While a store recovers it does not know all that is in use: nothing is decided on that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store import changes, facts
from lessor_daemon.store.facts import Fact
from support.offline_records import give_back, issue, offline_license
from support.organization import RECOVERY_MS

if TYPE_CHECKING:
    from support.organization import Organization


async def remove_license(acme: Organization) -> str:
    mark = changes.ChangeMark(None, os.urandom(8), b"")
    edit = changes.Edit("{acme}:kre:quota")
    reading, changed = await changes.change(
        acme.store, acme.slug, acme._context(), mark, edits=[edit], unused=["kre"]
    )
    acme._learn(reading)
    return changed.status


@pytest.fixture
async def recovering(acme: Organization) -> Organization:
    """Two seats, of which nobody says yet whether they are held."""
    await acme.open_recovery()
    return acme


async def test_no_offline_license_is_issued(recovering: Organization) -> None:
    acme = recovering
    assert await issue(acme, offline_license("m1", seats=2)) == "recovering"
    for _ in range(RECOVERY_MS // 2_000 + 1):
        await acme.pass_time(2_000)
    assert await issue(acme, offline_license("m1", seats=2)) == "issued"


async def test_one_that_the_store_forgot_is_said_again(recovering: Organization) -> None:
    record = offline_license("m1", seats=2)
    assert await issue(recovering, record, is_forgotten=True) == "issued"
    assert await give_back(recovering, record) == 2


async def test_seats_and_machines_are_lowered_only_by_force(recovering: Organization) -> None:
    acme = recovering
    assert (await acme.set_quota(1, 1)).status == "recovering"
    assert (await acme.set_quota(2, 1)).status == "recovering"
    assert (await acme.set_quota(1, 1, force=True)).status == "made"


async def test_they_may_be_raised(recovering: Organization) -> None:
    assert (await recovering.set_quota(3, 2)).status == "made"
    assert (await recovering.set_quota(3, None)).status == "made"
    assert (await recovering.set_quota(3, 5)).status == "recovering", "less than unlimited"


async def test_no_license_is_removed(recovering: Organization) -> None:
    acme = recovering
    assert await remove_license(acme) == "recovering"
    for _ in range(RECOVERY_MS // 2_000 + 1):
        await acme.pass_time(2_000)
    assert await remove_license(acme) == "made"


async def test_what_is_said_again_never_overwrites_a_later_word(acme: Organization) -> None:
    async def say(version: int, value: bytes) -> int:
        mark = changes.ChangeMark(None, os.urandom(8), b"", {"seats kre": (version, value)})
        reading, changed = await changes.change(
            acme.store, acme.slug, acme._context(), mark, edits=[]
        )
        acme._learn(reading)
        return changed.version

    earlier = await say(0, b"5")
    later = await say(0, b"2")
    await say(earlier, b"5")
    assert await facts.fact(acme.store, acme.slug, "seats kre") == Fact("seats kre", later, b"2")
