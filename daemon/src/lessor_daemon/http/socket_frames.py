"""The frames of a WebSocket (RFC 6455): those of a client taken apart, those of ours written.

aiohttp's reader takes bytes apart. It was made to fill a queue that a task empties; here it fills a
list, so that who feeds it has the messages at once, without a task to wake (ADR 0010). A server's
frames are not masked, which leaves a header of 2 to 10 bytes (5.2).
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

from aiohttp import WebSocketError, WSCloseCode, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http_websocket import WebSocketReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.base_protocol import BaseProtocol

    Message = tuple[WSMsgType, Any, Any]
    """Its kind, its data, and for a close the reason that was given."""

_BINARY = 0x82  # the last fragment of a binary message, and the only one
_CLOSE = 0x88
_PING = 0x89
_PONG = 0x8A
_MEDIUM = struct.Struct("!BBH").pack
_LARGE = struct.Struct("!BBQ").pack

PING = bytes((_PING, 0))
"""A whole ping."""


class _Arrived(WebSocketDataQueue):
    """In place of aiohttp's queue: what has arrived is taken by who fed the reader."""

    __slots__ = ("messages",)

    def __init__(self, protocol: BaseProtocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(protocol, 0, loop=loop)
        self.messages: list[Message] = []

    def feed_data(self, data: Message, size: int) -> None:  # noqa: ARG002  # aiohttp's signature
        self.messages.append(data)


class FrameReader:
    """Takes one client's bytes apart, in whatever pieces they come."""

    __slots__ = ("_arrived", "_reader")

    def __init__(self, most_bytes: int) -> None:
        # It only pauses and resumes the protocol when it keeps messages, and it keeps none.
        nobody: Any = None
        self._arrived = _Arrived(nobody, asyncio.get_running_loop())
        self._reader = WebSocketReader(self._arrived, most_bytes, compress=False, decode_text=False)

    def feed(self, data: bytes) -> Sequence[Message]:
        """The messages that are whole with ``data``, in order; pings and closes are among them.

        The last one is of the kind ``ERROR``, with the close code to answer with, where what
        arrived is no WebSocket; what follows cannot be read any more.
        """
        failed, _ = self._reader.feed_data(data)
        arrived = self._arrived.messages
        if failed:
            error = self._arrived.exception()
            code = error.code if isinstance(error, WebSocketError) else WSCloseCode.PROTOCOL_ERROR
            arrived.append((WSMsgType.ERROR, int(code), None))
        if arrived:
            self._arrived.messages = []
        return arrived


def binary(payload: bytes) -> bytes:
    """A binary message."""
    return _header(_BINARY, len(payload)) + payload


def pong(payload: bytes) -> bytes:
    """The answer to a ping."""
    return bytes((_PONG, len(payload))) + payload


def close(code: int) -> bytes:
    """The last frame of a connection."""
    return bytes((_CLOSE, 2)) + code.to_bytes(2, "big")


def _header(first_byte: int, length: int) -> bytes:
    if length < 126:
        return bytes((first_byte, length))
    if length < 1 << 16:
        return _MEDIUM(first_byte, 126, length)
    return _LARGE(first_byte, 127, length)
