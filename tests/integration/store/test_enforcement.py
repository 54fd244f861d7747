"""What a store forgot is made to hold in it again, as it stands when that is done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon.directory.callers import BOOTSTRAP
from lessor_daemon.directory.changes import Changes, Plan
from lessor_daemon.directory.enforcement import Enforcement
from lessor_daemon.directory.licenses import Licenses
from lessor_daemon.directory.memory import Memory
from lessor_daemon.directory.restrictions import (
    KEY,
    LICENSE,
    MEMBER,
    NOTHING,
    OFFLINE,
    ORGANIZATION,
    THERE,
    USER,
    Target,
)
from lessor_daemon.directory.users import WITHDRAWN
from lessor_daemon.store import changes as scripts
from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import registered
from lessor_daemon.store.changes import Edit
from lessor_daemon.store.directory import KeyRecord, Member
from lessor_daemon.store.errors import Unconfirmed
from lessor_daemon.store.facts import Fact
from lessor_daemon.store.scripts import SeatGranted
from lessor_protocol.errors import Problem
from support.offline_records import offline_license
from support.organization import Organization
from support.running import run_of

if TYPE_CHECKING:
    from pathlib import Path

    from lessor_daemon.store.facts import Facts
    from lessor_daemon.store.store import Store

ADA, OLGA = "ada@example.com", "olga@example.com"


class Administration:
    """What changes the organization ``acme``, and says again what it forgot."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        self.org = Organization(store)
        run = run_of(self.org)
        self.memory = Memory(directory / "administration.sqlite")
        self._changes = Changes(store, run, self.memory)
        self.licenses = Licenses(store, self._changes, lambda: 0, ttl_range_ms=(5_000, 60_000))
        self.enforcement = Enforcement(store, run, self._changes, self.licenses)

    async def change(self, *edits: Edit, facts: Facts | None = None) -> None:
        async def decide() -> Plan[None]:
            return Plan(None, "test", "", edits=edits, facts=facts or {})

        await self._changes.make("acme", BOOTSTRAP, decide)

    async def forgotten(self, *said: tuple[Target, bytes]) -> list[Fact]:
        """Facts of changes that the store has lost, one after the other; it opens a new epoch."""
        version = await scripts.version(self.store, "acme")
        facts = [Fact(str(target), version + n, value) for n, (target, value) in enumerate(said, 1)]
        await self.org.open_recovery()
        missing = await self.enforcement.missing("acme", facts)
        assert missing == facts
        return missing

    async def users(self) -> list[str]:
        return list(await registered.users(self.store, "acme", "studio"))

    async def members(self) -> list[str]:
        return list(await stored.members(self.store, "acme"))

    async def key_states(self) -> dict[str, str]:
        return {one.key_id: one.state for one in await stored.api_keys(self.store, "acme")}


def registration(email: str = ADA) -> Edit:
    return Edit(key_names.registered("acme", "studio"), email, "1")


def key(key_id: str) -> Edit:
    return KeyRecord(key_id, "acme", key_id, "", frozenset({"run"}), b"digest", 0).edit()


def packed(edit: Edit) -> bytes:
    assert isinstance(edit.value, bytes)
    return edit.value


def known(facts: list[Fact]) -> dict[str, int]:
    return {one.name: one.version for one in facts}


@pytest.fixture
async def acme(store: Store, tmp_path: Path) -> Administration:
    """With Olga as owner, Ada as member and registered user, and a key for each."""
    acme = await asyncio.to_thread(Administration, store, tmp_path)
    await acme.licenses.add(BOOTSTRAP, "acme", "kre", {"seats": 4})
    await acme.licenses.add(BOOTSTRAP, "acme", "studio", {"seats": 2, "kind": "named-user"})
    people = [Member(OLGA, "owner", 0).edit("acme"), Member(ADA, "member", 0).edit("acme")]
    await acme.change(*people, registration(), key("olga"), key("ada"))
    return acme


async def test_a_later_word_wins_also_when_it_comes_between_comparing_and_saying_again(
    acme: Administration,
) -> None:
    missing = await acme.forgotten(
        (Target("seats", "kre"), b"1"),
        (Target(USER, "studio", ADA), NOTHING),
        (Target(MEMBER, ADA), NOTHING),
        (Target(KEY, "ada"), NOTHING),
    )
    await acme.licenses.change(BOOTSTRAP, "acme", "kre", {"seats": 3}, force=True)
    await acme.change(Member(ADA, "admin", 0).edit("acme"), registration(), key("ada"))
    assert await acme.enforcement.say_again("acme", missing, known(missing)) == set()
    assert (await acme.licenses.find("acme", "kre")).seats == 3
    assert (await acme.users(), await acme.members()) == ([ADA], [ADA, OLGA])
    assert await acme.key_states() == {"olga": "", "ada": ""}


async def test_an_organization_that_is_made_anew_meanwhile_is_not_closed(
    acme: Administration,
) -> None:
    missing = await acme.forgotten((Target(ORGANIZATION), NOTHING))
    await acme.change(key("olga"), facts={ORGANIZATION: (0, THERE)})
    assert await acme.enforcement.say_again("acme", missing, known(missing)) == set()
    assert await acme.key_states() == {"olga": "", "ada": ""}
    assert not (await acme.licenses.find("acme", "kre")).drained


async def test_an_offline_license_counts_also_where_its_organization_began_anew(
    acme: Administration,
) -> None:
    record = offline_license("m1", seats=3)
    missing = await acme.forgotten((Target(OFFLINE, record.serial), record.pack()))
    await acme.change(facts={ORGANIZATION: (0, THERE)})
    assert await acme.enforcement.missing("acme", missing) == missing
    done = await acme.enforcement.say_again("acme", missing, known(missing))
    assert done == {one.name for one in missing}
    assert (await acme.licenses.uses("acme"))[0].offline_seats == 3


async def test_hundreds_of_facts_wait_for_a_slow_disk_together(
    acme: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acme.licenses.change(BOOTSTRAP, "acme", "kre", {"seats": 500}, force=True)
    records = [replace(offline_license("m1"), serial=f"s{number}") for number in range(200)]
    said = [(Target(OFFLINE, one.serial), one.pack()) for one in records]
    missing = await acme.forgotten(*said)
    confirm = acme.store.call_durably

    async def confirm_late(*call: Any) -> Any:  # noqa: ANN401  # whatever it is
        answer = await confirm(*call)
        await asyncio.sleep(0.5)
        return answer

    monkeypatch.setattr(acme.store, "call_durably", confirm_late)
    async with asyncio.timeout(20):
        await acme.enforcement.say_again("acme", missing, known(missing))
    counted = {one.license: one.offline_seats for one in await acme.licenses.uses("acme")}
    assert counted["kre"] == 200


async def test_a_change_that_is_not_confirmed_is_remembered(
    acme: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = acme.store.call_durably

    async def make_unconfirmed(*call: Any) -> Any:  # noqa: ANN401  # whatever it is
        await make(*call)
        raise Unconfirmed("it was done, but is on no replica of the store yet")

    monkeypatch.setattr(acme.store, "call_durably", make_unconfirmed)
    with pytest.raises(Problem, match="on no replica"):
        await acme.licenses.change(BOOTSTRAP, "acme", "kre", {"seats": 2}, force=True)
    remembered = {one.name: one for one in await asyncio.to_thread(acme.memory.facts, "acme")}
    assert remembered["seats kre"].value == b"2"
    assert await acme.enforcement.missing("acme", [remembered["seats kre"]]) == []


async def test_a_license_that_was_made_anew_has_none_of_its_earlier_users(
    acme: Administration,
) -> None:
    await acme.change(registration(OLGA))
    activated = await acme.org.acquire(1, license="studio", owner=f"member:{ADA}")
    assert isinstance(activated, SeatGranted)
    missing = await acme.forgotten(
        (Target(LICENSE, "studio"), b"named-user"), (Target(USER, "studio", OLGA), b"2")
    )
    done = await acme.enforcement.say_again("acme", missing, known(missing))
    assert done == {one.name for one in missing}
    assert await acme.users() == [OLGA], "she was registered again"
    assert await acme.org.news(1) == [f"withdrawn {WITHDRAWN}"]
    assert not (await acme.licenses.find("acme", "studio")).drained


async def test_a_license_that_was_made_anew_of_another_kind_is_drained(
    acme: Administration,
) -> None:
    missing = await acme.forgotten((Target(LICENSE, "kre"), b"named-user"))
    await acme.enforcement.say_again("acme", missing, known(missing))
    assert (await acme.licenses.find("acme", "kre")).drained, "any member could use it"


async def test_an_organization_that_was_made_anew_keeps_nothing_of_the_earlier_one(
    acme: Administration,
) -> None:
    missing = await acme.forgotten((Target(ORGANIZATION), THERE))
    done = await acme.enforcement.say_again("acme", missing, known(missing))
    assert done == {ORGANIZATION}
    assert await acme.key_states() == {"olga": "revoked", "ada": "revoked"}
    assert (await acme.users(), await acme.members()) == ([], [])
    assert all(one.drained for one in await acme.licenses.uses("acme"))
    assert await acme.enforcement.missing("acme", missing) == []


async def test_what_was_said_since_an_organization_was_made_anew_counts(
    acme: Administration,
) -> None:
    facts = await acme.forgotten(
        (Target(ORGANIZATION), THERE),
        (Target(LICENSE, "kre"), b"floating"),
        (Target("seats", "kre"), b"2"),
        (Target(MEMBER, ADA), b"member 0"),
        (Target(KEY, "ada"), packed(key("ada"))),
    )
    await acme.change(key("olga"))
    await acme.enforcement.say_again("acme", facts, known(facts))
    assert await acme.key_states() == {"olga": "", "ada": ""}, "one is known of, one was said now"
    assert await acme.members() == [ADA]
    uses = {one.license: (one.seats, one.drained) for one in await acme.licenses.uses("acme")}
    assert uses == {"kre": (2, False), "studio": (2, True)}


async def test_an_organization_that_a_store_does_not_have_waits(acme: Administration) -> None:
    missing = await acme.forgotten((Target(ORGANIZATION), THERE))
    for name in ("kre", "studio"):
        keys = [Edit(one) for one in key_names.of_license("acme", name)]
        await acme.change(*keys, Edit(key_names.licenses("acme"), name))
    await acme.change(Edit(key_names.members("acme")), Edit(key_names.api_keys("acme")))
    assert await acme.enforcement.say_again("acme", missing, known(missing)) == set()
    assert await acme.enforcement.missing("acme", missing) == missing
