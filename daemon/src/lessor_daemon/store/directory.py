"""Organizations, members and API keys in the store. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Store


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key without its secret. ``org`` "" is the operator's; ``expires`` 0 means never."""

    key_id: str
    org: str
    name: str
    member: str
    scopes: frozenset[str]
    digest: bytes
    expires_wall_seconds: int
    revoked: bool


async def organizations(store: Store) -> list[str]:
    """All slugs, sorted."""
    slugs = await store.attempt(lambda: store.redis.smembers(keys.ORGANIZATIONS))
    return sorted(slug.decode() for slug in slugs)


async def put_organization(store: Store, slug: str, name: str, members: Mapping[str, str]) -> None:
    """Create or change an organization; ``members`` (e-mail → role) are added or changed."""

    async def write() -> list[Any]:
        pipeline = store.redis.pipeline(transaction=False)
        pipeline.hset(keys.organization(slug), "name", name)
        for email, role in members.items():
            pipeline.hset(keys.members(slug), email, role)
        # Last: an organization that is listed is complete.
        pipeline.sadd(keys.ORGANIZATIONS, slug)
        return await pipeline.execute()

    await store.attempt(write)


async def organization_name(store: Store, slug: str) -> str | None:
    """The name people see."""
    name = await store.attempt(lambda: store.redis.hget(keys.organization(slug), "name"))
    return name.decode() if name else None


async def role(store: Store, org: str, email: str) -> str | None:
    """A member's role, None for who is not a member."""
    found = await store.attempt(lambda: store.redis.hget(keys.members(org), email))
    return found.decode() if found else None


async def find_key(store: Store, key_id: str) -> KeyRecord | None:
    """The API key with this id."""
    found = await store.attempt(lambda: store.redis.hgetall(keys.api_key(key_id)))
    if not found:
        return None
    return KeyRecord(
        key_id=key_id,
        org=found[b"org"].decode(),
        name=found[b"name"].decode(),
        member=found[b"member"].decode(),
        scopes=frozenset(found[b"scopes"].decode().split()),
        digest=found[b"digest"],
        expires_wall_seconds=int(found[b"expires"]),
        revoked=found[b"revoked"] == b"1",
    )


async def find_key_id(store: Store, org: str, name: str) -> str | None:
    """The id of an organization's key by its name."""
    found = await store.attempt(lambda: store.redis.hget(keys.key_names(org), name))
    return found.decode() if found else None


async def put_key(store: Store, key: KeyRecord, *, replaces: str | None = None) -> None:
    """Create or change a key; ``replaces`` is the id of one of the same name that goes."""

    async def write() -> list[Any]:
        pipeline = store.redis.pipeline(transaction=False)
        pipeline.hset(
            keys.api_key(key.key_id),
            mapping={
                "org": key.org,
                "name": key.name,
                "member": key.member,
                "scopes": " ".join(sorted(key.scopes)),
                "digest": key.digest,
                "expires": key.expires_wall_seconds,
                "revoked": int(key.revoked),
            },
        )
        pipeline.hset(keys.key_names(key.org), key.name, key.key_id)
        if replaces and replaces != key.key_id:
            pipeline.delete(keys.api_key(replaces))
        return await pipeline.execute()

    await store.attempt(write)
