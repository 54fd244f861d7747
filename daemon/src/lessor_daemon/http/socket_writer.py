"""Writing WebSocket messages without ever waiting.

aiohttp's own ``send_bytes`` waits when a client does not read, and the one who waits would be the
task that answers a whole batch of renewals: one slow reader would hold up five hundred others. So
messages go to the transport at once, what is not sent yet is counted, and the connection's own
reader is the one who waits. A server's frames are not masked, which leaves a header of 2 to 10
bytes (RFC 6455, 5.2).
"""

from __future__ import annotations

import asyncio
import struct

MOST_UNSENT_BYTES = 256 * 1024
"""With more than this unsent, no further request of the connection is read."""
SLOW_SECONDS = 10.0
"""A client that has taken too little for so long is cut off."""
_LOOK_EVERY_SECONDS = 0.05

_BINARY = 0x82  # the last fragment of a binary message, and the only one
_CLOSE = 0x88
_MEDIUM = struct.Struct("!BBH").pack
_LARGE = struct.Struct("!BBQ").pack


class SocketWriter:
    """The sending side of one WebSocket."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, payload: bytes) -> None:
        """Send a binary message; nothing once the connection is closing."""
        if not self._transport.is_closing():
            self._transport.write(_header(_BINARY, len(payload)) + payload)

    def close(self, code: int) -> None:
        """Send what is unsent, then the close code, and close the connection."""
        if not self._transport.is_closing():
            self._transport.write(_header(_CLOSE, 2) + code.to_bytes(2, "big"))
            self._transport.close()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        """What the client has not made room for."""
        return self._transport.get_write_buffer_size()

    @property
    def is_full(self) -> bool:
        """Whether too much is unsent."""
        return self.unsent_bytes > MOST_UNSENT_BYTES

    async def empties(self) -> bool:
        """Wait until there is room again; False if that takes too long."""
        deadline = asyncio.get_running_loop().time() + SLOW_SECONDS
        while self.is_full:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        return True


def _header(first_byte: int, length: int) -> bytes:
    if length < 126:
        return bytes((first_byte, length))
    if length < 1 << 16:
        return _MEDIUM(first_byte, 126, length)
    return _LARGE(first_byte, 127, length)
