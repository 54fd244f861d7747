"""What who gets no seat at once is told: the place in line, the holders, how long it may take."""

from __future__ import annotations

from .errors import Problem
from .fields import MAX_TEXT, Reader
from .message import MAX_LABEL_TEXT, MAX_LABELS, MAX_SEATS, Message


class Holder(Message):
    """Who holds a seat, as those who wait may see it. ``since`` is RFC 3339 text."""

    __slots__ = ("command", "labels", "machine", "seats", "since", "user")

    def __init__(  # noqa: PLR0917 - as they stand in the message
        self,
        user: str,
        machine: str,
        command: str,
        labels: dict[str, str],
        since: str,
        seats: int = 1,
    ) -> None:
        self.user = user
        self.machine = machine
        self.command = command
        self.labels = labels
        self.since = since
        self.seats = seats

    @classmethod
    def from_wire(cls, value: object, path: str) -> Holder:
        fields = Reader(value, path)
        return cls(
            fields.text("user", default="", empty=True),
            fields.text("machine", default="", empty=True),
            fields.text("command", default="", longest=MAX_TEXT, empty=True),
            fields.labels("labels", most=MAX_LABELS, longest=MAX_LABEL_TEXT),
            fields.text("since", default="", empty=True),
            fields.integer("seats", default=1, least=1, most=MAX_SEATS),
        )

    def to_wire(self) -> dict[str, object]:
        told: dict[str, object] = {
            "user": self.user,
            "machine": self.machine,
            "command": self.command,
            "labels": self.labels,
            "since": self.since,
        }
        return {**told, "seats": self.seats} if self.seats > 1 else told


class Estimate(Message):
    """How long it may take: half of the trials were served within ``p50_ms``, 90 % in ``p90_ms``.

    It rests on so many ``sessions`` that ended.
    """

    __slots__ = ("p50_ms", "p90_ms", "sessions")

    def __init__(self, p50_ms: int, p90_ms: int, sessions: int) -> None:
        self.p50_ms = p50_ms
        self.p90_ms = p90_ms
        self.sessions = sessions

    @classmethod
    def from_wire(cls, fields: Reader) -> Estimate:
        return cls(fields.seconds_as_ms("p50"), fields.seconds_as_ms("p90"), fields.integer("from"))

    def to_wire(self) -> dict[str, object]:
        return {"p50": self.p50_ms / 1000, "p90": self.p90_ms / 1000, "from": self.sessions}


class Queued(Message):
    """The answer 202: a place in the line, claimed by repeating the same acquire."""

    __slots__ = ("blocked_by", "estimate", "holders", "position", "retry_after_ms", "ticket")

    def __init__(
        self,
        ticket: int,
        position: int,
        blocked_by: str,
        holders: list[Holder],
        retry_after_ms: int,
        *,
        estimate: Estimate | None = None,
    ) -> None:
        self.ticket = ticket
        self.estimate = estimate
        self.position = position
        self.blocked_by = blocked_by
        self.holders = holders
        self.retry_after_ms = retry_after_ms

    @classmethod
    def from_wire(cls, value: object) -> Queued:
        fields = Reader(value)
        return cls(
            fields.integer("ticket"),
            fields.integer("position"),
            fields.text("blocked_by"),
            read_holders(fields),
            fields.seconds_as_ms("retry_after"),
            estimate=(
                Estimate.from_wire(fields.nested("estimate")) if fields.has("estimate") else None
            ),
        )

    def to_wire(self) -> dict[str, object]:
        return {
            "ticket": self.ticket,
            "position": self.position,
            "ahead": max(0, self.position - 1),
            "blocked_by": self.blocked_by,
            "holders": [holder.to_wire() for holder in self.holders],
            "estimate": None if self.estimate is None else self.estimate.to_wire(),
            "retry_after": self.retry_after_ms / 1000,
        }


def read_holders(fields: Reader) -> list[Holder]:
    """The ``holders`` of a 202 or a 409; none when absent."""
    if not fields.has("holders"):
        return []
    return [Holder.from_wire(item, path) for path, item in fields.array("holders", most=1_000)]


def blocked_by_of(problem: Problem) -> str:
    """What a refusal names as what blocks; empty where it names nothing."""
    found = problem.data.get("blocked_by")
    return found if isinstance(found, str) else ""


def holders_of(problem: Problem) -> list[Holder]:
    """Who holds the seats, as a refused acquire tells; none when it does not tell."""
    try:
        return read_holders(Reader(problem.data))
    except Problem:
        return []
