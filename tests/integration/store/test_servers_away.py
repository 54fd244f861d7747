"""A start while the servers of some organizations are away, as in a Cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon.bootstrap import Bootstrap, LicenseSpec, OrganizationSpec
from lessor_daemon.directory import upkeep
from lessor_daemon.directory.callers import BOOTSTRAP
from lessor_daemon.directory.memory import Memory
from lessor_daemon.directory.service import Directory
from lessor_daemon.directory.upkeep import Retention
from lessor_daemon.leasing.clocks import LeaseClocks
from lessor_daemon.leasing.memory import ClockMemory
from lessor_daemon.leasing.settings import NEW, LeasingSettings
from lessor_daemon.metrics import Metrics
from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store.errors import StoreUnavailable
from lessor_daemon.store.scripts import SeatGranted
from lessor_daemon.store.store import Store
from lessor_daemon.store.topology.clients import close_client, make_client
from lessor_daemon.store.topology.routed import Routed, key_of
from lessor_daemon.store.topology.single import SingleServer
from lessor_protocol.errors import Problem
from redis.exceptions import ConnectionError as RedisConnectionError
from support.organization import TTL_MS, Organization, proven
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lessor_daemon.directory.licenses import Fields
    from redis.asyncio import Redis
    from support.redis_server import RedisServer

SLUGS = ("acme", "globex", "initech")
WALL_MS = 1_800_000_000_000


class PartlyAway(SingleServer):
    """One server that stands for several: the keys of the organizations ``away`` do not answer."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.away: set[str] = set()
        self._there = redis
        self.redis = Routed(self._route)

    def _route(self, key: bytes) -> Redis:
        if any(key.startswith(b"{%s}:" % slug.encode()) for slug in self.away):
            raise RedisConnectionError("nobody is there")
        return self._there

    async def execute(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # as redis has it
        self._route(key_of(command))
        return await super().execute(*command)

    async def close(self) -> None:
        await super().close()
        await close_client(self._there)


class Site:
    """A directory on such a store, and its bootstrap file."""

    def __init__(self, url: str, path: Path) -> None:
        redis = make_client(url, connections=20, answer_seconds=5)
        self.servers = PartlyAway(redis)
        self.store = Store(self.servers, lambda *_: None, lambda: 0)
        metrics = Metrics()
        clocks = LeaseClocks(
            self.store,
            LeasingSettings(secret=b"", trust=NEW, booted_wall_seconds=1_000_000),
            metrics,
            ClockMemory(path / "clocks.json"),
            boottime_ms=lambda: 0,
            wall_ms=lambda: WALL_MS,
            on_ended=lambda _org, _ended: None,
        )
        self.directory = Directory(
            self.store,
            clocks.run,
            metrics,
            boottime_ms=lambda: 0,
            wall_ms=lambda: WALL_MS,
            ttl_range_ms=(5_000, 60_000),
            signing_keys=path,
            memory=Memory(path / "administration.sqlite"),
            retention=Retention(1, 1),
        )

    async def apply(self, seats: int, *, anew: bool = True) -> list[str]:
        """The file says that all have so many."""
        license = LicenseSpec("kre", "floating", seats, None, 30_000, None)
        specs = [OrganizationSpec(slug, slug, (), (license,), ()) for slug in SLUGS]
        return await self.directory.apply(Bootstrap(tuple(specs)), anew=anew)

    async def lower(self, slug: str, seats: int) -> None:
        """As an admin does it at run time."""
        fields: Fields = {"seats": seats}
        await self.directory.licenses.change(BOOTSTRAP, slug, "kre", fields, force=True)

    async def seats(self) -> dict[str, int]:
        """Of those whose servers are there."""
        slugs = [slug for slug in SLUGS if slug not in self.servers.away]
        uses = {slug: await self.directory.licenses.uses(slug) for slug in slugs}
        return {slug: use.seats for slug, (use,) in uses.items()}


@pytest.fixture
async def site(store: Store, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Site]:  # noqa: ARG001  # empties it
    made = await asyncio.to_thread(Site, redis_server.url, tmp_path)
    yield made
    await made.store.close()


async def test_those_whose_servers_are_there_get_what_the_file_says(site: Site) -> None:
    assert await site.apply(2) == []
    site.servers.away = {"globex"}
    assert await site.apply(3) == ["globex"]
    assert await site.seats() == {"acme": 3, "initech": 3}
    site.servers.away = set()
    assert await site.apply(3) == []
    assert await site.seats() == dict.fromkeys(SLUGS, 3)


async def test_who_is_left_out_is_applied_alone_and_nobody_elses_seats_come_back(
    site: Site,
) -> None:
    await site.apply(10)
    site.servers.away = {"globex"}
    assert await site.apply(10) == ["globex"]
    await site.lower("acme", 5)
    assert await site.apply(10, anew=False) == ["globex"]
    site.servers.away = set()
    assert await site.apply(10, anew=False) == []
    assert await site.seats() == {"acme": 5, "globex": 10, "initech": 10}


async def test_what_was_said_outlasts_an_emptied_store_whose_refill_takes_several_attempts(
    site: Site,
) -> None:
    await site.apply(10)
    await site.lower("acme", 5)
    await site.directory.say_again()
    await site.store.redis.flushall()
    site.servers.away = {"globex"}
    with pytest.raises((StoreUnavailable, Problem)):
        await site.apply(10)
    site.servers.away = set()
    await site.directory.say_again()
    await site.apply(10, anew=False)
    await site.directory.say_again()
    assert await site.seats() == {"acme": 5, "globex": 10, "initech": 10}


async def test_what_was_said_outlasts_a_server_that_lost_one_organization_and_not_its_name(
    site: Site,
) -> None:
    await site.apply(10)
    await site.lower("acme", 5)
    await site.directory.say_again()
    lost = await site.store.redis.keys("{acme}:*")
    await site.store.redis.delete(*lost)
    await site.directory.say_again()
    await site.apply(10)
    await site.directory.say_again()
    assert (await site.seats())["acme"] == 5


async def test_what_was_put_back_may_exceed_what_the_file_gives(site: Site, store: Store) -> None:
    acme = Organization(store, trust="none")
    await acme.tick()
    held = [SeatGranted(n, TTL_MS, 0, True, None, b"", 1, "") for n in range(1, 4)]
    for number, seat in enumerate(held, 1):
        assert await acme.restore(proven(number, seat)) == [TTL_MS]
    assert await site.apply(2) == []
    assert (await site.seats())["acme"] == 2


async def test_who_is_there_is_swept_though_the_list_of_all_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.apply(2)
    await site.directory.say_again()
    monkeypatch.setattr(upkeep, "SWEEP_EVERY_SECONDS", 0.01)
    swept: set[str] = set()

    async def sweep(org: str) -> None:
        swept.add(org)

    async def organizations(_store: object) -> list[str]:
        raise StoreUnavailable("the server that lists them is away")

    monkeypatch.setattr(site.directory._upkeep, "sweep", sweep)
    monkeypatch.setattr(stored, "organizations", organizations)
    keeping = asyncio.create_task(site.directory._upkeep.keep_up())
    await wait_until_async(lambda: asyncio.sleep(0, swept == set(SLUGS)), what="the sweeps")
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_a_new_store_gets_all_of_the_file_or_is_not_served(site: Site) -> None:
    site.servers.away = {"globex"}
    with pytest.raises((StoreUnavailable, Problem)):
        await site.apply(2)
    site.servers.away = set()
    assert await site.apply(2) == []


async def test_an_organization_that_the_store_forgot_to_list_is_looked_after(site: Site) -> None:
    await site.apply(2)
    await site.directory.say_again()
    await site.store.redis.srem(key_names.ORGANIZATIONS, "globex")
    site.servers.away = {"globex"}
    assert await site.directory.say_again() == ["globex"]


async def test_what_was_forgotten_is_said_again_where_somebody_listens(site: Site) -> None:
    await site.apply(2)
    assert await site.directory.say_again() == []
    site.servers.away = {"acme", "globex"}
    assert await site.directory.say_again() == ["acme", "globex"]
    site.servers.away = set(SLUGS)
    with pytest.raises((StoreUnavailable, Problem)):
        await site.directory.say_again()
