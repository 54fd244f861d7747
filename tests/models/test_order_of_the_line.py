"""Order, no starvation, and all or none: the real scripts beside their model, on crowded lines.

Where ``test_scripts_against_model.py`` calls anything in any order, here everybody asks, waits,
claims and gives back, which is what fills a line.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lessor_daemon.store.scripts import InLine, SeatGranted
from lessor_daemon.store.store import Store
from support.organization import LEASE_MS, TTL_MS, Organization
from support.stored import assert_consistent

from models.script_model import Group, ScriptModel, Wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.redis_server import RedisServer

SEATS = 3
HEAD_STARTS = (0, 1_500, 4_000)
TEAMS = ("", "web", "release")


@dataclass(frozen=True)
class Comer:
    """Comes so long after the one before; meanwhile so many holders give their seats back."""

    after_ms: int
    team: str
    least: int
    most: int
    leaving: int


COMERS = st.lists(
    st.builds(
        lambda after_ms, team, seats, leaving: Comer(after_ms, team, seats[0], seats[1], leaving),
        st.sampled_from((1, 1, 700, 1_900)),
        st.sampled_from(TEAMS),
        st.sampled_from(((1, 1), (1, 1), (1, 3), (2, 2), (3, 3))),
        st.sampled_from((0, 0, 0, 1, 1, 2)),
    ),
    min_size=4,
    max_size=14,
)


def groups(reserves: Sequence[int], caps: Sequence[int | None]) -> st.SearchStrategy[list[Group]]:
    """None, one or both of the groups."""
    of_one = [
        st.builds(
            Group,
            st.just(name),
            st.sampled_from(HEAD_STARTS),
            st.sampled_from(reserves),
            st.sampled_from(caps),
        )
        for name in TEAMS[1:]
    ]
    return st.lists(st.one_of(*of_one), max_size=2, unique_by=lambda group: group.name)


class Line:
    """Drives the scripts and the model alike, and notes who came when and was served when."""

    def __init__(self, store: Store, replid: str) -> None:
        self._organization = Organization(store)
        self._model = ScriptModel(replid, lease_ms=LEASE_MS, ttl_ms=TTL_MS)
        self._wishes: dict[int, Wish] = {}
        self.came_ms: dict[int, int] = {}
        self.served: list[int] = []
        self.seats: dict[int, int] = {}
        self._holding: list[int] = []

    async def open(self, policy: Sequence[Group]) -> None:
        self._open_model()
        self._model.set_quota("kre", SEATS, None, force=True)
        await self._organization.set_quota(SEATS)
        self._open_model()
        self._model.set_policy("kre", tuple(policy))
        await self._organization.set_policy(*(_packed(group) for group in policy))

    async def come(self, id: int, comer: Comer) -> None:
        await self.pass_time(comer.after_ms)
        for _ in range(comer.leaving):
            await self.give_back()
        self.came_ms[id] = self._organization.at_ms
        self._wishes[id] = Wish(least=comer.least, most=comer.most, team=comer.team)
        await self._ask(id)
        await self.claim()

    async def pass_time(self, ms: int) -> None:
        """Who holds renews, and who waits asks."""
        self._organization.at_ms += ms
        if self._holding:
            self._open_model()
            assert await self._organization.renew(*self._holding) == self._model.renew(
                self._holding
            )
        await self.claim()

    async def give_back(self) -> None:
        """The one who has held longest goes."""
        if self._holding:
            id = self._holding.pop(0)
            self._open_model()
            self._model.release(id, "key:test")
            await self._organization.release(id)
            await self.claim()

    async def claim(self) -> None:
        """All who wait ask, in order of coming: nobody gains by asking first."""
        for id in self._wishes:
            if id not in self.seats:
                await self._ask(id)

    async def _ask(self, id: int) -> None:
        wish = self._wishes[id]
        self._open_model()
        _, expected = self._model.acquire(id, wish, may_wait=True)
        outcome = await self._organization.acquire(
            id,
            seats=wish.least,
            most_seats=wish.most,
            labels={"team": wish.team},
            wait=True,
        )
        if isinstance(outcome, SeatGranted):
            assert expected[0] == "granted"
            assert (expected[1], expected[4]) == (outcome.token, outcome.seats)
            self._holding.append(id)
            self.served.append(id)
            self.seats[id] = outcome.seats
        elif isinstance(outcome, InLine):
            told = ("queued", outcome.ticket, outcome.position, outcome.blocked_by)
            assert expected == told
        else:
            assert expected == (outcome.status, outcome.why) == ("too_many", outcome.why)
            self.seats[id] = 0

    def used(self) -> int:
        return sum(self.seats[id] for id in self._holding)

    def _open_model(self) -> None:
        context = self._organization.clock.context(self._organization.at_ms)
        self._model.open(context)

    @property
    def is_empty(self) -> bool:
        return len(self.seats) == len(self._wishes)


def _packed(group: Group) -> dict[str, object]:
    return {
        "name": group.name,
        "label": "team",
        "value": group.name,
        "head_start": group.head_start_ms,
        "reserve": group.reserve,
        "cap": -1 if group.cap is None else group.cap,
    }


async def play(url: str, policy: Sequence[Group], comers: Sequence[Comer]) -> Line:
    """Everybody comes, and then all go one after the other until nobody waits."""
    store = Store.open(url)
    try:
        await store.redis.flushall()
        line = Line(store, (await store.redis.info("replication"))["master_replid"])
        await line.open(policy)
        for id, comer in enumerate(comers, 1):
            await line.come(id, comer)
            assert line.used() <= SEATS
        for _ in comers:
            await line.pass_time(1_000)
            await line.give_back()
            assert line.used() <= SEATS
        await assert_consistent(store)
    finally:
        await store.close()
    return line


OFTEN = settings(
    max_examples=40,
    phases=(Phase.generate,),  # a smaller example costs minutes and says little more
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_scripts_and_model_serve_a_crowd_alike_and_everybody_in_the_end(
    redis_server: RedisServer,
) -> None:
    @OFTEN
    @given(groups((0, 1, 2), (None, 1, 2)), COMERS)
    def holds(policy: list[Group], comers: list[Comer]) -> None:
        line = asyncio.run(play(redis_server.url, policy, comers))
        assert line.is_empty, "all holders have gone, and somebody still waits"
        for id, comer in enumerate(comers, 1):
            assert line.seats[id] == 0 or comer.least <= line.seats[id] <= comer.most

    holds()


def test_nobody_is_overtaken_by_who_came_later_than_the_largest_head_start(
    redis_server: RedisServer,
) -> None:
    @OFTEN
    @given(groups((0,), (None,)), COMERS)
    def holds(policy: list[Group], comers: list[Comer]) -> None:
        line = asyncio.run(play(redis_server.url, policy, comers))
        bound_ms = max((group.head_start_ms for group in policy), default=0)
        for i, first in enumerate(line.served):
            for later in line.served[i + 1 :]:
                assert line.came_ms[first] - line.came_ms[later] <= bound_ms

    holds()
