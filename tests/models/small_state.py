"""The state of the small model, and how states that differ in nothing that matters become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from models.small_daemon import Anchor
from models.small_store import Data, End, Lease, Token

if TYPE_CHECKING:
    from models.small_daemon import Daemon, Reading
    from models.small_store import Laws

SEEKING, HELD, OVER = "seeking", "held", "over"
ACQUIRE, RENEW, RELEASE = "acquire", "renew", "release"
NO_TOKEN = Token(0, 0)

TWO_HOLDERS = "two clients hold the one seat"
TOKEN_WENT_BACK = "a token is not greater than an earlier one"
RESURRECTION = "an id that had ended was granted again"


class Reply(NamedTuple):
    """An answer on its way from the store through a daemon."""

    daemon: int
    outcome: str
    reading: Reading
    token: Token


class Client(NamedTuple):
    """One lease id. ``left`` is the time to its own deadline, ``age`` that since the attempt began.

    ``sent`` are the requests that may still be on their way; ``proof`` is the certificate: the
    epoch it names, and the token.
    """

    phase: str = SEEKING
    left: int = 0
    attempt: str = ""
    age: int = 0
    reply: Reply | None = None
    sent: frozenset[str] = frozenset()
    proof: tuple[int, Token] | None = None


class Server(NamedTuple):
    """A process that serves data. ``here`` is its replication id, the data holds the one it had."""

    here: int
    data: Data


class Faults(NamedTuple):
    """How often each may still happen. ``late`` are requests that are executed late or again."""

    copies: int = 0
    failovers: int = 0
    restores: int = 0
    restarts: int = 0
    emptied: int = 0
    forget: int = 0
    remember: int = 0
    late: int = 0
    slow: int = 0
    wall_jumps: int = 0


class World(NamedTuple):
    """Everything. ``stale`` is a deposed master that may serve ``stale_left`` longer."""

    clients: tuple[Client, ...]
    daemons: tuple[Daemon, ...]
    master: Server
    stale: Server | None
    stale_left: int
    copy: Data | None
    copy_age: int
    faults: Faults
    replids: int
    greatest_epoch: int
    latest_token: Token
    wall: int


def finished(client: Client) -> Client:
    """From now on nothing is believed. The release may arrive, or not."""
    return Client(OVER, sent=client.sent | {RELEASE}, proof=client.proof)


def with_client(world: World, number: int, client: Client) -> World:
    clients = world.clients
    return world._replace(clients=(*clients[:number], client, *clients[number + 1 :]))


def with_daemon(world: World, number: int, daemon: Daemon) -> World:
    daemons = world.daemons
    return world._replace(daemons=(*daemons[:number], daemon, *daemons[number + 1 :]))


def canonical(world: World, laws: Laws) -> World:
    """The same world counted from the master's clock, without what can no longer matter.

    What lies so far back that no claim and no comparison can tell is brought near.
    """
    base = world.master.data.now
    faults = world.faults
    clients, master = world.clients, world.master
    copy = world.copy if faults.failovers or faults.restores else None
    stale = world.stale
    if not faults.late:
        clients = tuple(_unsent(client) for client in clients)
        over = [client.phase == OVER for client in clients]
        if any(over):
            # Nothing can ask for these ids again, so nobody needs to know that they ended.
            master = Server(master.here, _forget_ends(master.data, over))
            stale = stale and Server(stale.here, _forget_ends(stale.data, over))
            copy = copy and _forget_ends(copy, over)
    if base:
        lowest = base
        if stale is not None:
            lowest = min(lowest, stale.data.now)
        if copy is not None:
            lowest = min(lowest, copy.now)
        lowest -= laws.constants.cap + base
        master = Server(master.here, _shifted(master.data, base))
        world = world._replace(
            daemons=tuple(_shifted_daemon(daemon, base, lowest) for daemon in world.daemons),
            wall=world.wall - base if not laws.rules.lease_clock else 0,
        )
        stale = stale and Server(stale.here, _shifted(stale.data, base))
        copy = copy and _shifted(copy, base)
        clients = tuple(_shifted_client(client, base, lowest) for client in clients)
    return world._replace(
        clients=clients,
        master=master,
        stale=stale,
        copy=copy,
        copy_age=world.copy_age if copy else 0,
    )


def _unsent(client: Client) -> Client:
    """Nothing comes late any more: what was sent is lost, but for a release."""
    if client.phase == OVER:
        return Client(OVER, sent=client.sent & {RELEASE})
    return client._replace(sent=frozenset({client.attempt}) if client.attempt else frozenset())


def _forget_ends(data: Data, over: list[bool]) -> Data:
    if not any(data.ends):
        return data
    ends = zip(data.ends, over, strict=True)
    return data._replace(ends=tuple(None if is_over else end for end, is_over in ends))


def _shifted(data: Data, base: int) -> Data:
    now = data.now - base
    return Data(
        now,
        data.epoch,
        data.replid,
        max(data.grace_until - base, now),
        tuple(
            lease and Lease(max(lease.until - base, now - 1), lease.token) for lease in data.leases
        ),
        tuple(end and End(max(end.until - base, now - 1), end.is_known) for end in data.ends),
    )


def _shifted_daemon(daemon: Daemon, base: int, lowest: int) -> Daemon:
    fastest, newest, remembered = daemon.fastest, daemon.newest, daemon.remembered
    return daemon._replace(
        remembered=None if remembered is None else max(remembered - base, lowest),
        fastest=fastest and Anchor(max(fastest.seen - base, lowest), fastest.age),
        newest=newest and Anchor(max(newest.seen - base, lowest), newest.age),
    )


def _shifted_client(client: Client, base: int, lowest: int) -> Client:
    reply = client.reply
    if reply is None or not base:
        return client
    reading = reply.reading._replace(now=max(reply.reading.now - base, lowest))
    return client._replace(reply=reply._replace(reading=reading))
