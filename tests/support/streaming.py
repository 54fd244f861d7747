"""The stream by hand: a WebSocket client that can also say what no decent client says."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import struct
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgpack

from .calls import Answer, wish

if TYPE_CHECKING:
    from types import TracebackType

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SUBPROTOCOL = "lessor.v1"


class Refused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, status: int, head: str, body: bytes) -> None:
        super().__init__(head)
        self.status = status
        self.head = head
        self.body = body


class Closed(Exception):
    """The server closed; ``code`` 1006 means without a close frame."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class StreamCaller:
    """Calls ``url`` with ``key`` over one stream; one call at a time, replies in any order."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        subprotocol: str | None = SUBPROTOCOL,
        timeout: float = 20.0,
        receive_buffer: int = 0,
        early: bytes = b"",
    ) -> None:
        self.url = url
        parts = urlsplit(url)
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.connect((parts.hostname or "", parts.port or 80))
        self._seqs = itertools.count(1)
        self._replies: dict[int, tuple[int, Any]] = {}
        self.unasked: list[tuple[str, Any]] = []
        self.pongs: list[bytes] = []
        self._received = b""
        try:
            self._upgrade(key, subprotocol, early)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection without a word."""
        self._socket.close()

    def call(self, op: str, body: object) -> Answer:
        """Send a request and wait for its reply."""
        seq = self.begin(op, body)
        return self.reply_to(seq)

    def begin(self, op: str, body: object) -> int:
        """Send a request; its seq."""
        seq = next(self._seqs)
        self.send(BINARY, msgpack.packb([seq, op, body]))
        return seq

    def reply_to(self, seq: int) -> Answer:
        """The reply to the request of this seq. Raises ``Closed``."""
        while seq not in self._replies:
            self.read_frame()
        status, body = self._replies.pop(seq)
        return Answer(status, http.client.HTTPMessage(), body)

    def acquire(self, license: str = "kre", **fields: object) -> Answer:
        """``acquire`` for a new id unless ``id`` is given."""
        return self.call("acquire", wish(license=license, **fields))

    def renew(self, *ids: object) -> Answer:
        """``renew``."""
        return self.call("renew", {"leases": list(ids)})

    def release(self, lease_id: str) -> Answer:
        """``release``."""
        return self.call("release", {"id": lease_id})

    def send(self, opcode: int, payload: bytes) -> None:
        """Send any message."""
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += struct.pack("!BH", 0x80 | 126, length)
        else:
            head += struct.pack("!BQ", 0x80 | 127, length)
        self.send_raw(head + bytes(4) + payload)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that may be no WebSocket frame."""
        self._socket.sendall(data)

    def set_timeout(self, seconds: float) -> None:
        """For each send and receive from now on."""
        self._socket.settimeout(seconds)

    def read_frame(self) -> None:
        """Take in one frame of the server. Raises ``Closed``."""
        opcode, payload = self._read_message()
        if opcode == PING:
            self.send(PONG, payload)
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            raise Closed(int.from_bytes(payload[:2], "big") if payload else 1005)
        else:
            assert opcode == BINARY, "the server sends binary messages only"
            seq, what, body = msgpack.unpackb(payload)
            if seq == 0:
                self.unasked.append((what, body))
            else:
                self._replies[seq] = (what, body)

    def close_code(self) -> int:
        """Read on until the server closes; with which code."""
        while True:
            try:
                self.read_frame()
            except Closed as closed:
                return closed.code

    def _upgrade(self, key: str | None, subprotocol: str | None, early: bytes) -> None:
        lines = [
            "GET /v1/stream HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
        ]
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + early)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read_exactly(1)
        text = head.decode("latin-1")
        status = int(text.split()[1])
        self.head = http.client.parse_headers(_Lines(head))
        if status != 101:
            body = self._read_exactly(int(self.head.get("Content-Length", "0")))
            raise Refused(status, text, body)

    def _read_message(self) -> tuple[int, bytes]:
        first, second = self._read_exactly(2)
        assert not second & 0x80, "a server does not mask"
        length = second
        if second == 126:
            length = int.from_bytes(self._read_exactly(2), "big")
        elif second == 127:
            length = int.from_bytes(self._read_exactly(8), "big")
        return first & 0x0F, self._read_exactly(length)

    def _read_exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            try:
                more = self._socket.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                raise Closed(1006)
            self._received += more
        taken, self._received = self._received[:length], self._received[length:]
        return taken


class _Lines:
    """A head as ``http.client`` wants to read it, without its first line."""

    def __init__(self, head: bytes) -> None:
        self._lines = head.partition(b"\r\n")[2].splitlines(keepends=True)

    def readline(self, _limit: int = -1) -> bytes:
        return self._lines.pop(0) if self._lines else b""
