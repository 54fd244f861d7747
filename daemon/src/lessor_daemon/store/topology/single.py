"""One server at one address. What stands behind the address is the operator's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clients import close_client
from .collected import Collected

if TYPE_CHECKING:
    import asyncio

    from redis.asyncio import Redis


class SingleServer:
    """A store of one server."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.answer_ms: int | None = None
        self._collected = Collected(redis)

    async def execute(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # redis has no types for replies
        """One command, together with those that begin at the same time."""
        return await self._collected.execute(*command)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Nothing to watch."""

    def has_replicas(self, key: str) -> bool:  # noqa: ARG002  # all keys are here
        """What stands behind the address is not known."""
        return False

    def doubt(self) -> None:
        """There is nobody else to ask."""

    async def servers(self) -> dict[str, Redis]:
        """The one."""
        return {"": self.redis}

    async def close(self) -> None:
        """Close all connections."""
        await self._collected.close()
        await close_client(self.redis)
