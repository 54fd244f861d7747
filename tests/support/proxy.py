"""A TCP proxy that can be cut: nothing passes any more, and nobody is told."""

from __future__ import annotations

import selectors
import socket
import threading


class Proxy:
    """Forwards a port of the loopback to another one until it is cut."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_cut = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing through from now on, in either direction."""
        self._is_cut = True

    def mend(self) -> None:
        """Let through what comes from now on; connections of the time before are broken."""
        self._is_cut = False

    def lead_to(self, target_port: int) -> None:
        """Lead to another port what connects from now on, as an address that is moved does."""
        self._target_port = target_port

    def close(self) -> None:
        """End the proxy."""
        self._wake.send(b"x")
        self._thread.join()
        for one in (*self._pairs, self._listener, self._wake, self._woken):
            one.close()
        self._selector.close()

    def _forward(self) -> None:
        while True:
            for key, _ in self._selector.select():
                source = key.fileobj
                if source is self._woken:
                    return
                if source is self._listener:
                    self._connect()
                elif isinstance(source, socket.socket):
                    self._pass_on(source)

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        target = self._pairs.get(source)
        if target is None:
            return
        try:
            data = source.recv(65536)
            if data and self._is_cut:
                return  # lost on the way
            if data:
                target.sendall(data)
                return
        except OSError:
            pass
        for one in (source, target):
            self._selector.unregister(one)
            self._pairs.pop(one, None)
            one.close()
