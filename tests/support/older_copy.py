"""A store as it was a moment ago, as a replica that lags has it when it is promoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


@dataclass(frozen=True)
class OlderCopy:
    """Every key of a store."""

    content: dict[bytes, bytes]

    @classmethod
    async def of(cls, store: Store) -> Self:
        """As the store is now."""
        found: dict[bytes, bytes] = {}
        for name in await store.redis.keys():
            content = await store.redis.dump(name)
            assert isinstance(name, bytes)
            assert content is not None
            found[name] = content
        return cls(found)

    async def put_back(self, store: Store, org: str = "acme") -> None:
        """Promote it: the scripts see another replication id than they knew."""
        await store.redis.flushall()
        for name, content in self.content.items():
            await store.redis.restore(name, 0, content)
        await store.redis.hset(f"{{{org}}}:clock", "replid", "before")
