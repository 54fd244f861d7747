"""What the nodes of a Cluster say about who owns which slot, and what a majority of them says.

A replica takes a slot over with the votes of a majority of the masters, and its claim spreads from
node to node; a node never goes back to an older claim. A slot's owner is the one that a majority of
the masters names. Its own voice does not count: one that was replaced names itself for ever, and
so does its successor, so that with three masters each of them and one more would be a majority.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from redis.crc import key_slot

from lessor_daemon.settings import Address


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node as another sees it, a line of ``CLUSTER NODES``. ``ranges``: first and last slot."""

    node_id: str
    address: Address | None
    is_itself: bool
    is_master: bool
    epoch: int
    ranges: tuple[tuple[int, int], ...]
    master_id: str = ""
    """Of a replica: whose."""

    def owns(self, slot: int) -> bool:
        """Whether this node has the slot."""
        return any(first <= slot <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What the node at ``asked`` says about all."""

    asked: Address
    nodes: tuple[ClusterNode, ...]

    @property
    def itself(self) -> ClusterNode | None:
        """The node that answered."""
        return next((node for node in self.nodes if node.is_itself), None)

    @property
    def masters(self) -> int:
        """How many masters have slots."""
        return sum(1 for node in self.nodes if node.is_master and node.ranges)

    def owner(self, slot: int) -> ClusterNode | None:
        """Whom it names."""
        return next((node for node in self.nodes if node.is_master and node.owns(slot)), None)


class ClusterView:
    """The answers of one round."""

    def __init__(self, answers: list[NodeAnswer]) -> None:
        # One node may have been asked under two names, and has one voice.
        by_id = {one.itself.node_id: one for one in answers if one.itself is not None}
        self._answers = list(by_id.values())
        self._voters = [one for one in self._answers if _votes(one)]
        self._masters = max((answer.masters for answer in self._answers), default=0)
        self._owners: dict[int, Address | None] = {}

    @property
    def addresses(self) -> set[Address]:
        """Where all known nodes are."""
        return {
            address
            for answer in self._answers
            for node in answer.nodes
            if (address := _address(node, answer)) is not None
        }

    @property
    def owners(self) -> dict[int, Address]:
        """The confirmed owners of the first slot of each range, where there is one."""
        first_slots = {
            first for voter in self._voters for node in voter.nodes for first, _ in node.ranges
        }
        found = {slot: self._owner(slot) for slot in first_slots}
        return {slot: owner for slot, owner in found.items() if owner is not None}

    def owner(self, key: bytes) -> Address | None:
        """The node that a majority names for the key's slot."""
        return self._owner(key_slot(key))

    def has_replicas(self, key: bytes) -> bool:
        """Whether anyone knows a replica of the key's owner, there or away."""
        named = [answer.owner(key_slot(key)) for answer in self._answers]
        owners = {node.node_id for node in named if node is not None}
        return any(node.master_id in owners for answer in self._answers for node in answer.nodes)

    def _owner(self, slot: int) -> Address | None:
        if slot not in self._owners:
            self._owners[slot] = self._find_owner(slot)
        return self._owners[slot]

    def why_none(self, key: bytes) -> str:
        """In words."""
        if self._masters in (1, 2):
            return f"a Cluster of {self._masters} masters cannot agree on anything; it needs three"
        return (
            f"no majority of the other masters names the owner of slot {key_slot(key)}: "
            f"{len(self._voters)} of {self._masters} masters answered"
        )

    def _find_owner(self, slot: int) -> Address | None:
        votes: Counter[str] = Counter()
        for voter in self._voters:
            named = voter.owner(slot)
            if named is not None and not named.is_itself:
                votes[named.node_id] += 1
        for node_id, count in votes.most_common(1):
            if count > self._masters // 2 and node_id == self._newest_claim(slot):
                return self._address_of(node_id)
        return None

    def _newest_claim(self, slot: int) -> str:
        """Whom anyone names with the highest epoch: a majority may not have heard of it yet."""
        claims = [named for answer in self._answers if (named := answer.owner(slot)) is not None]
        return max(claims, key=lambda node: node.epoch).node_id

    def _address_of(self, node_id: str) -> Address | None:
        found = [
            (node, answer)
            for answer in self._answers
            for node in answer.nodes
            if node.node_id == node_id
        ]
        # As others reach it; only a node that nobody else has met has no better name than ours.
        found.sort(key=lambda one: one[0].is_itself)
        addresses = (_address(node, answer) for node, answer in found)
        return next((address for address in addresses if address is not None), None)


def parse_nodes(text: str) -> tuple[ClusterNode, ...]:
    """Read the reply to ``CLUSTER NODES``."""
    return tuple(_parse_line(line) for line in text.splitlines() if line.strip())


def _parse_line(line: str) -> ClusterNode:
    node_id, endpoint, flags, master, _ping, _pong, epoch, _link, *slots = line.split()
    host, _, port = endpoint.partition("@")[0].rpartition(":")
    words = flags.split(",")
    is_reached = bool(host) and "noaddr" not in words
    return ClusterNode(
        node_id=node_id,
        address=Address(host, int(port)) if is_reached else None,
        is_itself="myself" in words,
        is_master="master" in words,
        epoch=int(epoch),
        ranges=tuple(_range(one) for one in slots if not one.startswith("[")),
        master_id=master.strip("-"),
    )


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _votes(answer: NodeAnswer) -> bool:
    """Only masters with slots elect."""
    itself = answer.itself
    return itself is not None and itself.is_master and bool(itself.ranges)


def _address(node: ClusterNode, answer: NodeAnswer) -> Address | None:
    if node.address is None and node.is_itself:
        return answer.asked
    return node.address
