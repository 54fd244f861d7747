"""HTTP by hand, for requests that no decent client sends."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from .calls import JSON

if TYPE_CHECKING:
    from types import TracebackType


class RawConnection:
    """A TCP connection to the daemon at ``url``."""

    def __init__(self, url: str, *, timeout: float = 20.0) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection(
            (parts.hostname or "", parts.port or 80), timeout=timeout
        )

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
        """Close it."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._socket.sendall(data)

    def send_head(self, path: str, key: str, **headers: str) -> None:
        """The head of a POST; underscores in header names stand for hyphens."""
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}"]
        given = {"Content_Type": JSON, **headers}
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def read_answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers (lower case) and the JSON body of the next answer."""
        status, headers, body = self.read_bytes()
        return status, headers, json.loads(body) if body else None

    def read_bytes(self) -> tuple[int, dict[str, str], bytes]:
        """As ``read_answer``, with the body as it came."""
        head = self._read_head()
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self._read_exactly(int(headers.get("content-length", "0")))

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the peer closes or resets within ``seconds``; reads what comes before."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def read_rest(self) -> bytes:
        """All that comes until the peer closes."""
        data = b""
        while part := self._socket.recv(65536):
            data += part
        return data

    def _read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read_exactly(1)
        return head[:-4]

    def _read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionError("closed before the answer was whole")
            data += part
        return data
