"""Offline licenses: issued for one machine, counted until they expire or are returned."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from lessor_protocol import offline as files
from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.store import offline as stored
from lessor_daemon.store.errors import RECOVERING, recovering, store_problems
from lessor_daemon.store.offline import OfflineRecord
from lessor_daemon.times import wall_text
from lessor_daemon.values import LONGEST_OFFLINE_SECONDS

from .changes import Plan, entry_of, remember
from .restrictions import NOTHING, OFFLINE, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.leases import LicenseUse
    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .changes import RunScript
    from .licenses import Licenses
    from .memory import Memory
    from .signing_keys import SigningKeys


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to issue."""

    license: str
    machine: str
    seats: int
    expires: int


@dataclass(frozen=True, slots=True)
class _Owed:
    """One that may hold its seats in the store, and whose file nobody was given."""

    org: str
    actor: Actor
    record: OfflineRecord


class OfflineLicenses:
    """The offline licenses of organizations. Every method may raise ``Problem``."""

    def __init__(
        self,
        store: Store,
        run: RunScript,
        memory: Memory,
        licenses: Licenses,
        signing_keys: SigningKeys,
        *,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._run = run
        self._memory = memory
        self._licenses = licenses
        self._signing_keys = signing_keys
        self._wall_ms = wall_ms
        self._owed: list[_Owed] = []

    async def all(
        self, org: str, license: str | None, machine: str | None
    ) -> list[dict[str, object]]:
        """All that fit, in the order they were issued."""
        with store_problems():
            records = await stored.records(self._store, org)
        return [
            self.to_wire(one)
            for one in records
            if license in (None, one.license) and machine in (None, one.machine)
        ]

    async def get(self, org: str, serial: str) -> dict[str, object]:
        """One. Raises ``Problem`` ``not_found``."""
        return self.to_wire(await self._find(org, serial))

    async def issue(self, actor: Actor, org: str, wanted: Wanted) -> tuple[dict[str, object], str]:
        """Take the seats, and only when that is on disk hand out the signed file.

        Raises ``Problem``: ``seats_exhausted``, ``machines_exhausted``, ``conflict`` if the license
        does not allow it, ``recovering``, ``invalid``; ``store_unavailable`` also when it was done
        and is not confirmed. Then its seats are given back, at once or with the next one that is
        issued here: without its file nobody else could.
        """
        await self._give_back_owed(org)
        now = self._wall_ms() // 1000
        self._check(await self._licenses.find(org, wanted.license), wanted, now)
        key = await self._signing_keys.current()
        return_seed = secrets.token_bytes(files.SEED_BYTES)
        record = OfflineRecord(
            serial=secrets.token_hex(8),
            license=wanted.license,
            machine=wanted.machine,
            seats=wanted.seats,
            issued=now,
            issued_by=actor.member or actor.name,
            expires=wanted.expires,
            signing_key=key.key_id,
            return_key=files.public_key(return_seed),
        )
        shown = self.to_wire(record)
        entry = entry_of(actor, Plan(None, "offline.issue", record.serial, None, shown))
        change_id = os.urandom(8)
        facts = {str(Target(OFFLINE, record.serial)): (0, record.pack())}
        try:
            _, issued = await self._run(
                org,
                lambda context: stored.issue(
                    self._store, org, context, record, change_id=change_id, entry=entry, said=facts
                ),
            )
        except Problem as problem:
            _log.warning(
                "offline_license_not_issued", org=org, serial=record.serial, reason=problem.detail
            )
            self._owed.append(_Owed(org, actor, record))
            with contextlib.suppress(Problem):
                await self._give_back_owed(org)
            raise Problem(
                problem.code,
                "no offline license was issued, since the store does not confirm it; do it again",
                retry_after=1,
            ) from problem
        if issued.status != stored.ISSUED:
            raise _refused(issued.status, wanted, issued.available)
        await remember(self._memory, org, issued.version, facts)
        license = files.OfflineLicense(
            serial=record.serial,
            org=org,
            license=record.license,
            machine=record.machine,
            seats=record.seats,
            issued=record.issued,
            expires=record.expires,
            key_id=key.key_id,
            return_seed=return_seed,
        )
        return shown, files.write_license(license, key.seed)

    async def give_back(
        self, actor: Actor, org: str, serial: str, receipt: str
    ) -> dict[str, object]:
        """Free the seats early, on the signed word of the machine; the same again changes nothing.

        Raises ``Problem`` ``invalid`` for a receipt that does not belong to this license.
        """
        record = await self._find(org, serial)
        try:
            given = files.read_receipt(receipt, record.return_key)
        except files.BadFile as error:
            raise invalid("receipt", f"cannot be taken: {error}") from None
        if (given.serial, given.machine) != (record.serial, record.machine):
            raise invalid("receipt", "belongs to another offline license")
        if not record.returned and record.expires > self._wall_ms() / 1000:
            await self._free(actor, org, record)
        return await self.get(org, serial)

    async def _give_back_owed(self, org: str) -> None:
        for one in [one for one in self._owed if one.org == org]:
            await self._free(one.actor, org, one.record)
            self._owed = [owed for owed in self._owed if owed is not one]

    async def _free(self, actor: Actor, org: str, record: OfflineRecord) -> None:
        """Its seats, if it holds them."""
        returned = replace(record, returned=self._wall_ms() // 1000)
        shown = (self.to_wire(record), self.to_wire(returned))
        plan = Plan(None, "offline.return", record.serial, *shown)
        facts = {str(Target(OFFLINE, record.serial)): (0, NOTHING)}
        _, freed, version = await self._run(
            org,
            lambda context: stored.give_back(
                self._store,
                org,
                context,
                returned,
                change_id=os.urandom(8),
                entry=entry_of(actor, plan),
                said=facts,
            ),
        )
        if freed:
            await remember(self._memory, org, version, facts)

    def to_wire(self, record: OfflineRecord) -> dict[str, object]:
        """An offline license as the wire shows it; the file itself is shown once, when issued."""
        state = "valid"
        if record.returned:
            state = "returned"
        elif record.expires <= self._wall_ms() / 1000:
            state = "expired"
        shown: dict[str, object] = {
            "serial": record.serial,
            "license": record.license,
            "machine": record.machine,
            "seats": record.seats,
            "state": state,
            "issued": wall_text(record.issued * 1000),
            "issued_by": record.issued_by,
            "expires": wall_text(record.expires * 1000),
            "signing_key": record.signing_key,
        }
        if record.returned:
            shown["returned"] = wall_text(record.returned * 1000)
        return shown

    async def _find(self, org: str, serial: str) -> OfflineRecord:
        with store_problems():
            record = await stored.find(self._store, org, serial)
        if record is None:
            raise Problem("not_found", f"no offline license {serial!r}")
        return record

    def _check(self, use: LicenseUse, wanted: Wanted, now: int) -> None:
        if not use.offline_allowed:
            raise Problem("conflict", f"license {use.license!r} allows no offline licenses")
        if use.expires_wall_seconds and use.expires_wall_seconds <= now:
            raise Problem("license_expired", f"the license {use.license!r} has expired")
        if wanted.expires <= now:
            raise invalid("expires", "must lie in the future")
        if wanted.expires - now > LONGEST_OFFLINE_SECONDS:
            raise invalid("expires", f"must be within {LONGEST_OFFLINE_SECONDS // 86_400} days")
        if use.expires_wall_seconds and wanted.expires > use.expires_wall_seconds:
            raise invalid("expires", "must not be later than the license's own expiry")


def _refused(status: str, wanted: Wanted, available: int) -> Problem:
    name = wanted.license
    if status == RECOVERING:
        return recovering("no offline license is issued")
    if status == stored.FULL:
        return Problem(
            "seats_exhausted",
            f"license {name!r} has too few seats available: {available}, wanted {wanted.seats}",
            data={"available": available, "holders": [], "hint": "end sessions or ask for fewer"},
        )
    if status == stored.MACHINES_FULL:
        return Problem(
            "machines_exhausted",
            f"all registered machines of license {name!r} are taken",
            data={"holders": [], "hint": "remove a machine first"},
        )
    return Problem(status, f"there is no license {name!r}")
