"""Messages between the parent of the workers and one worker, over a socket pair only they have.

Each message is a kind and a body, pickled behind its length. Both ends are the same program started
by the same parent, and nobody else has the socket; so pickle is no door here. The end of the
channel is the end of the other process.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from .config import Config
    from .leasing.memory import Remembered

ASSIGNMENT = "assignment"
"""Parent to worker, first and once: an ``Assignment``."""
PREPARED = "prepared"
"""Parent to worker: the store is prepared, open the doors. Worker to parent: they are open."""
REPORT = "report"
"""Parent to worker: a number, to be given back in front of the worker's metrics."""
COLLECT = "collect"
"""Worker to parent: a number and its own metrics; the answer is the number and those of all."""

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True)
class Assignment:
    """All that a worker is told at its start; nothing of it stands in arguments or environment."""

    number: int
    config: Config
    listener_fd: int
    ops_listener_fd: int | None
    store_url: str
    secret: bytes
    clocks: Mapping[str, Remembered]
    data_is_copy: bool
    administration: Path


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Speak over ``end``, which belongs to the channel from then on."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, kind: str, body: object = None) -> None:
        """Send without waiting; nothing if the other process has ended."""
        if self._writer.is_closing():  # to write nonetheless is an error of uvloop's
            return
        packed = pickle.dumps((kind, body))
        self._writer.write(_LENGTH.pack(len(packed)) + packed)

    async def receive(self) -> tuple[str, Any]:
        """The next message. Raises ``EOFError`` when the other process has ended."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            packed = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise EOFError("the other process has ended") from error
        return _unpack(packed)

    def close(self) -> None:
        """End it; the other side notices at once."""
        self._writer.close()


def receive_first(end: socket.socket) -> tuple[str, Any]:
    """The first message, before there is an event loop. Raises ``EOFError``."""
    (length,) = _LENGTH.unpack(_read(end, _LENGTH.size))
    return _unpack(_read(end, length))


def _read(end: socket.socket, size: int) -> bytes:
    # Not a byte beyond: what follows belongs to the channel.
    found = bytearray()
    while len(found) < size:
        part = end.recv(size - len(found))
        if not part:
            raise EOFError("the other process has ended")
        found += part
    return bytes(found)


def _unpack(packed: bytes) -> tuple[str, Any]:
    message: tuple[str, Any] = pickle.loads(packed)  # noqa: S301  # see the module
    return message
