"""Everything that can go wrong in the client, as one tree; each error knows its exit code.

::

    LessorError
    ├── UsageError     wrong usage or configuration
    ├── Denied         the server refuses for good: key, permission, license
    ├── NoSeat         no seat within the wait
    ├── Unreachable    no server could be reached in time
    │   └── NoAnswer   one request got no answer
    └── LeaseLost      the lease was lost, or ended by an admin

An answered refusal is ``lessor_protocol.errors.Problem`` until ``from_code`` makes one of these
of it.
"""

from __future__ import annotations

from lessor_protocol.errors import NO_SEAT, TRANSIENT

from . import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lessor_protocol.queued import Holder

_USAGE = frozenset({"malformed", "invalid", "too_large", "unsupported_type", "unsupported_version"})
_LOST = frozenset({"lease_ended", "expired"})
_DENIED = frozenset(
    {
        "unauthenticated",
        "revoked",
        "forbidden",
        "license_expired",
        "not_registered_user",
        "unknown_license",
        "not_found",
    }
)
_GRANTS_AGAIN = "recovering"


class LessorError(Exception):
    """The root. ``code`` is the protocol's or the client's own word for the cause, or empty."""

    exit_code = exits.LESSOR_FAILED

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class UsageError(LessorError):
    """Wrong usage or configuration; the message names the option, variable or file."""

    exit_code = exits.USAGE


class Denied(LessorError):
    """The server refuses for good: bad or revoked key, not allowed, unknown or expired license."""

    exit_code = exits.DENIED


class NoSeat(LessorError):
    """No seat within the wait. ``holders`` says who holds the seats, as far as the server told."""

    exit_code = exits.NO_SEAT

    def __init__(self, message: str, *, code: str = "", holders: Sequence[Holder] = ()) -> None:
        super().__init__(message, code=code)
        self.holders = tuple(holders)


class Unreachable(LessorError):
    """No server could be reached in time; the message names the hop that failed."""

    exit_code = exits.UNREACHABLE


class NoAnswer(Unreachable):
    """One request got no answer: refused, DNS, TLS, proxy, timed out, or nonsense came back."""


class LeaseLost(LessorError):
    """The lease was lost: ended by an admin, or not renewed before its deadline."""

    exit_code = exits.LOST


def from_code(code: str, reason: str, *, holders: Sequence[Holder] = ()) -> LessorError:
    """The error for a protocol code, or for one of the lease machine's own codes."""
    message = reason or code
    if code in NO_SEAT or code == _GRANTS_AGAIN:
        return NoSeat(message, code=code, holders=holders)
    if code in _DENIED:
        return Denied(message, code=code)
    if code in _USAGE:
        return UsageError(message, code=code)
    if code in _LOST:
        return LeaseLost(message, code=code)
    if code in TRANSIENT or code == "unreachable":
        return Unreachable(message, code=code)
    return LessorError(message, code=code)


def from_refusal(code: str, reason: str, *, holders: Sequence[Holder] = ()) -> LessorError:
    """As ``from_code``, for who has never had the seat: so it is none that they have lost."""
    if code in _LOST:
        return NoSeat(reason or code, code=code, holders=holders)
    return from_code(code, reason, holders=holders)
