"""Host names to addresses, without ever blocking longer than the caller allows.

``getaddrinfo`` blocks for as long as the system's resolver likes, which can be longer than a
lease. So it runs in a thread of its own, and whoever gave up waiting for it finds the answer,
if one came, the next time.
"""

from __future__ import annotations

import _thread
import os
import socket

from .errors import NoAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Address, Wait


class Resolver:
    """The addresses of one host and port."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._pending: _Lookup | None = None

    def lookup(self, wait: Wait, until_ms: int) -> list[Address]:
        """The addresses, best first. Raises ``NoAnswer``, or ``TimedOut`` from ``wait``."""
        literal = _literal(self._host, self._port)
        if literal is not None:
            return [literal]
        if self._pending is None:
            self._pending = _Lookup(self._host, self._port)
        self._pending.wait_for(wait, until_ms)
        lookup, self._pending = self._pending, None
        lookup.close()
        if not lookup.found:
            raise NoAnswer(
                f"the name {self._host} has no address ({lookup.trouble}): "
                "check the URL, or whether this machine may use DNS"
            )
        return lookup.found

    def close(self) -> None:
        """Forget a lookup under way; its thread ends by itself."""
        if self._pending is not None:
            self._pending.close()
            self._pending = None


class _Lookup:
    """One call of ``getaddrinfo`` under way. The pipe's end of file says that it is over."""

    def __init__(self, host: str, port: int) -> None:
        self.found: list[Address] = []
        self.trouble = "no answer"
        self._read_fd, write_fd = os.pipe()
        try:
            _thread.start_new_thread(self._run, (host, port, write_fd))
        except RuntimeError:
            # No thread to be had (a tight pids limit): then blocking is the lesser evil.
            self._run(host, port, write_fd)

    def _run(self, host: str, port: int, write_fd: int) -> None:
        try:
            # As bytes, because text would make Python load its IDNA tables.
            name = host.encode("ascii")
            for family, _, _, _, target in socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM):
                if family in (socket.AF_INET, socket.AF_INET6):
                    self.found.append((int(family), target))  # type: ignore[arg-type]  # inet only
        except OSError as error:
            self.trouble = error.strerror or "no answer"
        finally:
            os.close(write_fd)

    def wait_for(self, wait: Wait, until_ms: int) -> None:
        wait(self._read_fd, False, until_ms)

    def close(self) -> None:
        os.close(self._read_fd)


def _literal(host: str, port: int) -> Address | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return int(family), (host, port)
    return None
