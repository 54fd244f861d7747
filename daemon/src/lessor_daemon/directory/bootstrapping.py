"""Making the store have what the bootstrap file says, and what a first start needs.

A changed value wins, nothing is removed, and what is as wanted already leaves no trace: so it may
run at every start, and again when it was cut short.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lessor_protocol.credentials import split_api_key
from lessor_protocol.errors import Problem
from lessor_protocol.timing import DEFAULT_TTL_MS

from lessor_daemon.bootstrap import KeySpec, LicenseSpec, MemberSpec, OrganizationSpec
from lessor_daemon.data_dir import write_private
from lessor_daemon.side_by_side import for_each
from lessor_daemon.store import directory as stored
from lessor_daemon.store import facts, leases
from lessor_daemon.store import keys as key_names
from lessor_daemon.store.changes import AS_SEATS, UNLIMITED, Edit
from lessor_daemon.store.directory import REVOKED, KeyRecord, Member
from lessor_daemon.store.errors import is_unavailable

from . import api_keys
from .callers import ADMIN, BOOTSTRAP, OPERATOR, READ, RUN
from .changes import Plan
from .policy import Group, pack_policy
from .restrictions import ORGANIZATION, THERE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lessor_daemon.bootstrap import Bootstrap, GroupSpec
    from lessor_daemon.store.store import Store

    from .changes import Changes
    from .licenses import Fields, Licenses

DEFAULT_ORGANIZATION = OrganizationSpec(
    slug="default",
    name="Default",
    members=(MemberSpec("owner@localhost", "owner"),),
    licenses=(LicenseSpec("kre", "floating", 5, 5, DEFAULT_TTL_MS, None),),
)
OPERATOR_KEY_FILE = "operator.key"
OWNER_KEY_FILE = "owner.key"


class Bootstrapping:
    """Every method may raise ``StoreUnavailable`` or ``Problem``, and may be called again."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        licenses: Licenses,
        wall_ms: Callable[[], int],
        *,
        max_ttl_ms: int,
    ) -> None:
        self._store = store
        self._changes = changes
        self._licenses = licenses
        self._wall_ms = wall_ms
        self._max_ttl_ms = max_ttl_ms
        self._applied: set[str] = set()
        """The organizations that need not be applied again."""
        self._put_there: set[str] = set()
        """Those that were not there when this began, be it in an attempt before."""

    async def apply(self, bootstrap: Bootstrap, *, anew: bool = True) -> list[str]:
        """Make the store have what the file says. Answers the organizations that were left out.

        That is only where the store has organizations already: servers of others are there. Unless
        it is to be done ``anew``, only what was left out is applied: what an admin has said of the
        others since stays.
        """
        if anew:
            self._applied, self._put_there = set(), set()
        listed = set(await stored.organizations(self._store))
        specs = {one.slug: one for one in bootstrap.organizations if one.slug not in self._applied}

        async def apply_one(slug: str) -> None:
            # A Cluster's server may have lost it alone, and another one still lists it.
            if slug not in listed or await stored.organization_name(self._store, slug) is None:
                self._put_there.add(slug)
            # What puts an organization there is no word against what was said of it at run time:
            # the store may have been emptied. A value that is changed in one that is there is.
            await self._apply_organization(specs[slug], is_silent=slug in self._put_there)
            self._applied.add(slug)

        failed = await for_each(specs, apply_one)
        for error in failed.values():
            if not listed or not is_unavailable(error):
                raise error
        return list(failed)

    async def _apply_organization(self, spec: OrganizationSpec, *, is_silent: bool) -> None:
        await self._apply_members(spec, is_silent=is_silent)
        for license in spec.licenses:
            await self._apply_license(spec.slug, license, is_silent=is_silent)
        for key in spec.keys:
            await self._apply_key(spec.slug, key, is_silent=is_silent)
        # Last: an organization that is listed is complete.
        await stored.list_organization(self._store, spec.slug)

    async def first_start(self, data_dir: Path) -> list[Path]:
        """Make the operator's key, and an organization to begin with where there is none.

        Returns the key files that were made, in ``data_dir`` with mode 0600.
        """
        made = []
        if not await stored.api_keys(self._store, ""):
            path = data_dir / OPERATOR_KEY_FILE
            await self._apply_key("", _key_spec("operator", frozenset({OPERATOR}), None, path))
            made.append(path)
        if not await stored.organizations(self._store):
            path = data_dir / OWNER_KEY_FILE
            member = DEFAULT_ORGANIZATION.members[0].email
            spec = _key_spec("owner", frozenset({RUN, READ, ADMIN}), member, path)
            # The key first: an organization that is there is complete.
            await self._apply_key(DEFAULT_ORGANIZATION.slug, spec)
            await self._apply_organization(self._default_organization(), is_silent=True)
            made.append(path)
        return made

    def _default_organization(self) -> OrganizationSpec:
        (license,) = DEFAULT_ORGANIZATION.licenses
        allowed = replace(license, ttl_ms=min(license.ttl_ms, self._max_ttl_ms))
        return replace(DEFAULT_ORGANIZATION, licenses=(allowed,))

    async def _apply_members(self, organization: OrganizationSpec, *, is_silent: bool) -> None:
        slug = organization.slug

        async def decide() -> Plan[None]:
            edits = []
            name = await stored.organization_name(self._store, slug)
            if name != organization.name:
                edits.append(Edit(key_names.organization(slug), "name", organization.name))
            members = await stored.members(self._store, slug)
            after = {}
            for spec in organization.members:
                known = members.get(spec.email)
                if known is None or known.role != spec.role:
                    since = known.since_wall_seconds if known else self._wall_ms() // 1000
                    edits.append(Member(spec.email, spec.role, since).edit(slug))
                    after[spec.email] = spec.role
            shown = {"name": organization.name, "members": after}
            removed = await facts.fact(self._store, slug, ORGANIZATION) if name is None else None
            return Plan(
                None,
                "bootstrap.organization",
                slug,
                None,
                shown,
                edits,
                # One that the operator removed and the file still has begins anew.
                facts={ORGANIZATION: (0, THERE)} if removed else {},
                is_silent=is_silent,
            )

        await self._changes.make(slug, BOOTSTRAP, decide)

    async def _apply_license(self, org: str, spec: LicenseSpec, *, is_silent: bool) -> None:
        machines = UNLIMITED if spec.machines is None else spec.machines
        fields: Fields = {
            "kind": spec.kind,
            "seats": spec.seats,
            "machines": AS_SEATS if machines == spec.seats else machines,
            "ttl": spec.ttl_ms,
        }
        if spec.expires is not None:
            fields["expires"] = int(spec.expires.timestamp())
        if spec.idle_seconds is not None:
            fields["idle"] = spec.idle_seconds
        if spec.groups:
            fields["policy"] = pack_policy(_group(one) for one in spec.groups)
        if spec.name not in await leases.license_names(self._store, org):
            try:
                await self._licenses.add(
                    BOOTSTRAP, org, spec.name, fields, force=True, is_silent=is_silent
                )
            except Problem:
                # Another daemon, which fills the same store, may have been quicker.
                if spec.name not in await leases.license_names(self._store, org):
                    raise
            else:
                return
        await self._licenses.change(
            BOOTSTRAP, org, spec.name, fields, force=True, is_silent=is_silent
        )

    async def _apply_key(self, org: str, spec: KeySpec, *, is_silent: bool = True) -> None:
        key_id, digest = _read_secret(spec)
        known = _known(await stored.api_keys(self._store, org), spec, key_id)
        if not key_id:
            # A revocation that names no secret: it needs a key to revoke.
            if known is None:
                return
            key_id = known.key_id
        taken = await stored.find_key(self._store, key_id)
        is_ours = taken is None or (taken.org, taken.name) == (org, spec.name)
        if not is_ours or not await stored.place_key(self._store, key_id, org):
            raise Problem("conflict", f"the id of key {spec.name!r} belongs to another key")
        if not org:
            await stored.put_operator_key(
                self._store, self._record(org, spec, key_id, digest, known)
            )
            return
        replaced: list[str] = []

        async def decide() -> Plan[None]:
            # Read anew: it may have been rotated or revoked a moment ago, by another daemon.
            known = _known(await stored.api_keys(self._store, org), spec, key_id)
            record = self._record(org, spec, key_id, digest, known)
            edits = [] if known == record else [record.edit()]
            replaced[:] = [known.key_id] if known is not None and known.key_id != key_id else []
            edits += [Edit(key_names.api_keys(org), one) for one in replaced]
            after = {"name": record.name, "scopes": sorted(record.scopes), "state": record.state}
            return Plan(None, "bootstrap.key", key_id, None, after, edits, is_silent=is_silent)

        await self._changes.make(org, BOOTSTRAP, decide)
        await stored.forget_key_places(self._store, replaced)

    def _record(
        self, org: str, spec: KeySpec, key_id: str, digest: bytes, known: KeyRecord | None
    ) -> KeyRecord:
        """The key as the file wants it; what the file leaves open stays as it is.

        A secret that stands in the file as it did when the file was applied last says nothing new:
        the key may have been rotated since, because somebody else has read it.
        """
        made = KeyRecord(
            key_id=key_id,
            org=org,
            name=spec.name,
            member=spec.member or "",
            scopes=spec.scopes,
            digest=digest,
            expires_wall_seconds=int(spec.expires.timestamp()) if spec.expires else 0,
            state=REVOKED if spec.revoked else "",
            created_wall_seconds=known.created_wall_seconds if known else self._wall_ms() // 1000,
            file_digest=digest,
        )
        if known is None or known.key_id != key_id:
            return made
        is_same_secret = digest in (b"", known.file_digest, known.digest)
        return replace(
            known,
            name=made.name,
            member=made.member,
            scopes=made.scopes,
            expires_wall_seconds=made.expires_wall_seconds or known.expires_wall_seconds,
            state=known.state if spec.revoked is None else made.state,
            digest=known.digest if is_same_secret else digest,
            old_digest=known.old_digest if is_same_secret else b"",
            old_until_wall_seconds=known.old_until_wall_seconds if is_same_secret else 0,
            file_digest=digest or known.file_digest,
        )


def _read_secret(spec: KeySpec) -> tuple[str, bytes]:
    """Id and digest of the file's secret, which is made where it should be; empty for none."""
    secret = spec.secret
    if secret is None and spec.secret_file is not None:
        if not spec.secret_file.exists():
            write_private(spec.secret_file, api_keys.make_api_key() + "\n")
        secret = spec.secret_file.read_text(encoding="ascii").strip()
    if secret is None:
        return "", b""
    key_id, plain = split_api_key(secret)
    return key_id, api_keys.digest(plain)


def _known(records: list[KeyRecord], spec: KeySpec, key_id: str) -> KeyRecord | None:
    """The key that the file means: by its id, else by its name the one that came from a file.

    Never somebody's own key that merely has the same name.
    """
    named = [one for one in records if one.name == spec.name]
    candidates = [
        *(one for one in records if one.key_id == key_id),
        *(one for one in named if one.file_digest),
        *(one for one in named if one.member == (spec.member or "")),
    ]
    return next(iter(candidates), None)


def _group(spec: GroupSpec) -> Group:
    return Group(spec.name, spec.label, spec.value, spec.head_start_ms, spec.reserve, spec.cap)


def _key_spec(name: str, scopes: frozenset[str], member: str | None, path: Path) -> KeySpec:
    return KeySpec(name, scopes, member, None, path, None)
