"""The real scripts on real servers, step by step against their model, in any order of calls.

Time is passed in, so the runs are deterministic. ``LESSOR_MODEL_EXAMPLES`` asks for more of them.
"""

from __future__ import annotations

import asyncio
import os
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lessor_daemon.store import leases, sessions
from lessor_daemon.store.scripts import InLine, Proven, SeatGranted
from lessor_daemon.store.store import Store
from support.older_copy import OlderCopy
from support.organization import LEASE_MS, TTL_MS, Organization, lease_id
from support.stored import assert_consistent

from models.script_model import Group, ScriptModel, Wish, other

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lessor_daemon.store.scripts import Context, Ended, NotGranted
    from support.redis_server import RedisServer

LICENSES = ("kre", "two")
IDS = st.integers(1, 9)
WISHES = st.builds(
    lambda name, machine, ephemeral, owner, seats, team: Wish(
        name,
        machine,
        ephemeral,
        # Seats and labels are part of what a fingerprint stands for.
        content=f"{seats} {team}".encode(),
        owner=owner,
        least=seats[0],
        most=seats[1],
        team=team,
    ),
    st.sampled_from(("kre", "kre", "kre", "two")),
    st.sampled_from(("m1", "m2", "m3")),
    st.booleans(),
    st.sampled_from(("key:test", "key:test", "key:else")),
    st.sampled_from(((1, 1), (1, 1), (1, 1), (1, 2), (2, 2), (3, 3))),
    st.sampled_from(("", "", "web", "release")),
)
GROUPS = st.builds(
    Group,
    st.sampled_from(("web", "release")),
    st.sampled_from((0, 0, 1_000, 5_000)),
    st.sampled_from((0, 0, 1, 2)),
    st.sampled_from((None, None, 1, 2)),
)
POLICIES = st.lists(GROUPS, max_size=2, unique_by=lambda group: group.name).map(tuple)
PAUSES = st.sampled_from(
    (1, 400, 400, 1_900, 1_900, 3_001, 9_000, 61_000, LEASE_MS, LEASE_MS + 1, LEASE_MS + 1)
)


class ScriptsAgainstModel(RuleBasedStateMachine):
    """Two daemons serve one organization; the model knows what each call must answer."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._store = self._run(self._open())
        self._called: Organization | None = None
        """Who made the last call, unless something has happened to the store since."""
        self._wishes: dict[int, Wish] = {}
        self._certificates: dict[int, tuple[Wish, int, int, str]] = {}
        self._copy: tuple[OlderCopy, ScriptModel] | None = None

    async def _open(self) -> Store:
        store = Store.open(self.url)
        await store.redis.flushall()
        return store

    def teardown(self) -> None:
        try:
            self._run(self._end())
        finally:
            self._runner.close()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # whatever is awaited
        return self._runner.run(call)

    @initialize(
        trust=st.sampled_from(("durable", "durable", "new", "none")),
        faults=st.sampled_from((0, 0, 1, 1, 2)),
        policy=POLICIES,
    )
    def begin(self, trust: str, faults: int, policy: tuple[Group, ...]) -> None:
        """``faults`` may befall the store: most of them stop all grants for a minute."""
        self._faults = faults
        info = self._run(self._store.redis.info("replication"))
        self._daemons = [Organization(self._store, trust=trust) for _ in range(2)]
        self._model = ScriptModel(info["master_replid"], lease_ms=LEASE_MS, ttl_ms=TTL_MS)
        self._set_quotas()
        self.set_policy(0, "kre", policy)

    def _set_quotas(self) -> None:
        for license, seats, machines in (("kre", 3, 2), ("two", 2, None)):
            self.set_quota(0, license, seats, machines, force=True)

    def _context(self, daemon: int) -> tuple[Organization, Context]:
        """A daemon, and what it is about to send along; the model opens with the same."""
        organization = self._called = self._daemons[daemon]
        context = organization.clock.context(organization.at_ms)
        self._model.open(context)
        return organization, context

    def _live(self, id: int) -> int:
        """Mostly an id that holds a lease, so that calls find something."""
        live = sorted(self._model.leases)
        return live[id % len(live)] if live and id % 4 else id

    @property
    def _offered(self) -> list[int]:
        return [id for id, lease in sorted(self._model.leases.items()) if lease.offered]

    @rule(
        daemon=st.integers(0, 1), id=IDS, wish=WISHES, may_wait=st.booleans(), again=st.booleans()
    )
    def acquire(self, daemon: int, id: int, wish: Wish, *, may_wait: bool, again: bool) -> None:
        """``again`` repeats what the id asked for before."""
        wish = self._wishes.setdefault(id, wish) if again else wish
        self._acquire(daemon, id, wish, may_wait=may_wait)

    @rule(daemon=st.integers(0, 1), ids=st.lists(IDS, min_size=3, max_size=6), wish=WISHES)
    def a_crowd_asks(self, daemon: int, ids: list[int], wish: Wish) -> None:
        """Those that have a wish repeat it, the others share one."""
        for id in ids:
            self._acquire(daemon, id, self._wishes.setdefault(id, wish), may_wait=True)

    @rule(daemon=st.integers(0, 1), index=st.integers(0, 3))
    def an_offer_is_claimed(self, daemon: int, index: int) -> None:
        if offers := self._offered:
            id = offers[index % len(offers)]
            self._acquire(daemon, id, self._model.leases[id].wish, may_wait=True)

    @rule(daemon=st.integers(0, 1), license=st.sampled_from(LICENSES))
    def all_waiters_ask(self, daemon: int, license: str) -> None:
        for waiter in self._model.line_of(license):
            self._acquire(daemon, waiter.id, waiter.wish, may_wait=True)

    @rule(daemon=st.integers(0, 1), id=IDS, may_wait=st.booleans())
    def acquire_with_other_content(self, daemon: int, id: int, *, may_wait: bool) -> None:
        self._acquire(daemon, id, other(self._wishes.get(id, Wish())), may_wait=may_wait)

    def _acquire(self, daemon: int, id: int, wish: Wish, *, may_wait: bool) -> None:
        organization, _ = self._context(daemon)
        ended, expected = self._model.acquire(id, wish, may_wait=may_wait)
        outcome = self._run(
            organization.acquire(
                id,
                license=wish.license,
                machine=wish.machine,
                ephemeral=wish.ephemeral,
                content=wish.content,
                owner=wish.owner,
                seats=wish.least,
                most_seats=wish.most,
                labels={"team": wish.team},
                wait=may_wait,
            )
        )
        assert _told(outcome) == expected
        assert _ended(organization.ended) == ended
        if isinstance(outcome, SeatGranted):
            self._certificates[id] = (wish, outcome.token, outcome.seats, outcome.group)

    @rule(daemon=st.integers(0, 1), ids=st.lists(IDS, min_size=1, max_size=4, unique=True))
    def renew(self, daemon: int, ids: list[int]) -> None:
        ids = list(dict.fromkeys(self._live(id) for id in ids))
        organization, _ = self._context(daemon)
        expected = self._model.renew(ids)
        assert self._run(organization.renew(*ids)) == expected

    @rule(daemon=st.integers(0, 1), ids=st.lists(IDS, min_size=1, max_size=4, unique=True))
    def keep(self, daemon: int, ids: list[int]) -> None:
        organization, _ = self._context(daemon)
        expected = self._model.keep(ids)
        assert self._run(organization.keep(*ids)) == expected

    @precondition(lambda self: self._certificates)
    @rule(daemon=st.integers(0, 1), data=st.data())
    def restore(self, daemon: int, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self._certificates)))
        self._restore(daemon, id)

    def _restore(self, daemon: int, id: int) -> None:
        wish, token, seats, group = self._certificates[id]
        organization, _ = self._context(daemon)
        expected = self._model.restore(id, wish, token, seats, group)
        proven = Proven(
            lease_id=lease_id(id),
            license=wish.license,
            machine=wish.machine,
            ephemeral=wish.ephemeral,
            token=token,
            ttl_ms=TTL_MS,
            fingerprint=wish.content,
            owner=wish.owner,
            holder=b"\xc0",
            seats=seats,
            group=group,
            named=False,
        )
        assert self._run(organization.restore(proven)) == [expected]

    @rule(
        daemon=st.integers(0, 1),
        id=IDS,
        asker=st.sampled_from(("key:test", "key:test", "key:else")),
    )
    def release(self, daemon: int, id: int, asker: str) -> None:
        self._release(daemon, self._live(id), asker)

    def _release(self, daemon: int, id: int, asker: str) -> None:
        organization, _ = self._context(daemon)
        expected = self._model.release(id, asker)
        released = self._run(organization.release(id, asker=asker))
        assert (released.status, released.reason) == expected

    @rule(daemon=st.integers(0, 1), id=IDS)
    def end_by_an_admin(self, daemon: int, id: int) -> None:
        id = self._live(id)
        organization, context = self._context(daemon)
        expected = self._model.end(id)
        reading, results = self._run(
            sessions.end(
                self._store,
                organization.slug,
                context,
                [lease_id(id)],
                reason="ended",
                text="because",
                change_id=b"change",
                entry=b"",
            )
        )
        organization._learn(reading)
        assert results == [expected]

    @precondition(lambda self: self._model.recovering_ms)
    @rule()
    def recovery_passes(self) -> None:
        self.pass_time(self._model.recovering_ms, ticking=True)

    @rule(daemon=st.integers(0, 1))
    def reap(self, daemon: int) -> None:
        organization, _ = self._context(daemon)
        expected = self._model.reap()
        assert _ended(self._run(organization.reap())) == expected

    @rule(daemon=st.integers(0, 1))
    def tick(self, daemon: int) -> None:
        organization, _ = self._context(daemon)
        self._run(organization.tick())

    @rule(
        daemon=st.integers(0, 1),
        license=st.sampled_from(LICENSES),
        seats=st.integers(1, 4),
        machines=st.sampled_from((None, 1, 2, 3)),
        force=st.booleans(),
    )
    def set_quota(
        self, daemon: int, license: str, seats: int, machines: int | None, *, force: bool
    ) -> None:
        """Also below what is in use."""
        organization, _ = self._context(daemon)
        expected = self._model.set_quota(license, seats, machines, force=force)
        answer = self._run(organization.set_quota(seats, machines, license=license, force=force))
        assert answer.status == expected

    @rule(daemon=st.integers(0, 1), license=st.sampled_from(LICENSES), policy=POLICIES)
    def set_policy(self, daemon: int, license: str, policy: tuple[Group, ...]) -> None:
        organization, _ = self._context(daemon)
        self._model.set_policy(license, policy)
        groups = [
            {
                "name": group.name,
                "label": "team",
                "value": group.name,
                "head_start": group.head_start_ms,
                "reserve": group.reserve,
                "cap": -1 if group.cap is None else group.cap,
            }
            for group in policy
        ]
        self._run(organization.set_policy(*groups, license=license))

    @rule(
        daemon=st.integers(0, 1),
        license=st.sampled_from(LICENSES),
        drained=st.sampled_from((True, False, False, False)),
    )
    def drain(self, daemon: int, license: str, *, drained: bool) -> None:
        organization, _ = self._context(daemon)
        self._model.drain(license, drained=drained)
        self._run(organization.drain(drained=drained, license=license))

    @rule(pause_ms=PAUSES, ticking=st.sampled_from((True, True, True, False)))
    def pass_time(self, pause_ms: int, *, ticking: bool) -> None:
        """With one daemon ticking all the while, or in silence."""
        if not ticking:
            for daemon in self._daemons:
                daemon.at_ms += pause_ms
            return
        while pause_ms > 0:
            step = min(pause_ms, 2_000)
            for daemon in self._daemons:
                daemon.at_ms += step
            pause_ms -= step
            self.tick(0)

    @rule(daemon=st.integers(0, 1))
    def a_daemon_restarts(self, daemon: int) -> None:
        self._daemons[daemon].clock = self._daemons[daemon].new_clock()

    def _befall(self) -> None:
        self._faults -= 1
        self._called = None

    @precondition(lambda self: self._faults)
    @rule()
    def the_store_restarts(self) -> None:
        """It comes back with its data; the scripts see another replication id."""
        self._befall()
        self._run(self._store.redis.hset("{acme}:clock", "replid", "before"))
        self._model.restart()

    @precondition(lambda self: self._faults)
    @rule()
    def the_clock_goes_back(self) -> None:
        """As in a snapshot put back in place; what else it holds the other rules vary."""
        self._befall()
        back = max(0, self._model.now - 500)
        self._run(self._store.redis.hset("{acme}:clock", "now", str(back)))
        self._model.now = back

    @precondition(lambda self: self._faults and not self._copy)
    @rule()
    def a_replica_falls_behind(self) -> None:
        """From here on."""
        self._copy = self._run(OlderCopy.of(self._store)), deepcopy(self._model)

    @precondition(lambda self: self._faults and self._copy)
    @rule(holders_return=st.booleans())
    def it_is_promoted(self, *, holders_return: bool) -> None:
        """All that was done since is forgotten, but not by those who hold certificates."""
        assert self._copy
        holders = sorted(
            id
            for id, lease in self._model.leases.items()
            if id in self._certificates and not lease.offered
        )
        self._befall()
        (copy, self._model), self._copy = self._copy, None
        self._run(copy.put_back(self._store))
        self._model.restart()
        if holders_return:
            for id in holders:
                self._restore(0, id)

    @precondition(lambda self: self._faults and (self._model.line or self._offered))
    @rule(releases=st.integers(0, 2), holders_return=st.booleans())
    def it_is_promoted_without_the_last_claims(
        self, releases: int, *, holders_return: bool
    ) -> None:
        """Whose place or offer it knows has been served since."""
        self._copy = self._run(OlderCopy.of(self._store)), deepcopy(self._model)
        self.pass_time(400, ticking=True)
        held = [id for id, lease in sorted(self._model.leases.items()) if not lease.offered]
        for id in held[:releases]:
            self._release(0, id, self._model.leases[id].wish.owner)
        for id in self._offered:
            self._acquire(0, id, self._model.leases[id].wish, may_wait=True)
        self.it_is_promoted(holders_return=holders_return)

    @precondition(lambda self: self._faults)
    @rule(holders_return=st.booleans())
    def the_store_is_emptied(self, *, holders_return: bool) -> None:
        """The daemon that notices gives it its licenses again, as it does at a start."""
        holders = sorted(set(self._model.leases) & set(self._certificates))
        self._befall()
        self._run(self._store.redis.flushall())
        self._model.forget()
        self._set_quotas()
        if holders_return:
            for id in holders:
                self._restore(1, id)

    @invariant()
    def store_and_model_agree(self) -> None:
        self._run(self._agree())

    async def _agree(self) -> None:
        model = self._model
        reading = self._called.reading if self._called else None
        if reading:
            told = (reading.now_ms, reading.epoch, reading.recovering_ms, reading.next_deadline_ms)
            assert told == (model.now, model.epoch, model.recovering_ms, model.next_deadline)
        pipeline = self._store.redis.pipeline(transaction=False)
        pipeline.zrange("{acme}:leases", 0, -1, withscores=True).zrange("{acme}:ended", 0, -1)
        for name in LICENSES:
            prefix = f"{{acme}}:{name}"
            pipeline.scard(f"{prefix}:use").zrange(f"{prefix}:queue", 0, -1)
            pipeline.zrange(f"{prefix}:machines", 0, -1, withscores=True)
        deadlines, ended, *of_licenses = await pipeline.execute()
        assert {_number(one): until for one, until in deadlines} == {
            id: lease.until for id, lease in model.leases.items()
        }
        assert {_number(one) for one in ended} == set(model.ended)
        for i, name in enumerate(LICENSES):
            use, queue, machines = of_licenses[3 * i : 3 * i + 3]
            assert use == model.use(name)
            assert [_number(one) for one in queue] == [one.id for one in model.line_of(name)]
            registered = {one.decode(): score > 0 for one, score in machines}
            assert registered == model.licenses[name].machines

    async def _end(self) -> None:
        """What the comparison after each step does not see: records, and keys beside each other."""
        try:
            records, _ = await leases.scan(self._store, "acme", 0, about=1_000)
            found = {
                _number(one.lease_id): (one.license, one.machine, one.token, one.seats, one.offered)
                for one in records
            }
            assert found == {
                id: (one.wish.license, one.wish.machine, one.token, one.seats, one.offered)
                for id, one in self._model.leases.items()
            }
            await assert_consistent(self._store)
        finally:
            await self._store.close()


def _number(id: bytes) -> int:
    return int.from_bytes(id, "big")


def _told(outcome: SeatGranted | InLine | NotGranted) -> tuple[object, ...]:
    if isinstance(outcome, SeatGranted):
        return ("granted", outcome.token, outcome.is_new, outcome.waited_ms, outcome.seats)
    if isinstance(outcome, InLine):
        return ("queued", outcome.ticket, outcome.position, outcome.blocked_by)
    return (outcome.status, outcome.why) if outcome.why else (outcome.status,)


def _ended(ended: list[Ended]) -> list[tuple[int, str, str, int, str]]:
    return [
        (_number(one.lease_id), one.license, one.machine, one.token, one.reason) for one in ended
    ]


def test_the_scripts_answer_as_their_model(redis_server: RedisServer) -> None:
    machine = type("OnThisServer", (ScriptsAgainstModel,), {"url": redis_server.url})
    examples = int(os.environ.get("LESSOR_MODEL_EXAMPLES", "80"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            derandomize="LESSOR_MODEL_EXAMPLES" not in os.environ,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
