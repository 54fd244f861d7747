"""Saying again what a store forgot.

A store that fails over to a replica, or comes back from an older copy or empty, has lost the last
changes of administration: seats that were lowered, keys that were revoked, users that were
withdrawn, offline licenses that are out there. No grace outlasts that. So each daemon remembers
what was said (``memory``), its own changes before they are answered and those of others within a
sweep, and when the store opens a new epoch it compares, fact by fact, and makes the missing ones
hold again. Only what restricts is made to hold (``restrictions``).

A change that was made after the loss is newer than all that was said before it, and wins: so an
operator can overrule what is remembered by saying otherwise.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import msgpack
import structlog

from lessor_daemon.store import facts as said
from lessor_daemon.store.errors import store_problems

from .enforcement import Enforcement
from .memory import Unreadable, describe
from .restrictions import ENDING, NOTHING, OFFLINE, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.facts import Fact
    from lessor_daemon.store.scripts import Reading
    from lessor_daemon.store.store import Store

    from .changes import Changes, RunScript
    from .licenses import Licenses
    from .memory import Memory

P = ParamSpec("P")
Answer = TypeVar("Answer")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Compared:
    """When the store was last compared with what is remembered, and what it could not take yet.

    A fact about something that the store does not have restricts nothing, until it comes back; it
    is in the log already. ``waiting`` are the names of such facts.
    """

    epoch: int
    replid: str
    version: int
    waiting: frozenset[str]


class Reassertion:
    """Compares stores with what is remembered. One process of a daemon does it for all."""

    def __init__(
        self,
        store: Store,
        run: RunScript,
        changes: Changes,
        licenses: Licenses,
        memory: Memory,
        *,
        metrics: Metrics,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._enforcement = Enforcement(store, run, changes, licenses)
        self._memory = memory
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._compared: dict[str, _Compared] = {}
        self._turn = asyncio.Lock()

    async def organizations(self) -> list[str]:
        """Those that something is remembered of, and that were not removed."""
        try:
            return await self._use(self._memory.organizations)
        except Unreadable as error:
            _log.warning("changes_not_remembered", reason=str(error))
            return []

    async def check(self, org: str, reading: Reading, version: int) -> None:
        """Learn what is new in the store, and say again what it forgot.

        ``version`` is the store's, read with ``reading``. May raise ``Problem``; then it is to be
        called again.
        """
        try:
            known = await self._use(self._memory.version, org)
            before = self._compared.get(org)
            is_anew = before is None or (before.epoch, before.replid) != (
                reading.epoch,
                reading.replid,
            )
            waiting = before.waiting if before is not None else frozenset()
            has_changed = before is not None and before.version != version
            if is_anew or version < known or (waiting and has_changed):
                told = frozenset() if is_anew else waiting
                waiting = await self._compare(org, known, version, told)
            if version > known:
                with store_problems():
                    learned = await said.since(self._store, org, known)
                await self._use(self._memory.note, org, learned, seen=version)
        except Unreadable as error:
            _log.warning("changes_not_remembered", org=org, reason=str(error))
            return
        self._compared[org] = _Compared(reading.epoch, reading.replid, version, waiting)

    async def _use(
        self, call: Callable[P, Answer], *arguments: P.args, **named: P.kwargs
    ) -> Answer:
        """A method of the memory, one at a time: while its file is locked, one thread waits."""
        async with self._turn:
            return await asyncio.to_thread(call, *arguments, **named)

    async def _compare(
        self, org: str, known: int, version: int, told: frozenset[str]
    ) -> frozenset[str]:
        """What is remembered and the store could not take; ``told`` is in the log already."""
        remembered = await self._remembered(org)
        if not remembered:
            return frozenset()
        missing = await self._enforcement.missing(org, remembered)
        lasting = [one for one in missing if Target.of(one.name).kind != ENDING]
        if _names(lasting) - told:
            _log.error(
                "changes_forgotten",
                org=org,
                version=version,
                remembered=known,
                changes=describe(lasting),
                count=len(lasting),
            )
        versions = {one.name: one.version for one in remembered}
        done = await self._enforcement.say_again(org, missing, versions)
        made = [one for one in lasting if one.name in done]
        if made:
            self._metrics.changes_reasserted_total.inc(len(made))
            _log.warning("changes_reasserted", org=org, changes=describe(made), count=len(made))
        # What was made to hold does not wait, also where the store keeps no fact that is so old.
        return _names(await self._enforcement.missing(org, lasting)) - done

    async def _remembered(self, org: str) -> list[Fact]:
        """What is remembered and still matters."""
        now = self._wall_ms() / 1000
        found = await self._use(self._memory.facts, org)
        over = {one.name for one in found if _is_over(one, now)}
        if over:
            await self._use(self._memory.drop, org, over)
        return [one for one in found if one.name not in over]


def _names(facts: Iterable[Fact]) -> frozenset[str]:
    return frozenset(one.name for one in facts)


def _is_over(fact: Fact, now: float) -> bool:
    kind = Target.of(fact.name).kind
    if kind == OFFLINE and fact.value != NOTHING:
        return bool(msgpack.unpackb(fact.value)["expires"] <= now)
    return bool(kind == ENDING and msgpack.unpackb(fact.value)[0] <= now)
