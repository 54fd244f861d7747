"""Organizations, members and API keys in the store: reading them, and the edits that write them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import msgpack

from . import keys
from .changes import Edit

if TYPE_CHECKING:
    from .store import Store

REVOKED = "revoked"
FINISHING = "finishing"
"""Revoked, but what its sessions hold they may keep until they are done."""


PLACED_AT_ONCE = 50
"""Key ids lie anywhere in a Cluster, each in a call of its own."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member. ``since`` 0 is unknown."""

    email: str
    role: str
    since_wall_seconds: int

    def edit(self, org: str) -> Edit:
        """Writes this member."""
        return Edit(keys.members(org), self.email, f"{self.role} {self.since_wall_seconds}")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key without its secret. ``org`` "" is the operator's; times of 0 mean never.

    ``state`` is "", ``REVOKED`` or ``FINISHING``. After a rotation the secret behind ``old_digest``
    is good until ``old_until``. ``file_digest`` is of the secret that a bootstrap file named last,
    empty for a key that is in none.
    """

    key_id: str
    org: str
    name: str
    member: str
    scopes: frozenset[str]
    digest: bytes
    expires_wall_seconds: int
    state: str = ""
    license: str = ""
    created_wall_seconds: int = 0
    old_digest: bytes = b""
    old_until_wall_seconds: int = 0
    file_digest: bytes = b""

    def edit(self) -> Edit:
        """Writes this key."""
        fields = asdict(self) | {"scopes": sorted(self.scopes)}
        return Edit(keys.api_keys(self.org), self.key_id, msgpack.packb(fields))

    def revoked(self, state: str) -> KeyRecord:
        """The key, revoked; no secret from before a rotation stays good."""
        return replace(self, state=state, old_digest=b"", old_until_wall_seconds=0)

    @classmethod
    def unpack(cls, packed: bytes) -> KeyRecord:
        """Read what ``edit`` wrote."""
        fields = msgpack.unpackb(packed)
        return cls(**(fields | {"scopes": frozenset(fields["scopes"])}))


async def organizations(store: Store) -> list[str]:
    """All slugs, sorted."""
    slugs = await store.attempt(lambda: store.redis.smembers(keys.ORGANIZATIONS))
    return sorted(slug.decode() for slug in slugs)


async def list_organization(store: Store, slug: str) -> None:
    """Make an organization known, after all of it has been written."""
    await store.attempt(lambda: store.redis.sadd(keys.ORGANIZATIONS, slug))


async def unlist_organization(store: Store, slug: str) -> None:
    """The organization is no more."""
    await store.attempt(lambda: store.redis.srem(keys.ORGANIZATIONS, slug))


async def is_listed(store: Store, slug: str) -> bool:
    """Whether the organization is known."""
    return bool(await store.attempt(lambda: store.redis.sismember(keys.ORGANIZATIONS, slug)))


async def organization_name(store: Store, slug: str) -> str | None:
    """The name people see."""
    name = await store.attempt(lambda: store.redis.hget(keys.organization(slug), "name"))
    return name.decode() if name else None


async def members(store: Store, org: str) -> dict[str, Member]:
    """All members by e-mail address, sorted."""
    found = await store.attempt(lambda: store.redis.hgetall(keys.members(org)))
    return {email.decode(): _member(email.decode(), found[email]) for email in sorted(found)}


async def member(store: Store, org: str, email: str) -> Member | None:
    """One member."""
    found = await store.attempt(lambda: store.redis.hget(keys.members(org), email))
    return _member(email, found) if found else None


def _member(email: str, packed: bytes) -> Member:
    role, _, since = packed.decode().partition(" ")
    return Member(email, role, int(since or 0))


async def place_key(store: Store, key_id: str, org: str) -> bool:
    """Say where a key is found, before it is written. False if the id is another organization's."""
    place = keys.key_place(key_id)
    await store.attempt(lambda: store.redis.setnx(place, org))
    found = await store.attempt(lambda: store.redis.get(place))
    return bool(found is not None and found.decode() == org)


async def place_keys(store: Store, key_ids: list[str], org: str) -> list[str]:
    """The same for many; those whose ids are another organization's."""
    refused: list[str] = []
    for start in range(0, len(key_ids), PLACED_AT_ONCE):
        some = key_ids[start : start + PLACED_AT_ONCE]
        placed = await asyncio.gather(*(place_key(store, one, org) for one in some))
        refused += [one for one, is_ours in zip(some, placed, strict=True) if not is_ours]
    return refused


async def forget_key_places(store: Store, key_ids: list[str]) -> None:
    """These keys are no more."""
    if key_ids:
        places = [keys.key_place(key_id) for key_id in key_ids]
        await store.attempt(lambda: store.redis.delete(*places))


async def find_key(store: Store, key_id: str) -> KeyRecord | None:
    """The API key with this id, whichever organization it belongs to."""
    org = await store.attempt(lambda: store.redis.get(keys.key_place(key_id)))
    return await key(store, org.decode(), key_id) if org is not None else None


async def key(store: Store, org: str, key_id: str) -> KeyRecord | None:
    """One API key of an organization."""
    packed = await store.attempt(lambda: store.redis.hget(keys.api_keys(org), key_id))
    return KeyRecord.unpack(packed) if packed else None


async def api_keys(store: Store, org: str) -> list[KeyRecord]:
    """All keys of an organization, sorted by name."""
    found = await store.attempt(lambda: store.redis.hvals(keys.api_keys(org)))
    records = [KeyRecord.unpack(packed) for packed in found]
    return sorted(records, key=lambda record: (record.name, record.key_id))


async def put_operator_key(store: Store, record: KeyRecord) -> None:
    """Write a key of the operator, which belongs to no organization."""
    edit = record.edit()
    await store.attempt(lambda: store.redis.hset(edit.key, edit.field, edit.value))


async def note_key_used(store: Store, org: str, key_id: str, wall_seconds: int) -> None:
    """Remember when a key was last used."""
    await store.attempt(lambda: store.redis.hset(keys.keys_used(org), key_id, str(wall_seconds)))


async def keys_used(store: Store, org: str) -> dict[str, int]:
    """Key id → when it was last used, wall clock seconds."""
    found: dict[Any, Any] = await store.attempt(lambda: store.redis.hgetall(keys.keys_used(org)))
    return {key_id.decode(): int(at) for key_id, at in found.items()}
