"""The messages of a watch: to be told between renewals, over plain HTTP.

Apart from ``messages``, because a run that is over in a moment never needs them.
"""

from __future__ import annotations

from .fields import MAX_NAME, Reader, invalid
from .lease_id import format_lease_id
from .message import MAX_RENEWALS, Message
from .messages import Lost, read_lease_id

MAX_WATCHED = MAX_RENEWALS
"""Leases in one watch."""


class Watched(Message):
    """A lease to be told about. ``seen`` is the id of its last notice, which is no news."""

    __slots__ = ("lease_id", "seen")

    def __init__(self, lease_id: bytes, seen: str = "") -> None:
        self.lease_id = lease_id
        self.seen = seen

    @classmethod
    def from_wire(cls, value: object, path: str) -> Watched:
        if isinstance(value, str):
            return cls(read_lease_id(value, path))
        fields = Reader(value, path)
        return cls(
            read_lease_id(fields.text("id"), f"{path}.id"),
            fields.text("seen", default="", longest=MAX_NAME, empty=True),
        )

    def to_wire(self) -> object:
        text = format_lease_id(self.lease_id)
        return {"id": text, "seen": self.seen} if self.seen else text


class WatchRequest(Message):
    """``POST /v1/leases/watch``: answered when there is something to tell, or after ``wait_ms``."""

    __slots__ = ("wait_ms", "watched")

    def __init__(self, watched: list[Watched], wait_ms: int) -> None:
        self.watched = watched
        self.wait_ms = wait_ms

    @classmethod
    def from_wire(cls, value: object) -> WatchRequest:
        fields = Reader(value)
        items = fields.array("leases", most=MAX_WATCHED)
        if not items:
            raise invalid("leases", "must not be empty")
        return cls(
            [Watched.from_wire(item, path) for path, item in items],
            fields.seconds_as_ms("wait", default=0),
        )

    def to_wire(self) -> dict[str, object]:
        return {
            "leases": [one.to_wire() for one in self.watched],
            "wait": self.wait_ms / 1000,
        }


class WatchAnswer(Message):
    """``lost`` and ``notices`` as in the answer to a renewal; mostly both are empty."""

    __slots__ = ("lost", "notices")

    def __init__(self, lost: list[Lost], notices: list[object]) -> None:
        self.lost = lost
        self.notices = notices

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.lost and not self.notices

    @classmethod
    def from_wire(cls, value: object) -> WatchAnswer:
        fields = Reader(value)
        lost = [Lost.from_wire(item, path) for path, item in fields.array("lost", most=MAX_WATCHED)]
        return cls(lost, [item for _, item in fields.array("notices", most=MAX_WATCHED)])

    def to_wire(self) -> dict[str, object]:
        return {"lost": [one.to_wire() for one in self.lost], "notices": self.notices}
