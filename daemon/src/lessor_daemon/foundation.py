"""What a daemon has once, however many processes serve.

The data directory and its lock, the secret, what is remembered of the lease clocks, the listening
sockets and the embedded store's child.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from . import logs
from .data_dir import load_or_make_secret, prepare_data_dir
from .directory.memory import Memory
from .directory.memory import memory_path as memory_of
from .http.server import listen, urls_of
from .leasing.memory import ClockMemory, memory_path
from .store.embedded import EmbeddedStore

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from .config import Config

_log = logs.get_logger("lessor.daemon")


@dataclass(frozen=True)
class Foundation:
    """What serving processes stand on. ``store_url`` names the embedded store's socket, too."""

    listener: socket.socket
    ops_listener: socket.socket | None
    store_url: str
    secret: bytes
    memory: ClockMemory
    administration: Memory

    @property
    def urls(self) -> dict[str, str]:
        """Where the daemon can be reached from this machine; see ``urls_of``."""
        return urls_of(self.listener, self.ops_listener)


@contextlib.asynccontextmanager
async def laid(config: Config) -> AsyncIterator[Foundation]:
    """Lay it in this order, and take it away in the other one. Raises ``ConfigurationError``.

    The lock comes before the memory is read: the memory belongs to who holds the lock. The sockets
    come before the store's child: a daemon whose port is taken should start nothing.
    """
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.to_thread(prepare_data_dir, config.data_dir)
        embedded = EmbeddedStore(config.data_dir, logs.get_logger("lessor.store"))
        if config.is_embedded:
            stack.push_async_callback(embedded.stop)
            await embedded.lock()
        secret = await asyncio.to_thread(load_or_make_secret, config.secret_file)
        external_url = None if config.is_embedded else config.store
        memory = ClockMemory(memory_path(config.data_dir, external_url))
        await asyncio.to_thread(memory.load)
        administration = Memory(memory_of(config.data_dir, external_url))
        if config.new_store:
            # The operator's word: what was remembered is about another store.
            await asyncio.to_thread(administration.forget)
        listener = await listen(config.listen, "listen")
        stack.callback(listener.close)
        ops_listener = None
        if config.ops_listen is not None:
            ops_listener = await listen(config.ops_listen, "ops_listen")
            stack.callback(ops_listener.close)
        _log.info("listening", **urls_of(listener, ops_listener))
        if config.is_embedded:
            await embedded.start()
        yield Foundation(
            listener=listener,
            ops_listener=ops_listener,
            store_url=external_url or "unix://" + quote(str(embedded.socket_path)),
            secret=secret,
            memory=memory,
            administration=administration,
        )
