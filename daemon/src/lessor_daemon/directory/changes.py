"""Making changes: decided on what is stored now, made only if that is still so, and recorded.

Every change of the directory goes through ``Changes.make``. The caller's ``decide`` reads what it
needs and answers a ``Plan``; should anybody else change the organization meanwhile, it is asked
again. So rules that span several things, such as "registered users ≤ seats", are plain code here
and hold for any number of daemons and callers.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgpack
from lessor_protocol.errors import Problem

from lessor_daemon.store import changes as scripts
from lessor_daemon.store.errors import RECOVERING, Unconfirmed, recovering, store_problems
from lessor_daemon.store.facts import Fact

from .restrictions import facts_of_edits, facts_of_quota

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from lessor_daemon.store.changes import Edit, EndOnline
    from lessor_daemon.store.facts import Facts
    from lessor_daemon.store.scripts import Context, Reading
    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .memory import Memory

Result = TypeVar("Result")
Answer = TypeVar("Answer", bound="tuple[Reading, *tuple[Any, ...]]")

MOST_ATTEMPTS = 100
"""Other daemons may be quicker; of all that try at once, one succeeds each time."""


class RunScript(Protocol):
    """Calls a script with an organization's lease clock."""

    async def __call__(
        self, org: str, script: Callable[[Context], Awaitable[Answer]]
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Quota:
    """A license's settings to write, as ``lua/quota.lua`` names them."""

    license: str
    fields: Mapping[str, str | int | bytes]
    force: bool


@dataclass(frozen=True, slots=True)
class Plan(Generic[Result]):
    """What a change would do.

    ``before`` and ``after`` are what the audit shows; no secret may be in them. Without edits,
    quota, endings or facts there is nothing to do, and nothing is recorded. ``is_recorded`` is
    False only where the audit itself goes.

    ``facts`` are those that edits and quota do not say by themselves (``restrictions``). A plan
    that ``is_silent`` says nothing beyond them.
    """

    result: Result
    action: str
    target: str
    before: object = None
    after: object = None
    edits: Sequence[Edit] = ()
    unused: Sequence[str] = ()
    endings: Sequence[EndOnline] = ()
    quota: Quota | None = None
    is_recorded: bool = True
    facts: Facts = field(default_factory=dict)
    is_silent: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether everything is as wanted already."""
        return not (self.edits or self.endings or self.facts) and self.quota is None

    def says(self, org: str) -> Facts:
        """All facts of it."""
        if self.is_silent:
            return self.facts
        of_quota = facts_of_quota(self.quota.license, self.quota.fields) if self.quota else {}
        return {**facts_of_edits(org, self.edits), **of_quota, **self.facts}


@dataclass(slots=True)
class _Line:
    """Callers of this daemon change one organization one by one: fewer attempts are in vain."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Changes:
    """Makes changes. Every method may raise ``Problem``."""

    def __init__(self, store: Store, run: RunScript, memory: Memory) -> None:
        self._store = store
        self._run = run
        self._memory = memory
        self._lines: dict[str, _Line] = {}

    async def make(
        self,
        org: str,
        actor: Actor,
        decide: Callable[[], Awaitable[Plan[Result]]],
        *,
        dry_run: bool = False,
    ) -> tuple[Result, int]:
        """Make the change that ``decide`` wants, and say how many sessions it ends.

        Raises what ``decide`` raises; ``quota_below_use``; ``conflict`` when a license that is to
        be removed holds seats; ``recovering`` for either while not all use is known.
        """
        line = self._lines.setdefault(org, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                return await self._make(org, actor, decide, dry_run=dry_run)
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[org]

    async def _make(
        self,
        org: str,
        actor: Actor,
        decide: Callable[[], Awaitable[Plan[Result]]],
        *,
        dry_run: bool,
    ) -> tuple[Result, int]:
        for _ in range(MOST_ATTEMPTS):
            with store_problems():
                version = await scripts.version(self._store, org)
                plan = await decide()
            if dry_run or (plan.is_empty and not self._store.is_unconfirmed(org)):
                return plan.result, len(plan.endings)
            # Nothing to do, and yet something owed: the change before was done and not confirmed.
            entry = b"" if plan.is_empty else entry_of(actor, plan)
            mark = scripts.ChangeMark(version, os.urandom(8), entry, plan.says(org))
            try:
                ending = await self._try(org, mark, plan)
            except Problem as problem:
                if isinstance(problem.__cause__, Unconfirmed):
                    # Who repeats it may find it done, at another daemon, and be told so.
                    await remember(self._memory, org, version + 1, mark.facts)
                raise
            if ending is not None:
                return plan.result, ending
        raise Problem("rate_limited", "too many change this organization at once", retry_after=1)

    async def _try(self, org: str, mark: scripts.ChangeMark, plan: Plan[Result]) -> int | None:
        """How many sessions it ends, or None when the plan is out of date."""
        if plan.quota is not None:
            quota = plan.quota
            _, answer = await self._run(
                org,
                lambda context: scripts.quota(
                    self._store,
                    org,
                    context,
                    mark,
                    license=quota.license,
                    fields=quota.fields,
                    force=quota.force,
                ),
            )
            if answer.status == scripts.BELOW_USE:
                raise _below_use(quota.license, answer)
            if answer.status == RECOVERING:
                raise recovering("without force nothing is lowered")
            if answer.status == scripts.MOVED:
                return None
            await remember(self._memory, org, answer.version, mark.facts)
            return 0
        _, changed = await self._run(
            org,
            lambda context: scripts.change(
                self._store,
                org,
                context,
                mark,
                edits=plan.edits,
                unused=plan.unused,
                endings=plan.endings,
            ),
        )
        if changed.status == RECOVERING:
            raise recovering("nothing is removed that may hold seats")
        if changed.status == scripts.IN_USE:
            raise Problem(
                "conflict",
                f"{plan.target} still holds seats; end its sessions and wait for its offline "
                "licenses first",
            )
        if changed.status == scripts.MOVED:
            return None
        await remember(self._memory, org, changed.version, mark.facts)
        return changed.ending


async def remember(memory: Memory, org: str, version: int, facts: Facts) -> None:
    """Write down what was said, before it is answered."""
    made = [Fact(name, said or version, value) for name, (said, value) in facts.items()]
    if made:
        await asyncio.to_thread(memory.note, org, made)


def entry_of(actor: Actor, plan: Plan[Any]) -> bytes:
    """The entry of the audit; empty where there is none."""
    if not plan.is_recorded:
        return b""
    packed: bytes = msgpack.packb(
        {
            "actor": asdict(actor),
            "action": plan.action,
            "target": plan.target,
            "before": plan.before,
            "after": plan.after,
        }
    )
    return packed


def _below_use(license: str, answer: scripts.QuotaAnswer) -> Problem:
    return Problem(
        "quota_below_use",
        f"license {license!r} is in use: leases {answer.leases}, offline seats "
        f"{answer.offline_seats}, registered users {answer.registered_users}, registered machines "
        f"{answer.machines}; "
        "end some, or force it: then the running finish and nothing new starts",
        data={
            "leases": answer.leases,
            "machines": answer.machines,
            "offline_seats": answer.offline_seats,
            "registered_users": answer.registered_users,
        },
    )
