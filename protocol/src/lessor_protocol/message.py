"""What all messages of the lease protocol share: how they compare, and how large they may be."""

from __future__ import annotations

MAX_LABELS = 32
MAX_LABEL_TEXT = 256
MAX_CERTIFICATE = 2_048
MAX_SEATS = 10_000
MAX_RENEWALS = 500
"""Leases in one renewal message."""

UNLIMITED_WAIT_MS = 365 * 86_400_000
"""What a client that would wait for ever sends."""


class Message:
    """Equality and ``repr`` over the slots of a subclass."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable by nature, never a key

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({shown})"
