"""Who is calling: what an API key stands for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from lessor_protocol.errors import Problem

RUN = "run"
READ = "read"
ADMIN = "admin"
OPERATOR = "operator"


class Rank(IntEnum):
    """What somebody is in their organization; each may do what those below may."""

    MEMBER = 1
    ADMIN = 2
    OWNER = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated API key. ``org`` is None only for the operator's key.

    ``member`` is the e-mail address behind a personal key; a service key has none. ``license`` is
    the only one the key is for; None for all. A key that ``only_holds`` has expired or was revoked:
    at most it renews and releases what was taken with it, and administers nothing.
    """

    key_id: str
    key_name: str
    org: str | None
    member: str | None
    role: str | None
    scopes: frozenset[str]
    license: str | None = None
    only_holds: bool = False

    @property
    def owner(self) -> str:
        """Whose leases count as this caller's own: the member's, else those of this very key."""
        return f"member:{self.member}" if self.member else f"key:{self.key_id}"

    @property
    def rank(self) -> Rank:
        """A personal key has its member's rank. A service key is the organization's own."""
        if self.role:
            return Rank[self.role.upper()]
        return Rank.MEMBER if self.member else Rank.ADMIN

    @property
    def is_admin(self) -> bool:
        """Whether this caller administers its organization."""
        return ADMIN in self.scopes and self.rank >= Rank.ADMIN and not self.only_holds

    def require(self, *scopes: str) -> str:
        """The caller's organization, if the key has one of ``scopes`` (``admin`` implies all).

        Raises ``Problem`` ``forbidden``.
        """
        if self.org is None:
            raise Problem("forbidden", "the operator's key creates organizations and nothing else")
        if not self.scopes & {*scopes, ADMIN}:
            wanted = " or ".join(dict.fromkeys((*scopes, ADMIN)))
            raise Problem("forbidden", f"key {self.key_name!r} lacks the scope {wanted}")
        return self.org

    def reaches(self, license: str) -> bool:
        """Whether what belongs to this license is there for the key; else it is ``not_found``."""
        return self.license in (None, license)

    def narrowed(self, license: str | None) -> str | None:
        """The license to look at, where None stands for all. Raises as ``require_license``."""
        if license is None:
            return self.license
        self.require_license(license)
        return license

    def require_license(self, license: str) -> None:
        """Raise ``Problem`` ``forbidden`` unless the key reaches the license that it names."""
        if not self.reaches(license):
            raise Problem("forbidden", f"key {self.key_name!r} is for {self.license!r} only")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and from where, as the audit keeps it."""

    key: str
    name: str
    member: str
    source: str
    request: str

    @classmethod
    def of(cls, caller: Caller, source: str, request: str) -> Actor:
        """The caller of one request."""
        return cls(caller.key_id, caller.key_name, caller.member or "", source, request)


REASSERTION = Actor("", "reassertion", "", "", "")
"""Changes that a store forgot, made again by a daemon that remembers them."""

BOOTSTRAP = Actor("", "bootstrap", "", "", "")
"""Changes that the bootstrap file and the first start make."""
