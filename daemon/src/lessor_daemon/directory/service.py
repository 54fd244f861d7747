"""The directory: who may call, and all that organizations have. Wires its parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from lessor_daemon.containment import mistakes_contained
from lessor_daemon.errors import DaemonError
from lessor_daemon.side_by_side import for_each
from lessor_daemon.store import leases

from .audit import Audit
from .authentication import Authentication
from .backup import Backup
from .bootstrapping import Bootstrapping
from .changes import Changes
from .keys import Keys
from .licenses import Licenses
from .line import Lines
from .machines import Machines
from .members import Members
from .offline import OfflineLicenses
from .operator_audit import OperatorAudit
from .organizations import Organizations
from .reassertion import Reassertion
from .sessions import Sessions
from .signing_keys import SigningKeys
from .trials import Trials
from .upkeep import Upkeep
from .users import RegisteredUsers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from lessor_daemon.bootstrap import Bootstrap
    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.store import Store

    from .callers import Caller
    from .changes import RunScript
    from .memory import Memory
    from .upkeep import Retention

_log = structlog.get_logger(__name__)


class Directory:
    """One part for each kind of thing; every method of a part may raise ``Problem``.

    ``run`` calls a script with an organization's lease clock: leasing's. ``signing_keys`` is the
    directory of the keys that sign offline licenses, ``memory`` what this daemon remembers beside
    the store.
    """

    def __init__(
        self,
        store: Store,
        run: RunScript,
        metrics: Metrics,
        *,
        boottime_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        ttl_range_ms: tuple[int, int],
        signing_keys: Path,
        memory: Memory,
        retention: Retention,
    ) -> None:
        self.authentication = Authentication(
            store, metrics, boottime_ms=boottime_ms, wall_ms=wall_ms
        )
        changes = Changes(store, run, memory)
        self.operator_audit = OperatorAudit(store)
        self.audit = Audit(store)
        self.keys = Keys(store, changes, wall_ms)
        self.members = Members(store, changes, wall_ms)
        self.licenses = Licenses(store, changes, wall_ms, ttl_range_ms)
        self.lines = Lines(store, self.licenses)
        self.trials = Trials(store, self.licenses, wall_ms)
        self.users = RegisteredUsers(store, changes, self.licenses, wall_ms)
        self.organizations = Organizations(store, changes, self.keys, self.operator_audit, wall_ms)
        self.sessions = Sessions(store, run, memory, wall_ms)
        self.machines = Machines(store, run, self.sessions, wall_ms)
        self.signing_keys = SigningKeys(store, signing_keys, wall_ms)
        self.offline = OfflineLicenses(
            store, run, memory, self.licenses, self.signing_keys, wall_ms=wall_ms
        )
        self.backup = Backup(
            store,
            run,
            changes,
            memory,
            self.licenses,
            operator_audit=self.operator_audit,
            wall_ms=wall_ms,
        )
        self._store = store
        self._memory = memory
        reassertion = Reassertion(
            store, run, changes, self.licenses, memory, metrics=metrics, wall_ms=wall_ms
        )
        self._upkeep = Upkeep(store, run, self.licenses, reassertion, wall_ms, retention=retention)
        self._bootstrapping = Bootstrapping(
            store, changes, self.licenses, wall_ms, max_ttl_ms=ttl_range_ms[1]
        )

    def start(self, group: asyncio.TaskGroup) -> None:
        """Let the wall clock do its part, in a task of ``group`` until it ends."""
        group.create_task(self._upkeep.keep_up(), name="upkeep of the directory")

    async def say_again(self) -> list[str]:
        """Make hold what a store forgot, before anything is decided on what it says now.

        Answers the organizations that cannot be asked: the servers of some may be away. Raises
        ``StoreUnavailable`` or ``Problem`` where it is all of them; may be called again. What fails
        otherwise, with one organization or with what is remembered, is logged. All that failed is
        tried again by the upkeep.
        """
        orgs = await self._upkeep.organizations()

        async def sweep(org: str) -> None:
            with mistakes_contained(_log, "sweep_failed", org):
                await self._upkeep.sweep(org)

        failed = await for_each(orgs, sweep)
        for why in failed.values():
            if isinstance(why, DaemonError) or len(failed) == len(orgs):
                raise why
        return list(failed)

    async def authenticate(self, api_key: str, operation: str = "", source: str = "") -> Caller:
        """Who holds this key; see ``Authentication``."""
        return await self.authentication.authenticate(api_key, operation, source)

    async def whoami(self, caller: Caller) -> dict[str, object]:
        """The caller's organization and rights, and the license meant when none is named."""
        key: dict[str, object] = {
            "id": caller.key_id,
            "name": caller.key_name,
            "scopes": sorted(caller.scopes),
        }
        if caller.member:
            key |= {"member": caller.member, "role": caller.role}
        if caller.license:
            key |= {"license": caller.license}
        return {
            "organization": caller.org,
            "key": key,
            "default_license": await self._default_license(caller),
        }

    async def _default_license(self, caller: Caller) -> str | None:
        if caller.license or caller.org is None:
            return caller.license
        uses = await self.licenses.uses(caller.org)
        floating = [one.license for one in uses if one.kind == leases.FLOATING]
        return floating[0] if len(floating) == 1 else None

    async def apply(self, bootstrap: Bootstrap, *, anew: bool = True) -> list[str]:
        """Make the store have what the file says. A changed value wins, nothing is removed.

        Answers the organizations that are still to be applied: the servers of some may be away.
        Raises ``StoreUnavailable`` or ``Problem``. Called again, not ``anew``, it applies those.
        """
        left_out = await self._bootstrapping.apply(bootstrap, anew=anew)
        self.authentication.forget()
        return left_out

    async def first_start(self, data_dir: Path) -> list[Path]:
        """Make the operator's key, and an organization to begin with where there is none.

        Returns the key files that were made, in ``data_dir`` with mode 0600. May be called again.
        """
        return await self._bootstrapping.first_start(data_dir)
