"""Offline licenses in the store, and the scripts that take and free their seats."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgpack

from . import facts, keys, lua
from .scripts import read_reply

if TYPE_CHECKING:
    from .facts import Facts
    from .scripts import Context, Reading
    from .store import Store

_ISSUE = lua.load("issue")
_RETURN = lua.load("return")

ISSUED = "issued"
FULL = "full"
MACHINES_FULL = "machines_full"


@dataclass(frozen=True, slots=True)
class OfflineRecord:
    """An offline license that was issued. ``returned`` 0 means not; times are wall clock seconds.

    ``return_key`` is the public half of what the file signs its receipt with.
    """

    serial: str
    license: str
    machine: str
    seats: int
    issued: int
    issued_by: str
    expires: int
    signing_key: str
    return_key: bytes
    returned: int = 0

    def pack(self) -> bytes:
        """As it is stored."""
        packed: bytes = msgpack.packb(asdict(self))
        return packed


@dataclass(frozen=True, slots=True)
class Issued:
    """``status``: ``ISSUED``; ``FULL``, ``MACHINES_FULL``, ``RECOVERING``, ``unknown_license``."""

    status: str
    available: int
    version: int


async def issue(
    store: Store,
    org: str,
    context: Context,
    record: OfflineRecord,
    *,
    change_id: bytes,
    entry: bytes,
    said: Facts,
    is_forgotten: bool = False,
) -> tuple[Reading, Issued]:
    """Take the seats; those of a file that ``is_forgotten`` by the store, whatever is free."""
    status, reading, (available, version) = read_reply(
        await store.call_durably(
            _ISSUE,
            org,
            [
                context.words(),
                record.license,
                record.serial,
                record.machine,
                record.seats,
                record.expires,
                record.issued,
                record.pack(),
                change_id,
                entry,
                facts.pack(said),
                int(is_forgotten),
            ],
        )
    )
    return reading, Issued(ISSUED if status == "repeated" else status, available, version)


async def give_back(
    store: Store,
    org: str,
    context: Context,
    record: OfflineRecord,
    *,
    change_id: bytes,
    entry: bytes,
    said: Facts,
) -> tuple[Reading, int, int]:
    """Free the seats early; ``record`` says when it was returned.

    Says how many became free, and the version.
    """
    _, reading, (freed, version) = read_reply(
        await store.call_durably(
            _RETURN,
            org,
            [
                context.words(),
                record.license,
                record.serial,
                record.seats,
                record.pack(),
                change_id,
                entry,
                facts.pack(said),
            ],
        )
    )
    return reading, freed, version


async def find(store: Store, org: str, serial: str) -> OfflineRecord | None:
    """One."""
    packed = await store.attempt(lambda: store.redis.hget(keys.offline(org), serial))
    return OfflineRecord(**msgpack.unpackb(packed)) if packed else None


async def records(store: Store, org: str) -> list[OfflineRecord]:
    """All, in the order they were issued."""
    found = await store.attempt(lambda: store.redis.hvals(keys.offline(org)))
    made = [OfflineRecord(**msgpack.unpackb(packed)) for packed in found]
    return sorted(made, key=lambda record: (record.issued, record.serial))


async def holding(store: Store, org: str, license: str, most: int) -> list[OfflineRecord]:
    """Up to ``most`` that hold seats of one license, the first to expire first."""
    held = await store.attempt(
        lambda: store.redis.zrange(keys.offline_seats(org, license), 0, most - 1)
    )
    if not held:
        return []
    serials = [member.rpartition(b":")[0] for member in held]
    found = await store.attempt(lambda: store.redis.hmget(keys.offline(org), serials))
    return [OfflineRecord(**msgpack.unpackb(packed)) for packed in found if packed]


async def put_signing_key(store: Store, key_id: str, packed: bytes) -> None:
    """Publish the public half of a signing key."""
    await store.attempt(lambda: store.redis.hset(keys.SIGNING_KEYS, key_id, packed))


async def signing_keys(store: Store) -> dict[str, bytes]:
    """Key id → what ``put_signing_key`` was given."""
    found = await store.attempt(lambda: store.redis.hgetall(keys.SIGNING_KEYS))
    return {key_id.decode(): packed for key_id, packed in found.items()}
