"""Registered machines: where the licenses run, and removing machines that should not count."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon.store import leases, offline
from lessor_daemon.store import sessions as stored
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .changes import Plan, entry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.sessions import MachineRecord
    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .changes import RunScript
    from .sessions import Sessions


REMOVED_AT_ONCE = 100
"""Registrations that one call of the store drops, and one entry of the audit names."""
MOST_NAMED = 500
"""Of the machines that were removed, in the answer."""


@dataclass(frozen=True, slots=True)
class MachineFilter:
    """Which machines are wanted; None is any. ``unseen_for`` is in seconds."""

    ids: frozenset[str] | None = None
    license: str | None = None
    ephemeral: bool | None = None
    idle: bool | None = None
    unseen_for: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it fits all machines."""
        return self == MachineFilter()

    def fits(self, machine: MachineRecord, wall_seconds: float) -> bool:
        """Whether this registration is wanted."""
        unseen = wall_seconds - machine.last_seen_wall_seconds
        return (
            (self.ids is None or machine.machine in self.ids)
            and self.license in (None, machine.license)
            and self.ephemeral in (None, machine.lapses == 0)
            and self.idle in (None, machine.sessions == 0)
            and (self.unseen_for is None or (machine.sessions == 0 and unseen >= self.unseen_for))
        )


class Machines:
    """The machines of organizations. Every method may raise ``Problem``."""

    def __init__(
        self, store: Store, run: RunScript, sessions: Sessions, wall_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._run = run
        self._sessions = sessions
        self._wall_ms = wall_ms

    async def all(self, org: str, wanted: MachineFilter) -> list[dict[str, object]]:
        """All that fit, by id, each with all of its licenses that fit."""
        by_id: dict[str, list[MachineRecord]] = {}
        for record in await self._records(org, wanted):
            by_id.setdefault(record.machine, []).append(record)
        return [_to_wire(by_id[machine]) for machine in sorted(by_id)]

    async def get(self, org: str, machine: str, license: str | None) -> dict[str, object]:
        """One, with all of its licenses or that one. Raises ``Problem`` ``not_found``."""
        found = await self.all(org, MachineFilter(ids=frozenset({machine}), license=license))
        if not found:
            raise Problem("not_found", f"no registered machine {machine!r}")
        return found[0]

    async def remove(
        self, actor: Actor, org: str, wanted: MachineFilter, text: str, *, dry_run: bool
    ) -> dict[str, object]:
        """Un-register all that fit, and end their sessions. Says their number, and names the first.

        One that still runs counts until its last process is dead. A valid offline license cannot
        be called back: a machine with one is left out, and where it is asked for by its id, that is
        a ``Problem`` ``conflict``.
        """
        records = await self._records(org, wanted)
        held = await self._held_offline(org)
        kept = [one for one in records if (one.license, one.machine) in held]
        if kept and wanted.ids is not None:
            raise Problem(
                "conflict",
                f"machine {kept[0].machine!r} has an offline license of {kept[0].license!r}; "
                "it counts until that expires or is returned",
            )
        records = [one for one in records if one not in kept]
        names = sorted({record.machine for record in records})
        sessions = sum(record.sessions for record in records)
        if records and not dry_run:
            sessions = await self._remove(actor, org, records, text)
        return {
            "machines": names[:MOST_NAMED],
            "count": len(names),
            "sessions_ended": sessions,
            "dry_run": dry_run,
        }

    async def _remove(self, actor: Actor, org: str, records: list[MachineRecord], text: str) -> int:
        pairs = [(record.license, record.machine) for record in records]
        for start in range(0, len(pairs), REMOVED_AT_ONCE):
            await self._unregister(actor, org, pairs[start : start + REMOVED_AT_ONCE], text)
        by = actor.member or actor.name
        said = f"{by} removed the machine" + (f": {text}" if text else "")
        return await self._sessions.end_on_machines(org, set(pairs), said)

    async def _unregister(
        self, actor: Actor, org: str, pairs: list[tuple[str, str]], text: str
    ) -> None:
        names = {machine for _, machine in pairs}
        target = min(names) if len(names) == 1 else f"{len(names)} machines"
        before = {"machines": [list(pair) for pair in pairs]}
        plan = Plan(None, "machine.remove", target, before, {"text": text})
        await self._run(
            org,
            lambda context: stored.unregister(
                self._store,
                org,
                context,
                pairs,
                change_id=os.urandom(8),
                entry=entry_of(actor, plan),
            ),
        )

    async def _records(self, org: str, wanted: MachineFilter) -> list[MachineRecord]:
        now = self._wall_ms() / 1000
        with store_problems():
            names = await leases.license_names(self._store, org)
            if wanted.license is not None:
                names = [name for name in names if name == wanted.license]
            found = [
                record for name in names for record in await stored.machines(self._store, org, name)
            ]
        return [record for record in found if wanted.fits(record, now)]

    async def _held_offline(self, org: str) -> set[tuple[str, str]]:
        """License and machine of each offline license that counts."""
        now = self._wall_ms() / 1000
        with store_problems():
            issued = await offline.records(self._store, org)
        return {
            (one.license, one.machine) for one in issued if not one.returned and one.expires > now
        }


def _to_wire(records: list[MachineRecord]) -> dict[str, object]:
    first = min(
        (one.first_seen_wall_seconds for one in records if one.first_seen_wall_seconds), default=0
    )
    last = max(one.last_seen_wall_seconds for one in records)
    lapses = max(one.lapses for one in records)
    shown: dict[str, object] = {
        "id": records[0].machine,
        "name": next((one.name for one in records if one.name), ""),
        "licenses": sorted(one.license for one in records),
        "ephemeral": all(one.lapses == 0 for one in records),
        "sessions": sum(one.sessions for one in records),
    }
    if first:
        shown["first_seen"] = wall_text(first * 1000)
        shown["last_seen"] = wall_text(last * 1000)
    if 0 < lapses < math.inf:
        shown["lapses"] = wall_text(int(lapses) * 1000)
    return shown
