"""The messages of the lease protocol, as they stand in ``docs/protocol.md``.

Each class reads itself from a decoded message (``from_wire``, which raises ``Problem``) and
writes itself (``to_wire``). Durations are seconds on the wire and whole milliseconds in here.
"""

from __future__ import annotations

from .fields import MAX_TEXT, Reader, invalid
from .lease_id import format_lease_id, parse_lease_id
from .message import MAX_CERTIFICATE, MAX_LABEL_TEXT, MAX_LABELS, MAX_RENEWALS, MAX_SEATS, Message


class Machine(Message):
    """Where a process runs. ``ephemeral`` machines un-register with their last lease."""

    __slots__ = ("ephemeral", "id", "name")

    def __init__(self, id: str, name: str = "", *, ephemeral: bool = False) -> None:
        self.id = id
        self.name = name
        self.ephemeral = ephemeral

    @classmethod
    def from_wire(cls, fields: Reader) -> Machine:
        return cls(
            fields.text("id"),
            fields.text("name", default="", empty=True),
            ephemeral=fields.flag("ephemeral", default=False),
        )

    def to_wire(self) -> dict[str, object]:
        return {"id": self.id, "name": self.name, "ephemeral": self.ephemeral}


class Process(Message):
    """The process that holds, or will hold, a seat."""

    __slots__ = ("command", "pid", "user")

    def __init__(self, pid: int, command: str, user: str = "") -> None:
        self.pid = pid
        self.command = command
        self.user = user

    @classmethod
    def from_wire(cls, fields: Reader) -> Process:
        return cls(
            fields.integer("pid", most=2**31 - 1),
            fields.text("command", longest=MAX_TEXT),
            fields.text("user", default="", empty=True),
        )

    def to_wire(self) -> dict[str, object]:
        return {"pid": self.pid, "command": self.command, "user": self.user}


class AcquireRequest(Message):
    """``POST /v1/leases``. Sent again unchanged it gets the same answer.

    From ``seats`` to ``most_seats`` seats are wanted, together or not at all. For ``hold_ms`` the
    answer may be held back while nothing is free.
    """

    __slots__ = (
        "certificate",
        "hold_ms",
        "labels",
        "lease_id",
        "license",
        "machine",
        "most_seats",
        "process",
        "seats",
        "wait_ms",
    )

    def __init__(
        self,
        lease_id: bytes,
        license: str,
        machine: Machine,
        process: Process,
        *,
        labels: dict[str, str] | None = None,
        wait_ms: int = 0,
        seats: int = 1,
        most_seats: int | None = None,
        hold_ms: int = 0,
        certificate: str = "",
    ) -> None:
        self.lease_id = lease_id
        self.license = license
        self.machine = machine
        self.process = process
        self.labels = labels or {}
        self.wait_ms = wait_ms
        self.seats = seats
        self.most_seats = seats if most_seats is None else most_seats
        self.hold_ms = hold_ms
        self.certificate = certificate

    @classmethod
    def from_wire(cls, value: object) -> AcquireRequest:
        fields = Reader(value)
        seats, most_seats = _read_seats(fields)
        return cls(
            read_lease_id(fields.text("id"), "id"),
            fields.text("license"),
            Machine.from_wire(fields.nested("machine")),
            Process.from_wire(fields.nested("process")),
            labels=fields.labels("labels", most=MAX_LABELS, longest=MAX_LABEL_TEXT),
            wait_ms=fields.seconds_as_ms("wait", default=0),
            seats=seats,
            most_seats=most_seats,
            hold_ms=fields.seconds_as_ms("hold", default=0),
            certificate=fields.text("certificate", default="", longest=MAX_CERTIFICATE, empty=True),
        )

    def to_wire(self) -> dict[str, object]:
        body = self.content()
        body["id"] = format_lease_id(self.lease_id)
        if self.wait_ms:
            body["wait"] = self.wait_ms / 1000
        if self.hold_ms:
            body["hold"] = self.hold_ms / 1000
        if self.certificate:
            body["certificate"] = self.certificate
        return body

    def content(self) -> dict[str, object]:
        """What must stay the same when the request is repeated under the same id."""
        body: dict[str, object] = {
            "license": self.license,
            "machine": self.machine.to_wire(),
            "process": self.process.to_wire(),
        }
        if self.labels:
            body["labels"] = self.labels
        if self.most_seats != self.seats:
            body["seats"] = {"min": self.seats, "max": self.most_seats}
        elif self.seats != 1:
            body["seats"] = self.seats
        return body


class Lease(Message):
    """A granted lease. ``granted_at`` is RFC 3339 text for people; it decides nothing.

    With an ``idle_timeout_ms`` other than 0 the holder says with its renewals how long it is idle.
    """

    __slots__ = (
        "certificate",
        "granted_at",
        "idle_timeout_ms",
        "labels",
        "lease_id",
        "license",
        "machine",
        "process",
        "renew_after_ms",
        "seats",
        "token",
        "ttl_ms",
    )

    def __init__(
        self,
        *,
        lease_id: bytes,
        license: str,
        token: int,
        ttl_ms: int,
        renew_after_ms: int,
        granted_at: str,
        certificate: str,
        machine: Machine,
        process: Process,
        labels: dict[str, str],
        seats: int = 1,
        idle_timeout_ms: int = 0,
    ) -> None:
        self.lease_id = lease_id
        self.license = license
        self.seats = seats
        self.token = token
        self.ttl_ms = ttl_ms
        self.renew_after_ms = renew_after_ms
        self.granted_at = granted_at
        self.certificate = certificate
        self.machine = machine
        self.process = process
        self.labels = labels
        self.idle_timeout_ms = idle_timeout_ms

    @classmethod
    def from_wire(cls, value: object, path: str = "lease") -> Lease:
        fields = Reader(value, path)
        ttl_ms, renew_after_ms = _read_pace(fields)
        return cls(
            lease_id=read_lease_id(fields.text("id"), f"{path}.id"),
            license=fields.text("license"),
            token=fields.integer("token"),
            seats=fields.integer("seats", default=1, least=1, most=MAX_SEATS),
            ttl_ms=ttl_ms,
            renew_after_ms=renew_after_ms,
            granted_at=fields.text("granted_at", default="", empty=True),
            certificate=fields.text("certificate", default="", longest=MAX_CERTIFICATE, empty=True),
            machine=Machine.from_wire(fields.nested("machine")),
            process=Process.from_wire(fields.nested("process")),
            labels=fields.labels("labels", most=MAX_LABELS, longest=MAX_LABEL_TEXT),
            idle_timeout_ms=fields.seconds_as_ms("idle_timeout", default=0),
        )

    def to_wire(self) -> dict[str, object]:
        body: dict[str, object] = {
            "id": format_lease_id(self.lease_id),
            "license": self.license,
            "token": self.token,
            "ttl": self.ttl_ms / 1000,
            "renew_after": self.renew_after_ms / 1000,
            "granted_at": self.granted_at,
            "certificate": self.certificate,
            "machine": self.machine.to_wire(),
            "process": self.process.to_wire(),
            "labels": self.labels,
        }
        if self.seats != 1:
            body["seats"] = self.seats
        if self.idle_timeout_ms:
            body["idle_timeout"] = self.idle_timeout_ms / 1000
        return body


class Renewal(Message):
    """One lease to renew. The certificate proves it to a store that lost its memory.

    ``idle_ms`` is for how long nothing has been done with the seat; None where nobody measures.
    """

    __slots__ = ("certificate", "idle_ms", "lease_id")

    def __init__(self, lease_id: bytes, certificate: str = "", idle_ms: int | None = None) -> None:
        self.lease_id = lease_id
        self.certificate = certificate
        self.idle_ms = idle_ms

    @classmethod
    def from_wire(cls, value: object, path: str) -> Renewal:
        if isinstance(value, str):
            return cls(read_lease_id(value, path))
        fields = Reader(value, path)
        return cls(
            read_lease_id(fields.text("id"), f"{path}.id"),
            fields.text("certificate", default="", longest=MAX_CERTIFICATE, empty=True),
            fields.seconds_as_ms("idle") if fields.has("idle") else None,
        )

    def to_wire(self) -> object:
        text = format_lease_id(self.lease_id)
        if self.idle_ms is not None:
            idle = self.idle_ms / 1000
            return {"id": text, "certificate": self.certificate, "idle": idle}
        return {"id": text, "certificate": self.certificate} if self.certificate else text


class RenewRequest(Message):
    """``POST /v1/leases/renew``."""

    __slots__ = ("renewals",)

    def __init__(self, renewals: list[Renewal]) -> None:
        self.renewals = renewals

    @classmethod
    def from_wire(cls, value: object) -> RenewRequest:
        items = Reader(value).array("leases", most=MAX_RENEWALS)
        return cls([Renewal.from_wire(item, path) for path, item in items])

    @classmethod
    def from_ids(cls, value: object) -> RenewRequest | None:
        """The same at a fraction of the cost, for nothing but ids in canonical form; else None."""
        if type(value) is not dict or len(value) != 1:
            return None
        ids = value.get("leases")
        if type(ids) is not list or not 0 < len(ids) <= MAX_RENEWALS:
            return None
        try:
            return cls([Renewal(parse_lease_id(one)) for one in ids])
        except (ValueError, TypeError, AttributeError):
            return None  # what it is that is wrong, ``from_wire`` says

    def to_wire(self) -> dict[str, object]:
        return {"leases": [renewal.to_wire() for renewal in self.renewals]}


class Lost(Message):
    """A lease that a renewal could not keep, and why."""

    __slots__ = ("code", "lease_id", "reason")

    def __init__(self, lease_id: bytes, code: str, reason: str) -> None:
        self.lease_id = lease_id
        self.code = code
        self.reason = reason

    @classmethod
    def from_wire(cls, value: object, path: str) -> Lost:
        fields = Reader(value, path)
        return cls(
            read_lease_id(fields.text("id"), f"{path}.id"),
            fields.text("code"),
            fields.text("reason", default="", longest=MAX_TEXT, empty=True),
        )

    def to_wire(self) -> dict[str, object]:
        return {"id": format_lease_id(self.lease_id), "code": self.code, "reason": self.reason}


class RenewAnswer(Message):
    """``ttl_ms`` and ``renew_after_ms`` are the smallest of the renewed leases, 0 if none was."""

    __slots__ = ("lost", "notices", "renew_after_ms", "renewed", "ttl_ms")

    def __init__(
        self,
        renewed: list[bytes],
        lost: list[Lost],
        ttl_ms: int,
        renew_after_ms: int,
        notices: list[object] | None = None,
    ) -> None:
        self.renewed = renewed
        self.lost = lost
        self.ttl_ms = ttl_ms
        self.renew_after_ms = renew_after_ms
        self.notices = notices or []

    @classmethod
    def from_wire(cls, value: object) -> RenewAnswer:
        fields = Reader(value)
        renewed = []
        for path, item in fields.array("renewed", most=MAX_RENEWALS):
            if not isinstance(item, str):
                raise invalid(path, "must be a string")
            renewed.append(read_lease_id(item, path))
        lost = [
            Lost.from_wire(item, path) for path, item in fields.array("lost", most=MAX_RENEWALS)
        ]
        notices = [item for _, item in fields.array("notices", most=MAX_RENEWALS)]
        ttl_ms, renew_after_ms = _read_pace(fields) if renewed else (0, 0)
        return cls(renewed, lost, ttl_ms, renew_after_ms, notices)

    def to_wire(self) -> dict[str, object]:
        return {
            "renewed": [format_lease_id(lease_id) for lease_id in self.renewed],
            "lost": [lost.to_wire() for lost in self.lost],
            "notices": self.notices,
            "ttl": self.ttl_ms / 1000,
            "renew_after": self.renew_after_ms / 1000,
        }


def read_lease_id(text: str, path: str) -> bytes:
    """The id's 16 bytes, or the problem ``invalid`` at ``path``."""
    try:
        return parse_lease_id(text)
    except ValueError:
        raise invalid(path, "must be a UUID") from None


def _read_seats(fields: Reader) -> tuple[int, int]:
    """``seats``: a number, or ``{min, max}`` for as many as are free within that range."""
    if not fields.has_object("seats"):
        seats = fields.integer("seats", default=1, least=1, most=MAX_SEATS)
        return seats, seats
    limits = fields.nested("seats")
    least = limits.integer("min", least=1, most=MAX_SEATS)
    return least, limits.integer("max", least=least, most=MAX_SEATS)


def _read_pace(fields: Reader) -> tuple[int, int]:
    """``ttl`` and ``renew_after`` in ms. A server that dictates nonsense is refused here."""
    ttl_ms = fields.seconds_as_ms("ttl", most=600)
    renew_after_ms = fields.seconds_as_ms("renew_after", most=600)
    if ttl_ms <= 0 or not 0 < renew_after_ms < ttl_ms:
        raise invalid("renew_after", "must lie between 0 and ttl")
    return ttl_ms, renew_after_ms
