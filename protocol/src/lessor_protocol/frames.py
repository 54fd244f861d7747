"""The frames of the stream: requests, replies, and what the server says of its own accord.

One binary WebSocket message is one frame, one frame is one msgpack array of three::

    client  [seq, op, body]         a request; seq from 1, chosen by the client
    server  [seq, status, body]     the reply to the request of this seq, in any order
    server  [0, op, body]           something it says unasked

Bodies are the messages of ``messages``, statuses and error codes those of HTTP.
"""

from __future__ import annotations

from . import codec
from .errors import Problem
from .fields import Reader
from .lease_id import format_lease_id
from .messages import RenewRequest, read_lease_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .messages import Renewal

SUBPROTOCOL: Final = "lessor.v1"
MAX_FRAME_BYTES: Final = codec.MAX_BYTES
MAX_SEQ: Final = 2**53 - 1
UNASKED: Final = 0
"""In the place of ``seq``: this frame is no reply."""

ACQUIRE: Final = "acquire"
RENEW: Final = "renew"
RELEASE: Final = "release"

DRAIN: Final = "drain"
"""The server goes away: connect anew, here or elsewhere, then close this connection."""
LOST: Final = "lost"
"""A lease was ended by somebody else; the body is that of a ``Lost``."""
NOTICE: Final = "notice"
"""Something a person may want to know. A client that does not know it ignores it."""

CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_NOT_BINARY: Final = 1003
CLOSE_UNREADABLE: Final = 1007
CLOSE_TOO_LARGE: Final = 1009
CLOSE_SLOW_READER: Final = 4008
"""The client did not take what was sent to it."""


def encode(first: int, second: int | str, body: object) -> bytes:
    """A frame of any kind."""
    return codec.pack([first, second, body])


def decode_request(data: bytes) -> tuple[int, str, object]:
    """``seq``, ``op`` and the body, which is still to be bounded: by ``bounded`` or ``renewals``.

    Raises ``Problem`` ``malformed`` or ``too_large``: what follows on this connection cannot be
    told apart any more.
    """
    frame = codec.unpack(data)
    if type(frame) is list and len(frame) == 3:
        seq, op, body = frame
        if type(seq) is int and 0 < seq <= MAX_SEQ and type(op) is str:
            return seq, op, body
    raise Problem("malformed", "a request is an array of seq (from 1), op and body")


def head(seq: int) -> bytes:
    """What a frame with this ``seq`` begins with."""
    return _ARRAY_OF_THREE + codec.pack(seq)


def seq_in(head: bytes) -> int:
    """The ``seq`` in what a frame begins with, before its op; 0 if that is not all there is."""
    if len(head) < 2 or head[:1] != _ARRAY_OF_THREE:
        return 0
    kind = head[1]
    if kind < 0x80:
        return kind if len(head) == 2 else 0
    seq = int.from_bytes(head[2:], "big") if _BYTES_OF_HEAD.get(kind) == len(head) else 0
    return seq if seq <= MAX_SEQ else 0


_ARRAY_OF_THREE = b"\x93"
_BYTES_OF_HEAD = {0xCC: 3, 0xCD: 4, 0xCE: 6, 0xCF: 10}
"""By the first byte of a whole number in msgpack that takes more than that one."""


def decode_from_server(data: bytes) -> tuple[int, int | str, object]:
    """``seq`` and status of a reply, or ``UNASKED`` and the op; and the body.

    Raises ``Problem`` ``malformed`` or ``too_large``.
    """
    frame = codec.decode(data, codec.MSGPACK)
    if isinstance(frame, list) and len(frame) == 3:
        seq, what, body = frame
        if type(seq) is int and type(what) is (str if seq == UNASKED else int):
            return seq, what, body
    raise Problem("malformed", "a frame of the server is an array of seq, status or op, and body")


def bounded(body: object) -> object:
    """``body``, if it nests and holds no more than a message may. Raises ``Problem``."""
    codec.check_bounds(body)
    return body


def renewals(body: object) -> list[Renewal]:
    """The leases of a ``renew``. Raises ``Problem`` ``invalid`` or ``malformed``.

    Streams carry these by the ten thousand, nearly all of them as bare ids. That form is bounded
    by its shape and needs no second look.
    """
    request = RenewRequest.from_ids(body)
    if request is None:
        request = RenewRequest.from_wire(bounded(body))
    return request.renewals


def release_body(lease_id: bytes) -> dict[str, object]:
    """The body of a ``release``."""
    return {"id": format_lease_id(lease_id)}


def lease_to_release(body: object) -> bytes:
    """The lease id of a ``release``. Raises ``Problem`` ``invalid`` or ``malformed``."""
    return read_lease_id(Reader(bounded(body)).text("id"), "id")
