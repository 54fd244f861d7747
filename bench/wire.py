"""Bytes of HTTP/1.1 and WebSocket as the load generator sends and takes them."""

from __future__ import annotations

import struct

from lessor_protocol import codec, frames
from lessor_protocol.lease_id import format_lease_id

HOST = "127.0.0.1"


def lease_id(number: int) -> bytes:
    """The id of the lease of this number."""
    return number.to_bytes(16, "big")


def http_request(method: str, path: str, body: bytes, *, key: str, media_type: str) -> bytes:
    """A whole request on a connection that is kept; without a key if that is empty."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{authorization}"
        f"Content-Type: {media_type}\r\nAccept: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def renew_request(ids: list[bytes], key: str) -> bytes:
    """``POST /v1/leases/renew``."""
    body = codec.encode({"leases": [format_lease_id(one) for one in ids]}, codec.MSGPACK)
    return http_request("POST", "/v1/leases/renew", body, key=key, media_type=codec.MSGPACK)


def upgrade_request(path: str, key: str) -> bytes:
    """The opening of a WebSocket. The nonce protects from caches, and there is none here."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: bGVzc29yLWJlbmNobWFyaw==\r\n"
        f"Sec-WebSocket-Protocol: {frames.SUBPROTOCOL}\r\n\r\n"
    ).encode()


def socket_frame(payload: bytes, opcode: int = 2) -> bytes:
    """A client's frame: masked as it must be, with a key of zeros, which changes nothing."""
    first = 0x80 | opcode
    if len(payload) < 126:
        return bytes((first, 0x80 | len(payload))) + bytes(4) + payload
    return struct.pack("!BBH", first, 0x80 | 126, len(payload)) + bytes(4) + payload


def renew_frame(ids: list[bytes]) -> bytes:
    """A renewal of ``ids`` on the stream."""
    leases = [format_lease_id(one) for one in ids]
    return socket_frame(frames.encode(1, frames.RENEW, {"leases": leases}))


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server in ``data``, as opcode and payload, and what is left."""
    found = []
    start = 0
    while len(data) - start >= 2:
        length = data[start + 1]
        head = 2
        if length == 126:
            if len(data) - start < 4:
                break
            (length,) = struct.unpack_from("!H", data, start + 2)
            head = 4
        elif length == 127:
            if len(data) - start < 10:
                break
            (length,) = struct.unpack_from("!Q", data, start + 2)
            head = 10
        end = start + head + length
        if end > len(data):
            break
        found.append((data[start] & 0x0F, data[start + head : end]))
        start = end
    return found, data[start:]


def split_answer(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Status, body and what follows the first HTTP answer in ``data``; None if it is not whole."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = data[: head_end + 2].lower()
    body_start = head_end + 4
    at = head.find(b"content-length:")
    if at >= 0:
        body_end = body_start + int(head[at + 15 : head.index(b"\r", at)])
        if len(data) < body_end:
            return None
        return int(data[9:12]), data[body_start:body_end], data[body_end:]
    if b"transfer-encoding: chunked" in head:
        return _split_chunked(data, body_start)
    return int(data[9:12]), b"", data[body_start:]


def _split_chunked(data: bytes, start: int) -> tuple[int, bytes, bytes] | None:
    body = b""
    while True:
        line_end = data.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(data[start:line_end], 16)
        chunk_end = line_end + 2 + size
        if len(data) < chunk_end + 2:
            return None
        body += data[line_end + 2 : chunk_end]
        start = chunk_end + 2
        if size == 0:
            return int(data[9:12]), body, data[start:]
