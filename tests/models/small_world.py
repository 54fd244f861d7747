"""The small model: clients, daemons and a store with its copies, and what can happen to them.

One seat. A message that was once sent may be executed late or again, or never: a request leaves a
mark at its client, and whatever is marked may reach any daemon and any server later. Only the
answer to the current attempt is read. Two steps of the real thing are one here: a daemon's two
calls for a forgotten lease, and a daemon's sending and the server's running of a script.

All clock values are relative to the master's clock, so that states differ only where they matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from models import small_daemon, small_store
from models.exhaustive import Step
from models.small_daemon import Anchor, Daemon
from models.small_state import (
    ACQUIRE,
    HELD,
    NO_TOKEN,
    RELEASE,
    RENEW,
    RESURRECTION,
    SEEKING,
    TOKEN_WENT_BACK,
    TWO_HOLDERS,
    Client,
    Reply,
    Server,
    World,
    canonical,
    finished,
    with_client,
    with_daemon,
)
from models.small_store import UNTRUSTED, Constants, Laws, Rules, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.small_daemon import Reading
    from models.small_state import (
        Faults,
    )
    from models.small_store import Data


IDLE, GRANTED, UNHEARD = "idle", "granted", "unheard"


class Scenario(NamedTuple):
    """What there is, and what can go wrong."""

    faults: Faults
    clients: int = 2
    daemons: int = 2
    trust: str = UNTRUSTED
    constants: Constants = Constants()
    rules: Rules = Rules()
    is_split: bool = False
    """Client 1 and daemon 1 find the new master, client 2 and daemon 2 keep to the old one."""
    start: str = IDLE
    """``GRANTED``: client 1 has just been granted the seat; ``UNHEARD``: without hearing of it."""
    lets_go: bool = True
    """Whether clients give up and release; off where that only makes the search longer."""
    orders_tokens: bool = True
    """Off where epochs have a bare number, without the hour that makes it greater than any."""

    @property
    def laws(self) -> Laws:
        """Constants and rules."""
        return Laws(self.constants, self.rules)

    def without(self, *rules: str) -> Scenario:
        """The same with these rules left out."""
        return self._replace(rules=self.rules._replace(**dict.fromkeys(rules, False)))

    def initial(self) -> World:
        """Nobody has asked for anything, and an untrusted store's daemons know nothing.

        Where the store is trusted, all have served it: a daemon that knows nothing would believe
        an emptied store, which is what its operator told it to.
        """
        daemon = Daemon(floor=1)
        if self.trust != UNTRUSTED:
            start = Anchor(0, 0)
            daemon = Daemon(1, epoch=1, replid=1, highest=1, fastest=start, newest=start)
        # In use for long: a clock of its own replication id, and no grace.
        data = small_store.empty(self.clients, 0)._replace(epoch=1, replid=1)
        clients = (Client(),) * self.clients
        master = data
        copy = data
        if self.start != IDLE:
            master, _ = small_store.acquire(data, 0, self.laws)
            first = Client(sent=frozenset({ACQUIRE}))
            if self.start == GRANTED:
                first = Client(HELD, left=self.constants.ttl, proof=(1, Token(1, 1)))
            else:
                copy = master
            clients = (first, *clients[1:])
        return World(
            clients=clients,
            daemons=(daemon,) * self.daemons,
            master=Server(1, master),
            stale=None,
            stale_left=0,
            copy=None if self.faults.copies else copy,
            copy_age=0,
            faults=self.faults,
            replids=1,
            greatest_epoch=1,
            latest_token=NO_TOKEN if self.start == IDLE else Token(1, 1),
            wall=0,
        )

    def successors(self, world: World) -> Iterator[Step[World]]:
        """Everything that can happen next."""
        laws = self.laws
        yield _step("time passes", _pass_time(world, laws), laws)
        for number in range(self.clients):
            yield from _client_steps(world, number, laws, lets_go=self.lets_go)
        for daemon in range(self.daemons):
            for name, server in self._servers(world, daemon):
                call = _Call(self, world, daemon, name, server)
                yield call.tick()
                for number in [daemon] if self.is_split else range(self.clients):
                    yield from call.requests(number)
            yield from _daemon_faults(world, daemon, laws)
        yield from _store_faults(world, laws)

    def _servers(self, world: World, daemon: int) -> list[tuple[str, Server]]:
        """What a daemon may be connected to. Once it has found the new master, it stays there."""
        master, stale = ("master", world.master), world.stale
        if stale is None or world.daemons[daemon].replid == world.master.here:
            return [master]
        if self.is_split:
            return [("stale master", stale) if daemon else master]
        return [master, ("stale master", stale)]


def _step(name: str, world: World, laws: Laws) -> Step[World]:
    holders = sum(client.left > 0 for client in world.clients)
    return Step(name, canonical(world, laws), TWO_HOLDERS if holders > 1 else "")


def _pass_time(world: World, laws: Laws) -> World:
    stale_left = world.stale_left
    if world.stale is not None and laws.rules.stale_master_bounded:
        stale_left -= 1
    # A copy older than this holds only leases that lapse with it.
    keeps_copy = world.copy is not None and world.copy_age <= laws.constants.ttl + laws.margin
    return world._replace(
        clients=tuple(_older_client(client, laws) for client in world.clients),
        daemons=tuple(_older_daemon(daemon, laws) for daemon in world.daemons),
        stale=world.stale if stale_left >= 0 else None,
        stale_left=max(stale_left, 0),
        copy=world.copy if keeps_copy else None,
        copy_age=world.copy_age + 1 if keeps_copy else 0,
        wall=world.wall if laws.rules.lease_clock else world.wall + 1,
    )


def _older_client(client: Client, laws: Laws) -> Client:
    if client.attempt:
        client = client._replace(age=client.age + 1)
        if client.age >= laws.constants.ttl and laws.rules.deadline_from_request:
            # Whatever is answered now, its deadline has passed.
            client = client._replace(attempt="", age=0, reply=None)
    if client.phase != HELD:
        return client
    if client.left > 1:
        return client._replace(left=client.left - 1)
    return finished(client) if laws.rules.late_reply_revives_nothing else client._replace(left=0)


def _older_daemon(daemon: Daemon, laws: Laws) -> Daemon:
    if daemon.newest is None or daemon.fastest is None:
        return daemon
    return daemon._replace(
        fastest=small_daemon.older(daemon.fastest, laws),
        newest=small_daemon.older(daemon.newest, laws),
    )


def _client_steps(world: World, number: int, laws: Laws, *, lets_go: bool) -> Iterator[Step[World]]:
    client = world.clients[number]
    name = f"client {number + 1}"
    wish = {SEEKING: ACQUIRE, HELD: RENEW}.get(client.phase)
    # Until somebody has asked, all clients are alike: let the first be the first.
    is_its_turn = not number or world.clients[number - 1] != Client()
    if wish and (not client.attempt or client.age) and is_its_turn:
        trying = client._replace(attempt=wish, age=0, reply=None, sent=client.sent | {wish})
        yield _step(f"{name} sends {wish}", with_client(world, number, trying), laws)
    if lets_go and (client.phase == HELD or (client.phase == SEEKING and client.sent)):
        yield _step(f"{name} lets go", with_client(world, number, finished(client)), laws)
    if client.reply is not None:
        after = _hear(world, number, client.reply, laws)
        yield _step(f"{name} hears: {client.reply.outcome}", after, laws)


def _hear(world: World, number: int, reply: Reply, laws: Laws) -> World:
    client = world.clients[number]
    daemon = small_daemon.learn(world.daemons[reply.daemon], reply.reading, laws)
    waiting = client._replace(attempt="", age=0, reply=None)
    if daemon is None:  # an older epoch: the client is told to try again
        return with_client(world, number, waiting)
    world = with_daemon(world, reply.daemon, daemon)
    ttl = laws.constants.ttl
    left = ttl - client.age if laws.rules.deadline_from_request else ttl
    if reply.outcome in ("granted", "granted anew"):
        proof = (daemon.highest, reply.token)
        held = waiting._replace(phase=HELD, left=left, proof=proof)
        return with_client(world, number, held if left > 0 else finished(held))
    if reply.outcome == "renewed":
        held = waiting._replace(phase=HELD, left=left)
        return with_client(world, number, held if left > 0 else finished(held))
    if reply.outcome in ("lost", "unknown", "ended"):
        return with_client(world, number, finished(waiting))
    return with_client(world, number, waiting)


class _Call:
    """Script calls of one daemon on one server."""

    def __init__(
        self, scenario: Scenario, world: World, daemon: int, name: str, server: Server
    ) -> None:
        self._world = world
        self._daemon = daemon
        self._name = f"daemon {daemon + 1} on the {name}"
        self._server = server
        self._is_master = server is world.master
        self._trust = scenario.trust
        self._laws = scenario.laws
        self._orders_tokens = scenario.orders_tokens
        self._opened = self._open(world.daemons[daemon], server.data)

    def _open(self, daemon: Daemon, data: Data) -> Data:
        context = small_daemon.context(
            daemon, self._trust, self._world.greatest_epoch + 1, self._laws
        )
        data = small_store.open_clock(data, self._server.here, context, self._laws)
        if not self._laws.rules.lease_clock:
            data = data._replace(now=max(data.now, self._world.wall))
        return data

    def tick(self) -> Step[World]:
        """The clock is kept running."""
        world = self._stored(self._world, self._opened)
        world = self._learned(world, small_daemon.read(self._opened))
        return _step(f"{self._name} ticks", world, self._laws)

    def requests(self, number: int) -> Iterator[Step[World]]:
        """Requests of one client: its current one, and those that come late or again."""
        client = self._world.clients[number]
        if client.attempt and client.reply is None:
            yield self._run(number, client.attempt, is_current=True)
            if self._world.faults.slow:
                yield self._run(number, client.attempt, is_current=True, is_slow=True)
        for request in sorted(client.sent):
            if request == RELEASE or self._world.faults.late:
                yield self._run(number, request)

    def _run(
        self, number: int, request: str, *, is_current: bool = False, is_slow: bool = False
    ) -> Step[World]:
        laws, faults = self._laws, self._world.faults
        before, world = self._opened, self._world
        if request == ACQUIRE:
            data, outcome = small_store.acquire(before, number, laws)
        elif request == RELEASE:
            data, outcome = small_store.release(before, number, laws)
        else:
            world, data, outcome = self._renew(number)
        reading, lease = small_daemon.read(data), data.leases[number]
        world = self._stored(world, data)
        breach = ""
        if outcome == "granted anew" and lease:
            end, latest = before.ends[number], world.latest_token
            if end and end.until >= before.now:
                breach = RESURRECTION
            elif (
                self._orders_tokens and lease.token.epoch <= latest.epoch and lease.token != latest
            ):
                breach = TOKEN_WENT_BACK
            world = world._replace(latest_token=lease.token)
        name = f"{self._name}: {request} of client {number + 1}"
        if is_current:
            reply = Reply(self._daemon, outcome, reading, lease.token if lease else NO_TOKEN)
            if is_slow:
                name += ", answered slowly"
                client = world.clients[number]._replace(reply=reply)
                world = world._replace(faults=faults._replace(slow=faults.slow - 1))
                world = with_client(world, number, client)
            else:
                world = _hear(world, number, reply, laws)
        else:
            world = self._learned(world, reading)
            if request == RELEASE:
                client = world.clients[number]
                left_over = client._replace(sent=client.sent - {RELEASE})
                world = with_client(world, number, left_over)
            else:
                name += ", late or again"
                world = world._replace(faults=faults._replace(late=faults.late - 1))
        step = _step(f"{name} → {outcome}", world, laws)
        return Step(step.name, step.state, breach) if breach else step

    def _renew(self, number: int) -> tuple[World, Data, str]:
        """The renew script, and the restore script for what it does not know."""
        laws, world = self._laws, self._world
        proof = world.clients[number].proof
        if proof is None:
            raise AssertionError("only a holder renews, and it has a certificate")
        named_epoch, token = proof
        data, outcome = small_store.renew(self._opened, number, token, laws)
        if outcome != "unknown":
            return world, data, outcome
        reading = small_daemon.read(data)
        daemon = small_daemon.learn(world.daemons[self._daemon], reading, laws)
        if daemon is None:
            return world, data, "unavailable"
        daemon = small_daemon.heard_of(daemon, named_epoch)
        world = with_daemon(world, self._daemon, daemon)
        if not reading.is_recovering and daemon.highest == reading.epoch:
            return world, data, "unknown"
        data, outcome = small_store.restore(self._open(daemon, data), number, token, laws)
        return world, data, outcome

    def _learned(self, world: World, reading: Reading) -> World:
        daemon = small_daemon.learn(world.daemons[self._daemon], reading, self._laws)
        return world if daemon is None else with_daemon(world, self._daemon, daemon)

    def _stored(self, world: World, data: Data) -> World:
        server = Server(self._server.here, data)
        world = world._replace(greatest_epoch=max(world.greatest_epoch, data.epoch))
        return world._replace(master=server) if self._is_master else world._replace(stale=server)


def _daemon_faults(world: World, number: int, laws: Laws) -> Iterator[Step[World]]:
    """A daemon dies, with the answers it was about to pass on, and starts again."""
    faults = world.faults
    floor = world.greatest_epoch + 1
    for remembers, left in ((False, faults.forget), (True, faults.remember)):
        if not left or world.daemons[number].newest is None:
            continue
        daemon = small_daemon.restarted(world.daemons[number], floor, remembers=remembers)
        left_over = (
            faults._replace(remember=left - 1) if remembers else faults._replace(forget=left - 1)
        )
        clients = tuple(
            client._replace(reply=None, attempt="", age=0)
            if client.reply and client.reply.daemon == number
            else client
            for client in world.clients
        )
        after = with_daemon(world._replace(clients=clients, faults=left_over), number, daemon)
        how = "and remembers" if remembers else "and has forgotten all"
        yield _step(f"daemon {number + 1} restarts {how}", after, laws)


def _store_faults(world: World, laws: Laws) -> Iterator[Step[World]]:
    faults, master = world.faults, world.master
    fresh = world._replace(replids=world.replids + 1)
    if faults.copies:
        after = world._replace(
            copy=master.data, copy_age=0, faults=faults._replace(copies=faults.copies - 1)
        )
        yield _step("the store is copied", after, laws)
    if faults.failovers and world.copy is not None:
        after = fresh._replace(
            master=Server(fresh.replids, world.copy),
            stale=master,
            stale_left=laws.constants.failover,
            faults=faults._replace(failovers=faults.failovers - 1),
        )
        if not laws.constants.failover:
            after = after._replace(stale=None)
        yield _step("the copy becomes master", after, laws)
    if faults.restores and world.copy is not None and _all_saw_later(world, world.copy):
        left_over = faults._replace(restores=faults.restores - 1)
        after = fresh._replace(master=Server(fresh.replids, world.copy), faults=left_over)
        yield _step("the copy is restored", after, laws)
        after = world._replace(master=Server(master.here, world.copy), faults=left_over)
        yield _step("the copy is restored in place", after, laws)
    if faults.restarts:
        after = fresh._replace(
            master=Server(fresh.replids, master.data),
            faults=faults._replace(restarts=faults.restarts - 1),
        )
        yield _step("the store restarts, nothing lost", after, laws)
    if faults.emptied:
        data = small_store.empty(len(world.clients), master.data.now)
        after = fresh._replace(
            master=Server(fresh.replids, data), faults=faults._replace(emptied=faults.emptied - 1)
        )
        yield _step("the store is emptied", after, laws)
    if faults.wall_jumps:
        after = world._replace(
            wall=world.wall + laws.constants.ttl + laws.margin + 1,
            faults=faults._replace(wall_jumps=faults.wall_jumps - 1),
        )
        yield _step("the wall clock jumps", after, laws)


def _all_saw_later(world: World, copy: Data) -> bool:
    """Nobody puts back a copy so fresh that the daemons had seen nothing later than it."""
    seen = [daemon.newest.seen if daemon.newest else daemon.remembered for daemon in world.daemons]
    return all(one is not None and one > copy.now for one in seen)
