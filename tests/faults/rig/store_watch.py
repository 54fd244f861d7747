"""Asks the store itself, all the time: whether it takes writes, and how far the lease clock is.

Only figures come from here, never a verdict: what a store says of itself proves nothing.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from support.topologies import PASSWORD, SERVICE, ClusterGroup, SentinelGroup

from .history import Outage, Reading, now
from .site import ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .site import Site

EVERY_SECONDS = 0.03
ANSWER_SECONDS = 0.15
SHORTEST_OUTAGE_SECONDS = 0.1
"""A shorter one may be a busy machine."""
CLOCK_KEY = f"{{{ORGANIZATION}}}:clock"
WRITTEN_KEY = f"{{{ORGANIZATION}}}:watched"
"""In the slot of the organization, and no name of the product's."""


class StoreWatch(threading.Thread):
    """Watches until ``finish``: when the store took no writes, and readings of the lease clock."""

    def __init__(self, site: Site) -> None:
        super().__init__(name="store watch")
        self.outages: list[Outage] = []
        self.readings: list[Reading] = []
        self._site = site
        self._over = threading.Event()
        self._clients: dict[str | int, Redis] = {}
        self._last: int = 0

    def run(self) -> None:
        """Until it is over."""
        good = now()
        while not self._over.wait(EVERY_SECONDS):
            sent = now()
            clock_ms = self._write()
            if clock_ms is None:
                continue
            if sent - good > SHORTEST_OUTAGE_SECONDS + ANSWER_SECONDS:
                self.outages.append(Outage(good, now()))
            good = now()
            self.readings.append(Reading(good, clock_ms))

    def finish(self) -> None:
        """End it."""
        if self.is_alive():
            self._over.set()
            self.join()
        for client in self._clients.values():
            client.close()

    def _write(self) -> int | None:
        """Write to whoever is the master. The lease clock there; None when no write was taken."""
        for client in self._masters():
            pipeline = client.pipeline(transaction=False)
            pipeline.set(WRITTEN_KEY, "1")
            pipeline.hget(CLOCK_KEY, "now")
            try:
                _, clock_ms = pipeline.execute()
            except (RedisError, OSError):
                continue
            return int(clock_ms or 0)
        return None

    def _masters(self) -> Iterator[Redis]:
        """Whoever may be it, the likeliest first."""
        group = self._site.group
        if isinstance(group, SentinelGroup):
            port = self._named(group)
            if port is not None:
                yield self._client(port, PASSWORD)
        elif isinstance(group, ClusterGroup):
            # Who is not the master of the slot refuses.
            ports = [node.port for node in group.nodes]
            for port in sorted(ports, key=lambda one: one != self._last):
                self._last = port
                yield self._client(port)
        elif self._site.nodes:
            yield self._client(self._site.nodes[0].port)
        else:
            with suppress(OSError):  # it or its daemon has just gone
                path = self._site.daemons[0].process.store_socket()
                if path is not None:
                    yield self._client(str(path))

    def _named(self, group: SentinelGroup) -> int | None:
        """The port that two sentinels name."""
        ports: list[int] = []
        for sentinel in group.sentinels:
            try:
                named = self._client(sentinel.port).execute_command(  # type: ignore[no-untyped-call]  # redis'
                    "SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE
                )
            except (RedisError, OSError):
                continue
            if named and int(named[1]) in ports:
                return int(named[1])
            if named:
                ports.append(int(named[1]))
        return None

    def _client(self, where: str | int, password: str | None = None) -> Redis:
        """By port, or by the path of a socket."""
        client = self._clients.get(where)
        if client is None:
            client = self._clients[where] = Redis(
                port=where if isinstance(where, int) else 0,
                unix_socket_path=where if isinstance(where, str) else None,
                password=password,
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        return client
