"""A non-blocking TCP connection whose waits belong to the caller.

``wait(fd, for_write, until_ms)`` returns when ``fd`` is ready and raises ``TimedOut`` at
``until_ms`` (``CLOCK_BOOTTIME``). The agent passes one that serves its own descriptors
meanwhile and may raise to abort the request.
"""

from __future__ import annotations

import errno
import os
import select
import socket

from .clock import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    A = TypeVar("A")
    T = TypeVar("T")
    Wait = Callable[[int, bool, int], None]
    Address = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
    """Address family and socket address."""

_RECEIVE_BYTES = 65_536
_LONGEST_POLL_MS = 250
# A poll's own time-out stands still while the machine is suspended; short ones notice the resume.


class TimedOut(Exception):
    """The time for this was up."""


def poll_wait(fd: int, for_write: bool, until_ms: int) -> None:
    """Wait for ``fd`` alone."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT if for_write else select.POLLIN)
    while True:
        left_ms = until_ms - now_ms()
        if poller.poll(max(0, min(left_ms, _LONGEST_POLL_MS))):
            return
        if left_ms <= 0:
            raise TimedOut


def dial(address: Address, wait: Wait, until_ms: int) -> Connection:
    """Connect to one address. Raises ``OSError`` or ``TimedOut``."""
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    connected = False
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(target)
        if code in (errno.EINPROGRESS, errno.EINTR):
            wait(sock.fileno(), True, until_ms)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        connected = True
        return Connection(sock, wait)
    finally:
        if not connected:
            sock.close()


class Connection:
    """A connected socket. ``tls.TlsConnection`` is one with TLS on it."""

    def __init__(self, sock: socket.socket, wait: Wait) -> None:
        self.sock = sock
        self.wait = wait

    def send(self, data: bytes, until_ms: int) -> None:
        """Send all of ``data``. Raises ``OSError`` or ``TimedOut``."""
        view = memoryview(data)
        while view:
            view = view[self._when_ready(self.sock.send, view, select.POLLOUT, until_ms) :]

    def receive(self, until_ms: int) -> bytes:
        """Some bytes, none at the end of the stream. Raises ``OSError`` or ``TimedOut``."""
        return self._when_ready(self.sock.recv, _RECEIVE_BYTES, select.POLLIN, until_ms)

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self.sock.close()

    def _when_ready(self, call: Callable[[A], T], argument: A, event: int, until_ms: int) -> T:
        while True:
            try:
                return call(argument)
            except (BlockingIOError, InterruptedError):
                self.wait(self.sock.fileno(), event == select.POLLOUT, until_ms)
