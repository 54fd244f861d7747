"""Connections of the load generator: what each sends next, and when an answer is whole.

One request is under way on each at a time. ``worth`` is how many operations its answer stands for;
answers that are not ``counted`` stand for none, and their time is not taken.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import hiredis
import msgpack
from lessor_protocol import frames
from lessor_protocol.lease_id import format_lease_id

from . import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK_EVERY = 64
"""Every answer is counted; one in so many is read."""
_PING, _PONG, _BINARY = 9, 10, 2


class WrongAnswer(Exception):
    """The server did not do what it was measured for."""


def connect(address: str, port: int, source: str = "") -> socket.socket:
    """A connection; ``source`` is the address it comes from."""
    made = socket.socket()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        made.bind((source, 0))
    made.connect((address, port))
    return made


class Connection(ABC):
    """One connection and what is under way on it."""

    worth = 1
    counted = True
    at_rest = True
    """Whether it may end after this answer, with nothing left behind on the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.started = 0.0
        self._rest = b""
        self._answers = 0

    @abstractmethod
    def next_request(self) -> bytes:
        """What to send now."""

    @abstractmethod
    def feed(self, data: bytes) -> bool:
        """Whether ``data`` completes the answer."""

    def _is_to_be_read(self) -> bool:
        self._answers += 1
        return self._answers % CHECK_EVERY == 1


class Http(Connection):
    """The same HTTP request again and again."""

    def __init__(self, sock: socket.socket, request: bytes, wanted: bytes) -> None:
        super().__init__(sock)
        self._request = request
        self._wanted = wanted

    def next_request(self) -> bytes:
        return self._request

    def feed(self, data: bytes) -> bool:
        found = wire.split_answer(self._rest + data)
        if found is None:
            self._rest += data
            return False
        status, body, self._rest = found
        if status != 200 or (self._is_to_be_read() and self._wanted not in body):
            raise WrongAnswer(f"{status} {body[:200]!r}")
        return True


class Stream(Connection):
    """A WebSocket. Subclasses say what is sent on it."""

    def __init__(self, sock: socket.socket, path: str, key: str) -> None:
        super().__init__(sock)
        sock.sendall(wire.upgrade_request(path, key))
        head = b""
        while b"\r\n\r\n" not in head:
            part = sock.recv(4096)
            if not part:
                break
            head += part
        if not head.startswith(b"HTTP/1.1 101"):
            raise WrongAnswer(head[:300].decode(errors="replace"))

    def feed(self, data: bytes) -> bool:
        found, self._rest = wire.split_frames(self._rest + data)
        is_answered = False
        for opcode, payload in found:
            if opcode == _BINARY:
                self.take(payload)
                is_answered = True
            elif opcode == _PING:
                self.sock.sendall(wire.socket_frame(payload, _PONG))
            else:
                raise WrongAnswer(f"frame of kind {opcode}: {payload!r}")
        return is_answered

    @abstractmethod
    def take(self, payload: bytes) -> None:
        """Look at an answer."""


class RenewStream(Stream):
    """Renews the same leases again and again; an echo is an answer too."""

    def __init__(
        self, sock: socket.socket, path: str, key: str, ids: list[bytes], *, is_echo: bool
    ) -> None:
        super().__init__(sock, path, key)
        self._frame = wire.renew_frame(ids)
        self._is_echo = is_echo
        self._size = len(ids)
        self.worth = len(ids)

    def next_request(self) -> bytes:
        return self._frame

    def take(self, payload: bytes) -> None:
        if self._is_to_be_read() and not self._is_echo:
            _, status, body = frames.decode_from_server(payload)
            if status != 200 or not isinstance(body, dict) or len(body["renewed"]) != self._size:
                raise WrongAnswer(f"{status} {body}")


class AcquireReleaseStream(Stream):
    """Acquires and releases new leases in turn. Of each pair the acquire counts."""

    def __init__(
        self, sock: socket.socket, path: str, key: str, license: str, numbers: Iterator[int]
    ) -> None:
        super().__init__(sock, path, key)
        self._license = license
        self._numbers = numbers
        self._held = ""

    def next_request(self) -> bytes:
        if self._held:
            body: dict[str, object] = {"id": self._held}
            return wire.socket_frame(frames.encode(2, frames.RELEASE, body))
        number = next(self._numbers)
        self._held = format_lease_id(wire.lease_id(number))
        body = {
            "id": self._held,
            "license": self._license,
            "machine": {"id": f"machine-{number % 1000}"},
            "process": {"pid": 4711, "command": "pytest -q", "user": "ada"},
            "labels": {"branch": "main"},
        }
        return wire.socket_frame(frames.encode(1, frames.ACQUIRE, body))

    def take(self, payload: bytes) -> None:
        seq, status, body = msgpack.unpackb(payload)
        if (seq, status) not in ((1, 201), (2, 204)):
            raise WrongAnswer(f"{status} {body}")
        self.counted = seq == 1
        self.at_rest = seq == 2
        if not self.counted:
            self._held = ""


class Redis(Connection):
    """Rounds of packed commands on Redis itself; a round's answers count as one."""

    def __init__(
        self, sock: socket.socket, rounds: Iterator[bytes], a_round: int, worth: int
    ) -> None:
        super().__init__(sock)
        self._rounds = rounds
        self._a_round = a_round
        self._missing = a_round
        self._reader = hiredis.Reader()
        self.worth = worth

    def next_request(self) -> bytes:
        return next(self._rounds)

    def feed(self, data: bytes) -> bool:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise WrongAnswer(str(reply))
            if self._is_to_be_read() and reply[0] not in (b"granted", b"released", b"renewed"):
                raise WrongAnswer(str(reply))
            self._missing -= 1
        if self._missing:
            return False
        self._missing = self._a_round
        return True
