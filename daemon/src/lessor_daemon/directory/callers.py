"""Who is calling: what an API key stands for."""

from __future__ import annotations

from dataclasses import dataclass

from lessor_protocol.errors import Problem

RUN = "run"
READ = "read"
ADMIN = "admin"
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated API key. ``org`` is None only for the operator's key.

    ``member`` is the e-mail address behind a personal key; a service key has none.
    """

    key_id: str
    key_name: str
    org: str | None
    member: str | None
    role: str | None
    scopes: frozenset[str]

    @property
    def owner(self) -> str:
        """Whose leases count as this caller's own: the member's, else those of this very key."""
        return f"member:{self.member}" if self.member else f"key:{self.key_id}"

    def require(self, *scopes: str) -> str:
        """The caller's organization, if the key has one of ``scopes`` (``admin`` implies all).

        Raises ``Problem`` ``forbidden``.
        """
        if self.org is None:
            raise Problem("forbidden", "the operator's key creates organizations and nothing else")
        if not self.scopes & {*scopes, ADMIN}:
            wanted = " or ".join((*scopes, ADMIN))
            raise Problem("forbidden", f"key {self.key_name!r} lacks the scope {wanted}")
        return self.org
