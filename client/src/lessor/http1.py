"""HTTP/1.1 as bytes: one request out, one response in, bounded, without I/O.

Only what an API needs; whatever is outside of it is ``Nonsense``, never a guess.
"""

from __future__ import annotations

MAX_HEAD = 64 * 1024
"""Status line and headers, interim answers and trailers included."""
MAX_BODY = 1 << 20
_LONGEST_CHUNK_LINE = 256

_DIGITS = frozenset(b"0123456789")
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class Nonsense(Exception):
    """What came is not an HTTP response, or larger than any that Lessor sends."""


class Response:
    """A complete response. Header names are in lower case; ``keep``: the connection stays."""

    __slots__ = ("body", "headers", "keep", "status")

    def __init__(self, status: int, headers: dict[str, str], *, keep: bool) -> None:
        self.status = status
        self.headers = headers
        self.keep = keep
        self.body = b""

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def format_request(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A request with its length said, unless it is one that has no body."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class ResponseReader:
    """Takes bytes as they come; ``response`` is there once it is complete.

    ``tunnel``: the answer to CONNECT, which has no body when it says 2xx.
    """

    def __init__(self, *, tunnel: bool = False) -> None:
        self.response: Response | None = None
        self.began = False
        self._tunnel = tunnel
        self._buffer = bytearray()
        self._head_bytes = 0
        self._partial: Response | None = None
        self._body = bytearray()
        self._step = self._read_head
        self._length = 0

    @property
    def has_excess(self) -> bool:
        """Whether bytes came after the end: whatever they are, they answer nothing of ours."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """More bytes. Raises ``Nonsense``."""
        self.began = self.began or bool(data)
        self._buffer += data
        while self.response is None and self._step():
            pass

    def end(self) -> None:
        """The connection was closed: complete if that is how the body ends, else ``Nonsense``."""
        if self.response is None and self._step == self._read_to_the_end:
            self._finish()
        if self.response is None:
            raise Nonsense("it closed the connection before its answer was complete")

    # Each step consumes something and returns True, or returns False when it needs more bytes.

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self._spend_head(0)
            self._check_beginning()
            return False
        self._spend_head(end + 4)
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        version, status = _parse_status_line(lines[0])
        headers = _parse_headers(lines[1:])
        if 100 <= status < 200:
            if status == 101:
                raise Nonsense("it switched to another protocol unasked")
            return True
        options = [word.strip() for word in headers.get("connection", "").lower().split(",")]
        keep = "close" not in options and (version == b"1.1" or "keep-alive" in options)
        self._partial = Response(status, headers, keep=keep)
        self._step = self._body_step(status, headers)
        return True

    def _check_beginning(self) -> None:
        start = bytes(self._buffer[:5])
        if start[:1] in (b"\x15", b"\x16") and start[1:2] in (b"\x03", b""):
            raise Nonsense("it speaks TLS on this port: use https://")
        if not b"HTTP/".startswith(start):
            raise Nonsense("it does not speak HTTP on this port")

    def _spend_head(self, size: int) -> None:
        if self._head_bytes + max(size, len(self._buffer) if not size else 0) > MAX_HEAD:
            raise Nonsense(f"the head of its answer is larger than {MAX_HEAD} bytes")
        self._head_bytes += size

    def _body_step(self, status: int, headers: dict[str, str]) -> _Step:
        if status in (204, 304) or (self._tunnel and 200 <= status < 300):
            self._length = 0
            return self._read_counted
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            if coding.strip().lower() != "chunked" or length is not None:
                raise Nonsense("the length of its answer is ambiguous")
            return self._read_chunk_size
        if length is None:
            if self._partial is not None:
                self._partial.keep = False
            return self._read_to_the_end
        digits = length.encode("latin-1")
        if not digits or not _DIGITS.issuperset(digits) or len(digits) > 12:
            raise Nonsense("the length of its answer is not a number")
        self._length = _bounded(int(digits))
        return self._read_counted

    def _read_counted(self) -> bool:
        if len(self._buffer) < self._length:
            return False
        self._body += self._buffer[: self._length]
        del self._buffer[: self._length]
        self._finish()
        return True

    def _read_to_the_end(self) -> bool:
        _bounded(len(self._body) + len(self._buffer))
        self._body += self._buffer
        self._buffer.clear()
        return False

    def _read_chunk_size(self) -> bool:
        line = self._take_line(_LONGEST_CHUNK_LINE)
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits or not _HEX_DIGITS.issuperset(digits) or len(digits) > 8:
            raise Nonsense("its answer is not chunked as it says")
        self._length = int(digits, 16)
        _bounded(len(self._body) + self._length)
        self._step = self._read_chunk if self._length else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if len(self._buffer) < self._length + 2:
            return False
        if self._buffer[self._length : self._length + 2] != b"\r\n":
            raise Nonsense("its answer is not chunked as it says")
        self._body += self._buffer[: self._length]
        del self._buffer[: self._length + 2]
        self._step = self._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line(MAX_HEAD)
        if line is None:
            return False
        self._spend_head(len(line) + 2)
        if not line:
            self._finish()
        return True

    def _take_line(self, longest: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, longest + 2)
        if end < 0:
            if len(self._buffer) > longest:
                raise Nonsense("its answer is not chunked as it says")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _finish(self) -> None:
        if self._partial is not None:
            self._partial.body = bytes(self._body)
            self.response = self._partial


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Step = Callable[[], bool]


def _bounded(size: int) -> int:
    if size > MAX_BODY:
        raise Nonsense(f"its answer is larger than {MAX_BODY} bytes")
    return size


def _parse_status_line(line: bytes) -> tuple[bytes, int]:
    protocol, _, rest = line.partition(b" ")
    digits = rest[:3]
    if protocol not in (b"HTTP/1.0", b"HTTP/1.1") or rest[3:4] not in (b"", b" "):
        raise Nonsense("it does not speak HTTP/1.1 on this port")
    if len(digits) != 3 or not _DIGITS.issuperset(digits) or digits[:1] == b"0":
        raise Nonsense("its answer has no status")
    return protocol[5:], int(digits)


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b" " in name:
            raise Nonsense("a header of its answer has no name")
        key = name.decode("latin-1").lower()
        text = value.strip(b" \t").decode("latin-1")
        if key in headers:
            if key == "content-length" and headers[key] != text:
                raise Nonsense("the length of its answer is ambiguous")
            if key != "content-length":
                text = f"{headers[key]}, {text}"
        headers[key] = text
    return headers
