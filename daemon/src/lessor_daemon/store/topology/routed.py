"""A Redis client that asks, for each command, which server holds the key.

It follows no redirection by itself: who a server says is the owner is one voice, and the router
has asked a majority.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio.client import PubSub

    Command = tuple[tuple[Any, ...], Mapping[str, Any]]

_KEY_AT = {"EVAL": 3, "EVALSHA": 3}
_KEYLESS = frozenset({"WAIT", "WAITAOF"})
_COUNTED = frozenset({"DEL", "UNLINK", "EXISTS"})
"""Commands of several keys, in any slots, that answer how many."""


class Routed(Redis):
    """``route(key)`` answers the client of the server that a command on ``key`` goes to.

    Commands whose key stands first, scripts, and pipelines without a transaction. A pipeline over
    several servers is several: each runs in order, one beside the other.
    """

    def __init__(self, route: Callable[[bytes], Redis]) -> None:
        super().__init__()
        self._route = route

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # redis has no types for replies
        """Send one command to the server that holds its key."""
        if str(args[0]).upper() in _COUNTED and len(args) > 2:
            pipeline = self.pipeline(transaction=False)
            for key in args[1:]:
                pipeline.execute_command(args[0], key)
            return sum(await pipeline.execute())
        client = self._route(key_of(args))
        return await client.execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis leaves it untyped

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """A pipeline over all servers; a transaction over several cannot be had."""
        if transaction or shard_hint is not None:
            raise ValueError("a routed pipeline has no transaction")
        return RoutedPipeline(self, self._route)

    def pubsub(self, **options: Any) -> PubSub:  # noqa: ANN401  # as redis has it
        """On the server that holds the empty key; in a Cluster any node hears all channels."""
        return self._route(b"").pubsub(**options)


class RoutedPipeline(Pipeline):
    """Commands staged for the servers that hold their keys."""

    def __init__(self, routed: Routed, route: Callable[[bytes], Redis]) -> None:
        super().__init__(
            routed.connection_pool, routed.response_callbacks, transaction=False, shard_hint=None
        )
        self._route = route

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send all and answer in the order they were staged."""
        stack: list[Command] = list(self.command_stack)
        self.command_stack = []
        parts: dict[Redis, list[int]] = {}
        client: Redis | None = None
        for i, (args, _) in enumerate(stack):
            # WAIT is about what the command before it wrote.
            if client is None or args[0] not in _KEYLESS:
                client = self._route(key_of(args))
            parts.setdefault(client, []).append(i)
        answers: list[Any] = [None] * len(stack)
        for client, places in parts.items():
            pipeline = client.pipeline(transaction=False)
            pipeline.command_stack = [stack[i] for i in places]
            replies = await pipeline.execute(raise_on_error=raise_on_error)
            for i, reply in zip(places, replies, strict=True):
                answers[i] = reply
        return answers


def key_of(command: tuple[Any, ...]) -> bytes:
    """The key that says where a command belongs; empty for one without."""
    name = str(command[0]).upper()
    at = _KEY_AT.get(name, 1)
    if name in ("XREAD", "XREADGROUP"):
        at = next(i for i, word in enumerate(command) if word in ("STREAMS", b"STREAMS")) + 1
    if len(command) <= at:
        return b""
    key = command[at]
    return key if isinstance(key, bytes) else str(key).encode()
