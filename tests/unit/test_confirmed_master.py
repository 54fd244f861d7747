"""Which server a daemon believes: what a majority named, and for how long that is good."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.settings import Address
from lessor_daemon.store.errors import StoreUnavailable
from lessor_daemon.store.topology.clients import Clients
from lessor_daemon.store.topology.cluster_view import ClusterView, NodeAnswer, parse_nodes
from lessor_daemon.store.topology.confirmation import Confirmations, WatchedTopology
from lessor_daemon.store.topology.routed import key_of
from lessor_daemon.store.topology.sentinel import SentinelAnswer, SentinelView
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from redis.asyncio import Redis

OLD, NEW = Address("10.0.0.1", 6379), Address("10.0.0.2", 6379)
FAILOVER_MS = 10_000
KEY = b"{acme}:clock"  # slot 11304


@dataclass(frozen=True)
class Named:
    """A view in which everybody agrees, or nobody."""

    address: Address | None

    def owner(self, key: bytes) -> Address | None:
        del key
        return self.address

    def why_none(self, key: bytes) -> str:
        return f"nobody has {key.decode()}"


class Servers(WatchedTopology[Named]):
    """Whose voters answer nonsense at first."""

    def __init__(self) -> None:
        nobody = Clients(lambda _: "", connections=1, answer_seconds=1)
        super().__init__(nobody, 1, lambda: 0)
        self.is_confirmed = asyncio.Event()
        self.asked = 0

    def has_replicas(self, key: str) -> bool:
        return bool(key)

    async def servers(self) -> dict[str, Redis]:
        return {}

    async def _ask(self) -> Named:
        self.asked += 1
        if self.asked == 1:
            raise ValueError("not enough values to unpack")
        return Named(NEW)

    def _replaced_by(self, view: Named) -> set[Address]:
        assert view.address == NEW
        self.is_confirmed.set()
        return set()


@pytest.fixture
def servers() -> Servers:
    """Made outside the event loop: the client reads the package's metadata from disk."""
    return Servers()


async def test_an_answer_that_is_none_does_not_end_the_asking(servers: Servers) -> None:
    with capture_logs() as logged:
        watching = asyncio.create_task(servers._watch())
        async with asyncio.timeout(10):
            await servers.is_confirmed.wait()
    watching.cancel()
    await asyncio.wait([watching])
    assert [one["reason"] for one in logged] == ["store_topology_unknown"]


class TestConfirmations:
    def test_before_the_first_round_nobody_is_the_master(self) -> None:
        with pytest.raises(StoreUnavailable, match="nobody has said"):
            Confirmations(FAILOVER_MS).owner(KEY, 0)

    def test_a_confirmation_is_good_for_half_of_x_from_before_it_was_asked(self) -> None:
        confirmations = Confirmations(FAILOVER_MS)
        confirmations.add(1_000, Named(OLD))
        assert confirmations.owner(KEY, 6_000) == OLD
        with pytest.raises(StoreUnavailable):
            confirmations.owner(KEY, 6_001)

    def test_a_newer_majority_counts_at_once(self) -> None:
        confirmations = Confirmations(FAILOVER_MS)
        confirmations.add(1_000, Named(OLD))
        confirmations.add(2_000, Named(NEW))
        assert confirmations.owner(KEY, 2_000) == NEW

    def test_a_round_without_a_majority_takes_nothing_back_and_gives_nothing_more(self) -> None:
        confirmations = Confirmations(FAILOVER_MS)
        confirmations.add(1_000, Named(OLD))
        confirmations.add(5_000, Named(None))
        assert confirmations.owner(KEY, 6_000) == OLD
        with pytest.raises(StoreUnavailable, match="nobody has"):
            confirmations.owner(KEY, 6_001)


def sentinel_view(*named: Address | None, listed: int = 3, known: int = 3) -> SentinelView:
    """What sentinels 0, 1, … answered; None for no answer."""
    answers = [
        SentinelAnswer(str(i), address, known)
        for i, address in enumerate(named)
        if address is not None
    ]
    return SentinelView("lessor", listed, answers)


class TestSentinels:
    def test_a_majority_names_the_master(self) -> None:
        assert sentinel_view(OLD, NEW, NEW).master == NEW
        assert sentinel_view(None, NEW, NEW).master == NEW

    @pytest.mark.parametrize("named", [(OLD, NEW, None), (None, None, NEW), ()])
    def test_less_than_a_majority_names_nobody(self, named: tuple[Address | None, ...]) -> None:
        view = sentinel_view(*named)
        assert view.master is None
        assert "2 must agree" in view.why_none(KEY)

    def test_the_majority_is_of_all_sentinels_that_any_of_them_knows(self) -> None:
        view = sentinel_view(OLD, OLD, listed=2, known=5)
        assert view.master is None
        assert "5 sentinels watch 'lessor' and only 2" in view.why_none(KEY)

    def test_one_sentinel_asked_under_two_names_has_one_voice(self) -> None:
        answers = [SentinelAnswer("same", OLD, 3), SentinelAnswer("same", OLD, 3)]
        assert SentinelView("lessor", 3, answers).master is None


MASTERS = "abc"
"""Node a has the slots of ``KEY``; its replica is r."""


def node_line(node: str, *, by: str, role: str, epoch: int, slots: str = "") -> str:
    port = 7000 + ord(node)
    flags = f"myself,{role}" if node == by else role
    return f"{node} 127.0.0.1:{port}@1{port} {flags} - 0 0 {epoch} connected {slots}"


def as_seen(by: str, *, owner: str = "a", epoch: int = 1) -> NodeAnswer:
    """What node ``by`` says, whose view has ``owner`` on the slots of ``KEY``."""
    lines = [
        node_line("b", by=by, role="master", epoch=2, slots="0-5000"),
        node_line("c", by=by, role="master", epoch=3, slots="5001-10000"),
    ]
    for node in "ar":
        is_owner = node == owner
        role = "master" if is_owner else "slave"
        slots = "10001-16383" if is_owner else ""
        lines.append(node_line(node, by=by, role=role, epoch=epoch, slots=slots))
    return NodeAnswer(Address("127.0.0.1", 7000 + ord(by)), parse_nodes("\n".join(lines)))


def port_of(view: ClusterView) -> int | None:
    owner = view.owner(KEY)
    return None if owner is None else owner.port


class TestCluster:
    def test_the_other_masters_name_a_slots_owner(self) -> None:
        view = ClusterView([as_seen(node) for node in "abcr"])
        assert port_of(view) == 7000 + ord("a")

    def test_an_owner_may_be_silent_itself(self) -> None:
        assert port_of(ClusterView([as_seen("b"), as_seen("c")])) == 7000 + ord("a")

    def test_an_owners_own_voice_and_its_replicas_do_not_count(self) -> None:
        view = ClusterView([as_seen("a"), as_seen("r"), as_seen("b")])
        assert port_of(view) is None
        assert "no majority of the other masters names the owner of slot 11304" in view.why_none(
            KEY
        )

    def test_the_replaced_and_its_successor_are_never_both_confirmed(self) -> None:
        """B has not heard of the failover yet; a and r each claim the slots."""
        old_side = ClusterView([as_seen("a"), as_seen("b")])
        new_side = ClusterView(
            [as_seen("r", owner="r", epoch=4), as_seen("c", owner="r", epoch=4), as_seen("b")]
        )
        assert port_of(old_side) is None
        assert port_of(new_side) is None

    def test_a_newer_claim_heard_from_anyone_stops_the_older_owner(self) -> None:
        answers = [as_seen("b"), as_seen("c"), as_seen("r", owner="r", epoch=4)]
        assert port_of(ClusterView(answers)) is None

    def test_after_a_failover_the_new_owner_is_named(self) -> None:
        answers = [as_seen(node, owner="r", epoch=4) for node in "bcr"]
        assert port_of(ClusterView([*answers, as_seen("a")])) == 7000 + ord("r")

    def test_a_node_asked_under_two_names_has_one_voice(self) -> None:
        assert port_of(ClusterView([as_seen("b"), as_seen("b")])) is None

    def test_less_than_three_masters_are_told_that_they_never_agree(self) -> None:
        line = node_line("a", by="a", role="master", epoch=1, slots="0-16383")
        view = ClusterView([NodeAnswer(OLD, parse_nodes(line))])
        assert view.owner(KEY) is None
        assert "needs three" in view.why_none(KEY)

    def test_a_line_of_cluster_nodes_is_read_in_all_its_forms(self) -> None:
        (node, itself) = parse_nodes(
            "id1 ::1:7000@17000,host.example slave,fail id2 0 0 5 disconnected\n"
            "id2 :7001@17001 myself,master - 0 0 6 connected 5 7-9 [11->-id1] [12-<-id1]\n"
        )
        assert (node.address, node.is_master, node.ranges) == (Address("::1", 7000), False, ())
        assert (itself.address, itself.is_itself, itself.epoch) == (None, True, 6)
        assert [slot for slot in range(13) if itself.owns(slot)] == [5, 7, 8, 9]


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HGET", "{acme}:members", "x"), b"{acme}:members"),
        (("EVALSHA", "sha", 1, "{acme}:clock", "arg"), b"{acme}:clock"),
        (("EVAL", "text", 1, b"{acme}:clock"), b"{acme}:clock"),
        (("XREAD", "COUNT", 5, b"STREAMS", "{acme}:events", "0"), b"{acme}:events"),
        (("PING",), b""),
    ],
)
def test_the_key_of_a_command_says_where_it_goes(command: tuple[object, ...], key: bytes) -> None:
    assert key_of(command) == key
