"""A server on a bare socket that answers each connection by a script: well, late, half or wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Script = Callable[[socket.socket], object]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class RawServer:
    """The first connection runs the first script, and so on; the last script serves the rest.

    A script that waits for ``over`` keeps its connection open until the test ends.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.over = threading.Event()
        self.connections = 0
        self.requests: list[bytes] = []
        self._scripts = scripts or (answer(OK),)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """By name, so that certificates for ``localhost`` fit."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        # Closing alone would leave the accept asleep.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
            closing.enter_context(connection)
            if self._tls is not None:
                connection = closing.enter_context(
                    self._tls.wrap_socket(connection, server_side=True)
                )
            script(connection)


def read_request(connection: socket.socket) -> bytes:
    """One whole request, by its ``Content-Length``; empty at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65_536)
        if not received:
            return b""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answer(*responses: bytes, log: list[bytes] | None = None) -> Script:
    """Answers one request with each of ``responses``, then closes; ``log`` gets the requests."""

    def script(connection: socket.socket) -> None:
        for response in responses:
            request = read_request(connection)
            if not request:
                return
            if log is not None:
                log.append(request)
            connection.sendall(response)

    return script


def answer_always(response: bytes = OK, log: list[bytes] | None = None) -> Script:
    """Answers every request the same way."""

    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            if log is not None:
                log.append(request)
            connection.sendall(response)

    return script


def tunnel(connection: socket.socket, port: int) -> None:
    """A proxy's part after CONNECT: carry bytes to and from a port until either side ends."""
    with socket.create_connection(("127.0.0.1", port)) as other:
        back = threading.Thread(target=_carry, args=(other, connection), daemon=True)
        back.start()
        _carry(connection, other)
        back.join(5)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
