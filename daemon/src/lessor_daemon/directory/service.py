"""The directory: who may call, and which organizations and licenses there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
from lessor_protocol.credentials import split_api_key
from lessor_protocol.errors import Problem

from lessor_daemon.bootstrap import (
    Bootstrap,
    KeySpec,
    LicenseSpec,
    MemberSpec,
    OrganizationSpec,
)
from lessor_daemon.data_dir import write_private
from lessor_daemon.store import directory as stored
from lessor_daemon.store import leases
from lessor_daemon.store.directory import KeyRecord
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from . import api_keys
from .callers import ADMIN, OPERATOR, RUN, Caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lessor_daemon.store.store import Store

KEY_KEPT_MS = 2_000
"""How long a key's record is believed without asking the store: a revocation takes as long."""
MOST_KEYS_KEPT = 10_000

DEFAULT_ORGANIZATION = OrganizationSpec(
    slug="default",
    name="Default",
    members=(MemberSpec("owner@localhost", "owner"),),
    licenses=(LicenseSpec("kre", "floating", 5, 5, 30_000, None),),
)
OPERATOR_KEY_FILE = "operator.key"
OWNER_KEY_FILE = "owner.key"

_log = structlog.get_logger(__name__)


class SetQuota(Protocol):
    """Sets what a license allows; leasing's, since it goes through the lease clock."""

    async def __call__(
        self,
        org: str,
        *,
        license: str,
        kind: str,
        seats: int,
        machines: int | None,
        ttl_ms: int,
        expires_wall_seconds: int,
        force: bool,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Kept:
    caller: Caller
    record: KeyRecord
    read_ms: int


class Directory:
    """Answers who is calling, and keeps organizations as the bootstrap file wants them."""

    def __init__(
        self,
        store: Store,
        set_quota: SetQuota,
        *,
        boottime_ms: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._set_quota = set_quota
        self._boottime_ms = boottime_ms
        self._wall_ms = wall_ms
        self._kept: dict[str, _Kept] = {}

    async def authenticate(self, api_key: str) -> Caller:
        """Who holds this key.

        Raises ``Problem``: ``unauthenticated``, ``revoked`` or ``store_unavailable``.
        """
        try:
            key_id, secret = split_api_key(api_key)
        except ValueError as error:
            raise Problem("unauthenticated", str(error)) from None
        kept = self._kept.get(key_id)
        if kept is None or self._boottime_ms() - kept.read_ms >= KEY_KEPT_MS:
            kept = await self._read_key(key_id)
        if kept is None or not api_keys.matches(secret, kept.record.digest):
            raise Problem("unauthenticated", "no such API key")
        record = kept.record
        if record.revoked:
            raise Problem("revoked", f"API key {record.name!r} was revoked")
        if 0 < record.expires_wall_seconds * 1000 <= self._wall_ms():
            raise Problem("unauthenticated", f"API key {record.name!r} has expired")
        return kept.caller

    async def _read_key(self, key_id: str) -> _Kept | None:
        now_ms = self._boottime_ms()
        with store_problems():
            record = await stored.find_key(self._store, key_id)
            role = None
            if record is not None and record.member:
                role = await stored.role(self._store, record.org, record.member)
        if record is None:
            self._kept.pop(key_id, None)
            return None
        if record.member and role is None:
            return None  # who is not a member any more has no key
        caller = Caller(
            key_id=key_id,
            key_name=record.name,
            org=record.org or None,
            member=record.member or None,
            role=role,
            scopes=record.scopes,
        )
        if len(self._kept) >= MOST_KEYS_KEPT:
            self._kept.clear()
        kept = self._kept[key_id] = _Kept(caller, record, now_ms)
        return kept

    async def whoami(self, caller: Caller) -> dict[str, object]:
        """The caller's organization and rights, and the license meant when none is named."""
        key: dict[str, object] = {
            "id": caller.key_id,
            "name": caller.key_name,
            "scopes": sorted(caller.scopes),
        }
        if caller.member:
            key |= {"member": caller.member, "role": caller.role}
        floating = [one for one in await self._licenses(caller.org) if one.kind == "floating"]
        only = floating[0].license if len(floating) == 1 else None
        return {"organization": caller.org, "key": key, "default_license": only}

    async def organization(self, org: str) -> dict[str, object]:
        """An organization. Raises ``Problem`` ``not_found``."""
        with store_problems():
            name = await stored.organization_name(self._store, org)
        if name is None:
            raise Problem("not_found", f"no organization {org!r}")
        return {"slug": org, "name": name}

    async def licenses(self, org: str) -> list[dict[str, object]]:
        """The organization's licenses, each with its quotas and what is in use."""
        return [_license_to_wire(one) for one in await self._licenses(org)]

    async def _licenses(self, org: str | None) -> list[leases.LicenseUse]:
        if org is None:
            return []
        with store_problems():
            names = await leases.license_names(self._store, org)
            return await leases.license_use(self._store, org, names)

    async def apply(self, bootstrap: Bootstrap) -> None:
        """Make the store have what the file says. A changed value wins, nothing is removed.

        Raises ``StoreUnavailable`` or ``Problem``; it may be called again.
        """
        for organization in bootstrap.organizations:
            slug = organization.slug
            members = {member.email: member.role for member in organization.members}
            await stored.put_organization(self._store, slug, organization.name, members)
            for license in organization.licenses:
                await self._set_quota(
                    slug,
                    license=license.name,
                    kind=license.kind,
                    seats=license.seats,
                    machines=license.machines,
                    ttl_ms=license.ttl_ms,
                    expires_wall_seconds=int(license.expires.timestamp()) if license.expires else 0,
                    force=True,
                )
            for key in organization.keys:
                await self._apply_key(slug, key)

    async def first_start(self, data_dir: Path) -> list[Path]:
        """Make the operator's key, and an organization to begin with where there is none.

        Returns the key files that were made, in ``data_dir`` with mode 0600. May be called again.
        """
        made = []
        if await stored.find_key_id(self._store, "", "operator") is None:
            path = data_dir / OPERATOR_KEY_FILE
            spec = _key_spec("operator", frozenset({OPERATOR}), None, path)
            await self._apply_key("", spec)
            made.append(path)
        if not await stored.organizations(self._store):
            path = data_dir / OWNER_KEY_FILE
            member = DEFAULT_ORGANIZATION.members[0].email
            spec = _key_spec("owner", frozenset({RUN, "read", ADMIN}), member, path)
            # The key first: an organization that is there is complete.
            await self._apply_key(DEFAULT_ORGANIZATION.slug, spec)
            await self.apply(Bootstrap((DEFAULT_ORGANIZATION,)))
            made.append(path)
        return made

    async def _apply_key(self, org: str, spec: KeySpec) -> None:
        known_id = await stored.find_key_id(self._store, org, spec.name)
        secret = spec.secret
        if secret is None and spec.secret_file is not None:
            if not spec.secret_file.exists():
                write_private(spec.secret_file, api_keys.make_api_key() + "\n")
            secret = spec.secret_file.read_text(encoding="ascii").strip()
        if secret is None:
            # A revocation that names no secret: it needs a key to revoke.
            known = await stored.find_key(self._store, known_id) if known_id else None
            if known is None:
                return
            key_id, secret_digest = known.key_id, known.digest
        else:
            key_id, plain = split_api_key(secret)
            secret_digest = api_keys.digest(plain)
        record = KeyRecord(
            key_id=key_id,
            org=org,
            name=spec.name,
            member=spec.member or "",
            scopes=spec.scopes,
            digest=secret_digest,
            expires_wall_seconds=int(spec.expires.timestamp()) if spec.expires else 0,
            revoked=spec.revoked,
        )
        taken = await stored.find_key(self._store, key_id)
        if taken is not None and (taken.org, taken.name) != (org, spec.name):
            raise Problem("conflict", f"the id of key {spec.name!r} belongs to another key")
        await stored.put_key(self._store, record, replaces=known_id)


def _key_spec(name: str, scopes: frozenset[str], member: str | None, path: Path) -> KeySpec:
    return KeySpec(name, scopes, member, None, path, None, revoked=False)


def _license_to_wire(use: leases.LicenseUse) -> dict[str, object]:
    body: dict[str, object] = {
        "name": use.license,
        "kind": use.kind,
        "seats": use.seats,
        "offline_seats": use.offline_seats,
        "leases": use.leases,
        "available": use.available,
        "machines": use.machines,
        "machine_quota": "unlimited" if use.machine_quota is None else use.machine_quota,
        "queue_length": use.queue_length,
        "ttl": use.ttl_ms / 1000,
    }
    if use.expires_wall_seconds:
        body["expires"] = wall_text(use.expires_wall_seconds * 1000)
    return body
