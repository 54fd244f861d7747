"""The bootstrap file: organizations, members, licenses and keys that exist after each start.

Reading checks all of it before anything is touched, and names the place of what is wrong as
``acme.toml: organization[0].license[1].seats``. Fields nobody knows are refused: they are typos.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lessor_protocol.credentials import split_api_key
from lessor_protocol.duration import format_duration
from lessor_protocol.timing import DEFAULT_TTL_MS

from . import toml_file, values
from .errors import ConfigurationError
from .toml_file import Table

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True)
class MemberSpec:
    """A member and the role that counts from now on."""

    email: str
    role: str


@dataclass(frozen=True)
class GroupSpec:
    """A group of a license's policy: those who carry ``label`` with ``value``."""

    name: str
    label: str
    value: str
    head_start_ms: int
    reserve: int
    cap: int | None


@dataclass(frozen=True)
class LicenseSpec:
    """A license. ``machines`` is the machine quota, None when it is unlimited.

    Without ``groups`` the policy stays as it is, and so do expiry and idle time-out with None.
    """

    name: str
    kind: str
    seats: int
    machines: int | None
    ttl_ms: int
    expires: datetime | None
    groups: tuple[GroupSpec, ...] = ()
    idle_seconds: int | None = None


@dataclass(frozen=True)
class KeySpec:
    """An API key, known by its name within the organization.

    ``secret`` is the whole key if the file gives one or ``secret_file`` already holds one. It is
    None when a key is to be made and written to ``secret_file``, or when a revocation needs none.
    ``revoked`` None leaves a key as it is, and so does ``expires`` None.
    """

    name: str
    scopes: frozenset[str]
    member: str | None
    secret: str | None = field(repr=False)
    secret_file: Path | None
    expires: datetime | None
    revoked: bool | None = None


@dataclass(frozen=True)
class OrganizationSpec:
    """One organization with everything that the file says about it."""

    slug: str
    name: str
    members: tuple[MemberSpec, ...] = ()
    licenses: tuple[LicenseSpec, ...] = ()
    keys: tuple[KeySpec, ...] = ()


@dataclass(frozen=True)
class Bootstrap:
    """The whole file."""

    organizations: tuple[OrganizationSpec, ...] = ()


def read_bootstrap(path: Path, *, min_ttl_ms: int, max_ttl_ms: int) -> Bootstrap:
    """Read and check ``path``. Raises ``ConfigurationError``; no text of it quotes a key."""
    reader = _Reader(path, min_ttl_ms, max_ttl_ms)
    root = Table(path, "", toml_file.read(path))
    organizations = tuple(reader.organization(table) for table in root.tables("organization"))
    root.refuse_unknown()
    _refuse_doubles(path, "organization", "slug", [one.slug for one in organizations])
    return Bootstrap(organizations)


class _Reader:
    """Turns tables into specifications."""

    def __init__(self, path: Path, min_ttl_ms: int, max_ttl_ms: int) -> None:
        self._path = path
        self._min_ttl_ms = min_ttl_ms
        self._max_ttl_ms = max_ttl_ms

    def organization(self, table: Table) -> OrganizationSpec:
        slug = table.matching("slug", values.SLUG, values.SLUG_RULE)
        members = tuple(self._member(item) for item in table.tables("members"))
        emails = [member.email for member in members]
        licenses = tuple(self._license(item) for item in table.tables("license"))
        keys = tuple(self._key(item, frozenset(emails)) for item in table.tables("key"))
        name = table.text("name", slug)
        table.refuse_unknown()
        for what, mark, found in (
            ("members", "email", emails),
            ("license", "name", [one.name for one in licenses]),
            ("key", "name", [key.name for key in keys]),
        ):
            _refuse_doubles(self._path, f"{table.place}.{what}", mark, found)
        return OrganizationSpec(slug, name, members, licenses, keys)

    def _member(self, table: Table) -> MemberSpec:
        email = table.matching("email", values.EMAIL, values.EMAIL_RULE).lower()
        role = table.choice("role", values.ROLES, "member")
        table.refuse_unknown()
        return MemberSpec(email, role)

    def _license(self, table: Table) -> LicenseSpec:
        name = table.matching("name", values.LICENSE_NAME, values.NAME_RULE)
        kind = table.choice("kind", values.KINDS, "floating")
        seats = table.integer("seats", values.MOST_SEATS)
        machines = table.integer_or_unlimited("machines", values.MOST_SEATS, seats)
        ttl_ms = self._ttl(table)
        expires = table.moment("expires")
        groups = tuple(self._group(item) for item in table.tables("group"))
        idle_seconds = self._idle_timeout(table, kind)
        table.refuse_unknown()
        if groups and kind != "floating":
            raise table.error("group", "is for floating licenses")
        _refuse_doubles(self._path, f"{table.place}.group", "name", [one.name for one in groups])
        return LicenseSpec(name, kind, seats, machines, ttl_ms, expires, groups, idle_seconds)

    def _group(self, table: Table) -> GroupSpec:
        name = table.matching("name", values.LICENSE_NAME, values.NAME_RULE)
        label, value = table.label("label")
        head_start_ms = table.duration_ms("head_start", 0)
        if head_start_ms > values.LONGEST_HEAD_START_MS:
            raise table.error("head_start", "must be at most a day")
        reserve = table.integer("reserve", values.MOST_SEATS, default=0)
        cap = table.integer("cap", values.MOST_SEATS, default=-1)
        table.refuse_unknown()
        if cap == 0 or 0 < cap < reserve:
            raise table.error("cap", "must be at least 1, and not below the reserve")
        return GroupSpec(name, label, value, head_start_ms, reserve, cap if cap > 0 else None)

    def _idle_timeout(self, table: Table, kind: str) -> int | None:
        if not table.has("idle_timeout"):
            return None
        seconds = table.duration_ms("idle_timeout", 0) // 1000
        least, most = values.IDLE_TIMEOUT_SECONDS
        if seconds and kind == "floating":
            raise table.error("idle_timeout", "is for named-user licenses")
        if seconds and not least <= seconds <= most:
            raise table.error("idle_timeout", f"must be from {least}s to {most // 86_400}d, or 0")
        return seconds

    def _ttl(self, table: Table) -> int:
        ttl_ms = table.duration_ms("ttl", min(DEFAULT_TTL_MS, self._max_ttl_ms))
        if not self._min_ttl_ms <= ttl_ms <= self._max_ttl_ms:
            low, high = format_duration(self._min_ttl_ms), format_duration(self._max_ttl_ms)
            raise table.error("ttl", f"must be from {low} to --max-ttl, which is {high}")
        return ttl_ms

    def _key(self, table: Table, emails: frozenset[str]) -> KeySpec:
        name = table.text("name")
        scopes = table.some_of("scopes", values.SCOPES, "run")
        member = table.text("member", "").lower() or None
        if member is not None and member not in emails:
            raise table.error("member", "is not one of the organization's members")
        revoked = table.flag("revoked", default=False) if table.has("revoked") else None
        secret, secret_file = self._secret(table, revoked=revoked is True)
        expires = table.moment("expires")
        table.refuse_unknown()
        return KeySpec(name, scopes, member, secret, secret_file, expires, revoked)

    def _secret(self, table: Table, *, revoked: bool) -> tuple[str | None, Path | None]:
        secret = table.text("secret", "", longest=256) or None
        named = table.text("secret_file", "", longest=4096)
        if secret and named:
            raise table.error("secret", "and secret_file exclude each other")
        if not secret and not named and not revoked:
            raise table.error(
                "secret_file", "is required: where the key is read from or written to"
            )
        secret_file = self._path.parent / named if named else None
        if secret_file is not None and secret_file.exists():
            try:
                secret = secret_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not ASCII text"
                raise table.error(
                    "secret_file", f"{secret_file} cannot be read: {reason}"
                ) from None
        if secret is not None:
            try:
                split_api_key(secret)
            except ValueError as error:
                raise table.error("secret_file" if secret_file else "secret", str(error)) from None
        return secret, secret_file


def _refuse_doubles(path: Path, place: str, mark: str, values: list[str]) -> None:
    seen: set[str] = set()
    for i, value in enumerate(values):
        if value in seen:
            raise ConfigurationError(f"{path}: {place}[{i}].{mark}", f"{value!r} is there twice")
        seen.add(value)
