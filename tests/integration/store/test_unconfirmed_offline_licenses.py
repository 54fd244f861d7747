"""An offline license that no replica confirms is not handed out, and holds no seat."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.callers import BOOTSTRAP
from lessor_daemon.directory.changes import Changes
from lessor_daemon.directory.licenses import Licenses
from lessor_daemon.directory.memory import Memory
from lessor_daemon.directory.offline import OfflineLicenses, Wanted
from lessor_daemon.directory.signing_keys import SigningKeys
from lessor_daemon.store import offline as stored
from lessor_daemon.store import store as store_module
from lessor_daemon.store.errors import StoreUnavailable
from lessor_protocol.errors import Problem
from support.organization import Organization
from support.running import run_of

if TYPE_CHECKING:
    from pathlib import Path

    from lessor_daemon.store.store import Store

NOW = 1_800_000_000
WANTED = Wanted("kre", "laptop", seats=1, expires=NOW + 300 * 86_400)


class Acme:
    """An organization with three seats, on a store that may have a replica which is away."""

    def __init__(self, store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run, memory = run_of(Organization(store)), Memory(directory / "administration.sqlite")
        changes = Changes(store, run, memory)
        self.licenses = Licenses(store, changes, lambda: NOW * 1000, ttl_range_ms=(5_000, 60_000))
        self.offline = OfflineLicenses(
            store,
            run,
            memory,
            self.licenses,
            SigningKeys(store, directory / "offline-keys", lambda: NOW * 1000),
            wall_ms=lambda: NOW * 1000,
        )
        self.is_replica_away = False
        monkeypatch.setattr(store_module, "CONFIRM_MS", 1)
        monkeypatch.setattr(store.topology, "has_replicas", lambda _: self.is_replica_away)

    async def issue(self) -> str:
        return (await self.offline.issue(BOOTSTRAP, "acme", WANTED))[1]

    async def assert_refused(self, text: str) -> None:
        with pytest.raises(Problem, match=text) as told:
            await self.issue()
        assert told.value.code == "store_unavailable"

    async def held(self) -> int:
        return (await self.licenses.find("acme", "kre")).offline_seats

    async def states(self) -> list[str]:
        return [str(one["state"]) for one in await self.offline.all("acme", None, None)]


@pytest.fixture
async def acme(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    acme = await asyncio.to_thread(Acme, store, tmp_path, monkeypatch)
    await acme.licenses.add(BOOTSTRAP, "acme", "kre", {"seats": 3})
    return acme


async def test_an_issue_that_is_not_confirmed_takes_no_seat_however_often_it_is_done(
    acme: Acme,
) -> None:
    acme.is_replica_away = True
    await acme.assert_refused("no offline license was issued")
    assert await acme.held() == 0
    await acme.assert_refused("may be lost")  # the return is owed a confirmation, too
    assert (await acme.held(), await acme.states()) == (0, ["returned"])
    acme.is_replica_away = False
    assert await acme.issue()
    assert await acme.held() == 1
    assert sorted(await acme.states()) == ["returned", "valid"]


async def test_what_could_not_be_given_back_at_once_is_before_the_next_is_issued(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    acme.is_replica_away = True
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(stored, "give_back", unreachable)
        await acme.assert_refused("no offline license was issued")
    assert await acme.held() == 1
    acme.is_replica_away = False
    assert await acme.issue()
    assert await acme.held() == 1
    assert sorted(await acme.states()) == ["returned", "valid"]
