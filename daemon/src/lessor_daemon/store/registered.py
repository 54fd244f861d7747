"""Registered users of named-user licenses, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import keys

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True, slots=True)
class RegisteredUser:
    """A registered user; ``lease_id`` is that of their online session, None without one."""

    email: str
    since_wall_seconds: int
    lease_id: bytes | None


async def users(store: Store, org: str, license: str) -> dict[str, RegisteredUser]:
    """All of one license, by e-mail address, sorted."""
    found = await store.attempt(lambda: store.redis.hgetall(keys.registered(org, license)))
    online = await store.attempt(lambda: store.redis.hgetall(keys.online(org, license)))
    return {
        email.decode(): RegisteredUser(email.decode(), int(found[email]), online.get(email))
        for email in sorted(found)
    }
