"""A master and its replicas, watched by Sentinel.

All sentinels are asked; the master is the one that a majority of them names. Sentinel fails over
with the votes of a majority, the new master's name spreads from sentinel to sentinel, and none goes
back to an older one. The majority is of all sentinels that any of them knows, so a daemon that is
told of too few of them says so and serves nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from lessor_daemon.settings import Address

from .clients import Clients
from .confirmation import LOOKS, WatchedTopology

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

    from lessor_daemon.store_url import StoreUrl

DOWN_AFTER = "down-after-milliseconds"
FAILOVER_TIMEOUT = "failover-timeout"
TIMEOUTS = (DOWN_AFTER, FAILOVER_TIMEOUT)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SentinelAnswer:
    """The master that one sentinel names, and how many sentinels it knows, itself included.

    ``replicas`` counts those that it knows, also while they are away.
    """

    sentinel_id: str
    master: Address
    sentinels: int
    replicas: int = 0


class SentinelView:
    """The answers of one round; ``listed`` sentinels were asked for ``service``."""

    def __init__(self, service: str, listed: int, answers: list[SentinelAnswer]) -> None:
        # One sentinel may have been asked under two names, and has one voice.
        voices = {answer.sentinel_id: answer for answer in answers}
        self._service = service
        self._listed = listed
        self._answers = len(voices)
        self._all = max([listed, *(answer.sentinels for answer in answers)])
        self.master: Address | None = None
        self.replicas = max((answer.replicas for answer in answers), default=0)
        votes = Counter(answer.master for answer in voices.values())
        for master, count in votes.most_common(1):
            if count >= self._needed:
                self.master = master

    @property
    def _needed(self) -> int:
        return self._all // 2 + 1

    def owner(self, key: bytes) -> Address | None:  # noqa: ARG002  # one master holds all keys
        """The master."""
        return self.master

    def why_none(self, key: bytes) -> str:  # noqa: ARG002  # likewise
        """In words."""
        if self._listed < self._needed:
            return (
                f"{self._all} sentinels watch {self._service!r} and only {self._listed} of them "
                "are named in the store's URL"
            )
        return (
            f"no majority of the sentinels names a master for {self._service!r}: "
            f"{self._answers} of {self._all} answered, {self._needed} must agree"
        )


class SentinelTopology(WatchedTopology[SentinelView]):
    """Routes everything to the master that a majority of the sentinels names."""

    def __init__(
        self, url: StoreUrl, servers: Clients, failover_ms: int, boottime_ms: Callable[[], int]
    ) -> None:
        super().__init__(servers, failover_ms, boottime_ms)
        self._service = url.service
        self._nodes = url.nodes
        self._sentinels = Clients(
            url.of_sentinel, connections=2, answer_seconds=failover_ms / 1000 / LOOKS
        )
        self._master: Address | None = None
        self._replicas = 0

    def has_replicas(self, key: str) -> bool:  # noqa: ARG002  # one master holds all keys
        """Whether the sentinels know of any, there or away."""
        return self._replicas > 0

    async def close(self) -> None:
        """Close all connections."""
        await super().close()
        await self._sentinels.close()

    async def servers(self) -> dict[str, Redis]:
        """The master and the replicas that its sentinels know."""
        if self._master is None:
            await self.look()
        found = {self._master} if self._master else set()
        for node in self._nodes:
            try:
                (replicas,) = await self._call(node, self._about("REPLICAS"))
            except (RedisError, OSError):
                continue
            found |= {_address(_fields(one)) for one in replicas}
            break
        return {str(address): self._servers.of(address) for address in sorted(found, key=str)}

    async def timeouts_ms(self) -> dict[str, int]:
        """The longest of each of ``TIMEOUTS`` that a sentinel has; empty if none answers."""
        found: dict[str, int] = {}
        for node in self._nodes:
            try:
                (master,) = await self._call(node, self._about("MASTER"))
            except (RedisError, OSError):
                continue
            fields = _fields(master)
            for name in TIMEOUTS:
                found[name] = max(found.get(name, 0), int(fields[name]))
        return found

    async def _ask(self) -> SentinelView:
        answers = await asyncio.gather(*(self._ask_one(node) for node in self._nodes))
        view = SentinelView(self._service, len(self._nodes), [one for one in answers if one])
        if view.master is not None:
            self._replicas = view.replicas
        return view

    def _replaced_by(self, view: SentinelView) -> set[Address]:
        if view.master is None or view.master == self._master:
            return set()
        old, self._master = self._master, view.master
        _log.info("store_master", service=self._service, master=str(view.master))
        return {old} if old is not None else set()

    async def _ask_one(self, node: Address) -> SentinelAnswer | None:
        try:
            sentinel_id, named, master = await self._call(
                node, ("MYID",), self._about("GET-MASTER-ADDR-BY-NAME"), self._about("MASTER")
            )
        except (RedisError, OSError) as error:
            _log.debug("sentinel_silent", sentinel=str(node), error=str(error))
            return None
        if not named:
            return None
        host, port = named
        fields = _fields(master)
        return SentinelAnswer(
            sentinel_id.decode(),
            Address(host.decode(), int(port)),
            sentinels=int(fields["num-other-sentinels"]) + 1,
            replicas=int(fields["num-slaves"]),
        )

    def _about(self, question: str) -> tuple[str, str]:
        return question, self._service

    async def _call(self, node: Address, *questions: tuple[str, ...]) -> list[Any]:
        pipeline = self._sentinels.of(node).pipeline(transaction=False)
        for words in questions:
            # "SENTINEL" apart from the next word, so that the reply comes as it was sent.
            pipeline.execute_command("SENTINEL", *words)
        answers: list[Any] = await pipeline.execute()
        return answers


def _fields(reply: dict[bytes, bytes] | list[bytes]) -> Mapping[str, str]:
    """A map, which the older protocol has as a flat list."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _address(fields: Mapping[str, str]) -> Address:
    return Address(fields["ip"], int(fields["port"]))
