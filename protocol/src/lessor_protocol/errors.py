"""Every error code of the wire, its HTTP status, and the one exception that carries it.

Codes are stable: scripts and dashboards compare them. Texts may change at any time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP_STATUS: dict[str, int] = {
    "malformed": 400,
    "unsupported_version": 400,
    "unauthenticated": 401,
    "revoked": 403,
    "forbidden": 403,
    "license_expired": 403,
    "not_registered_user": 403,
    "unknown_license": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "seats_exhausted": 409,
    "machines_exhausted": 409,
    "conflict": 409,
    "quota_below_use": 409,
    "lease_ended": 410,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_type": 415,
    "invalid": 422,
    "rate_limited": 429,
    "internal": 500,
    "recovering": 503,
    "draining": 503,
    "store_unavailable": 503,
}

TITLES: dict[str, str] = {
    "malformed": "The message cannot be read",
    "unsupported_version": "This protocol version is not spoken here",
    "unauthenticated": "No valid API key",
    "revoked": "The API key was revoked",
    "forbidden": "This key may not do that",
    "license_expired": "The license has expired",
    "not_registered_user": "Not a registered user of this license",
    "unknown_license": "No such license",
    "not_found": "Not found",
    "method_not_allowed": "The method is not allowed here",
    "seats_exhausted": "All seats are taken",
    "machines_exhausted": "All registered machines are taken",
    "conflict": "The id is in use with other content",
    "quota_below_use": "More is in use than the new quota allows",
    "lease_ended": "The lease has ended",
    "precondition_failed": "It was changed meanwhile",
    "too_large": "The message is too large",
    "unsupported_type": "The media type is not spoken here",
    "invalid": "A field is not valid",
    "rate_limited": "Too many requests",
    "internal": "The server failed",
    "recovering": "The server is recovering and grants no new lease yet",
    "draining": "The server is shutting down and grants no new lease",
    "store_unavailable": "The store cannot be reached",
}

NO_SEAT = frozenset({"seats_exhausted", "machines_exhausted"})
"""Refusals that pass by themselves when a holder leaves."""

TRANSIENT = frozenset({"rate_limited", "internal", "recovering", "draining", "store_unavailable"})
"""Answers that say nothing about the lease: try again after ``retry_after``."""

KEEPS_PLACE = frozenset({"recovering"})
"""Refusals of an acquire that would wait which give it a place in the line all the same: whoever
gives up is to leave it."""

HOLDING_KEEPS_ON = frozenset({"unauthenticated", "forbidden"})
"""While a lease is held these are retried until its deadline: a store that lost its memory knows
no key, and that must not kill a healthy test. Only ``revoked`` is final."""

MESSAGE_ONLY = frozenset({"type", "title", "status", "detail", "code", "retry_after"})


class Problem(Exception):
    """An error of the wire: RFC 9457 problem details with a stable ``code``.

    ``data`` holds extension members (``holders``, ``reason``, ``field`` …);
    ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retry_after: float | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.data: dict[str, object] = dict(data or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def status(self) -> int:
        """The HTTP status; a code from a newer server counts as 500."""
        return HTTP_STATUS.get(self.code, 500)

    def to_wire(self) -> dict[str, object]:
        """The problem details object."""
        body: dict[str, object] = {
            "type": f"urn:lessor:problem:{self.code}",
            "title": TITLES.get(self.code, self.code),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        body.update(self.data)
        return body

    @classmethod
    def from_wire(cls, body: object, status: int) -> Problem:
        """Read problem details; anything else becomes ``internal`` with the status named."""
        if not isinstance(body, dict) or not isinstance(body.get("code"), str):
            return cls("internal", f"the server answered {status} without saying why")
        retry_after = body.get("retry_after")
        return cls(
            body["code"],
            str(body.get("detail", "")),
            retry_after=float(retry_after) if isinstance(retry_after, (int, float)) else None,
            data={k: v for k, v in body.items() if k not in MESSAGE_ONLY},
        )
