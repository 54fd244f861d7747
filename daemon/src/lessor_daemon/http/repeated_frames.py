"""A renewal on a stream that is the same as the last but for its number.

Who holds one lease on a connection, or several that are renewed together, sends the same bytes
every few seconds, after a ``seq`` that grows. Equal bytes ask for the same, and as long as the ttl
is the same, they get the same answer: neither is taken apart or put together again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec, frames

from lessor_daemon.leasing.answers import renewed_wire

if TYPE_CHECKING:
    from lessor_protocol.messages import Renewal

MOST_BYTES = 16 * 1024
"""Of what a stream asked for last; a longer one is not kept."""


class Repeated:
    """One renewal: what was asked, and what its answer is when all is well."""

    __slots__ = ("_answer", "_ttl_ms", "asked", "lease_ids", "renewals")

    def __init__(self, renewals: list[Renewal], asked: bytes) -> None:
        self.renewals = renewals
        self.lease_ids = [one.lease_id for one in renewals]
        self.asked = asked
        """The frame's bytes after its ``seq``."""
        self._ttl_ms = 0
        self._answer = b""

    def answer(self, ttl_ms: int) -> bytes:
        """The reply's bytes after its ``seq``, when all were renewed for ``ttl_ms`` or more."""
        if ttl_ms != self._ttl_ms:
            wire = renewed_wire(self.renewals, [ttl_ms] * len(self.renewals))
            self._answer = codec.pack(200) + codec.pack(wire)
            self._ttl_ms = ttl_ms
        return self._answer


def after_seq(data: bytes, seq: int) -> bytes:
    """What of a request comes after its ``seq``; nothing if that was written in an unusual way."""
    head = frames.head(seq)
    return data[len(head) :] if data.startswith(head) and len(data) <= MOST_BYTES else b""
