"""The bootstrap file: organizations, members, licenses and keys that exist after each start.

Reading checks all of it before anything is touched, and names the place of what is wrong as
``acme.toml: organization[0].license[1].seats``. Fields nobody knows are refused: they are typos.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lessor_protocol.credentials import split_api_key
from lessor_protocol.duration import format_duration, parse_duration_ms
from lessor_protocol.fields import is_plain_text
from lessor_protocol.timing import DEFAULT_TTL_MS

from .errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ROLES = ("owner", "admin", "member")
KINDS = ("floating", "named-user")
SCOPES = ("run", "read", "admin")
MOST_SEATS = 1_000_000
IDLE_TIMEOUT_SECONDS = (10, 30 * 86_400)
"""Least and most. An agent says how long it is idle with each renewal: every few seconds."""
LONGEST_HEAD_START_MS = 86_400_000

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,63})")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


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
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"is not TOML: {error}") from None
    reader = _Reader(path, min_ttl_ms, max_ttl_ms)
    root = _Table(path, "", document)
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

    def organization(self, table: _Table) -> OrganizationSpec:
        slug = table.matching(
            "slug", _SLUG, "lower-case letters, digits and inner hyphens, at most 63"
        )
        members = tuple(self._member(item) for item in table.tables("members"))
        emails = [member.email for member in members]
        licenses = tuple(self._license(item) for item in table.tables("license"))
        keys = tuple(self._key(item, frozenset(emails)) for item in table.tables("key"))
        name = table.text("name", slug)
        table.refuse_unknown()
        for what, mark, values in (
            ("members", "email", emails),
            ("license", "name", [one.name for one in licenses]),
            ("key", "name", [key.name for key in keys]),
        ):
            _refuse_doubles(self._path, f"{table.place}.{what}", mark, values)
        return OrganizationSpec(slug, name, members, licenses, keys)

    def _member(self, table: _Table) -> MemberSpec:
        email = table.matching("email", _EMAIL, "an e-mail address").lower()
        role = table.choice("role", ROLES, "member")
        table.refuse_unknown()
        return MemberSpec(email, role)

    def _license(self, table: _Table) -> LicenseSpec:
        name = table.matching("name", _NAME, "letters, digits, '.', '_' and '-', at most 64")
        kind = table.choice("kind", KINDS, "floating")
        seats = table.integer("seats", MOST_SEATS)
        machines = table.integer_or_unlimited("machines", MOST_SEATS, seats)
        ttl_ms = self._ttl(table)
        expires = table.moment("expires")
        groups = tuple(self._group(item) for item in table.tables("group"))
        idle_seconds = self._idle_timeout(table, kind)
        table.refuse_unknown()
        if groups and kind != "floating":
            raise table.error("group", "is for floating licenses")
        _refuse_doubles(self._path, f"{table.place}.group", "name", [one.name for one in groups])
        return LicenseSpec(name, kind, seats, machines, ttl_ms, expires, groups, idle_seconds)

    def _group(self, table: _Table) -> GroupSpec:
        name = table.matching("name", _NAME, "letters, digits, '.', '_' and '-', at most 64")
        label, value = table.label("label")
        head_start_ms = table.duration_ms("head_start", 0)
        if head_start_ms > LONGEST_HEAD_START_MS:
            raise table.error("head_start", "must be at most a day")
        reserve = table.integer("reserve", MOST_SEATS, default=0)
        cap = table.integer("cap", MOST_SEATS, default=-1)
        table.refuse_unknown()
        if cap == 0 or 0 < cap < reserve:
            raise table.error("cap", "must be at least 1, and not below the reserve")
        return GroupSpec(name, label, value, head_start_ms, reserve, cap if cap > 0 else None)

    def _idle_timeout(self, table: _Table, kind: str) -> int | None:
        if not table.has("idle_timeout"):
            return None
        seconds = table.duration_ms("idle_timeout", 0) // 1000
        least, most = IDLE_TIMEOUT_SECONDS
        if seconds and kind == "floating":
            raise table.error("idle_timeout", "is for named-user licenses")
        if seconds and not least <= seconds <= most:
            raise table.error("idle_timeout", f"must be from {least}s to {most // 86_400}d, or 0")
        return seconds

    def _ttl(self, table: _Table) -> int:
        ttl_ms = table.duration_ms("ttl", min(DEFAULT_TTL_MS, self._max_ttl_ms))
        if not self._min_ttl_ms <= ttl_ms <= self._max_ttl_ms:
            low, high = format_duration(self._min_ttl_ms), format_duration(self._max_ttl_ms)
            raise table.error("ttl", f"must be from {low} to --max-ttl, which is {high}")
        return ttl_ms

    def _key(self, table: _Table, emails: frozenset[str]) -> KeySpec:
        name = table.text("name")
        scopes = table.scopes()
        member = table.text("member", "").lower() or None
        if member is not None and member not in emails:
            raise table.error("member", "is not one of the organization's members")
        revoked = table.flag("revoked", default=False) if table.has("revoked") else None
        secret, secret_file = self._secret(table, revoked=revoked is True)
        expires = table.moment("expires")
        table.refuse_unknown()
        return KeySpec(name, scopes, member, secret, secret_file, expires, revoked)

    def _secret(self, table: _Table, *, revoked: bool) -> tuple[str | None, Path | None]:
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


class _Table:
    """One TOML table. It remembers which fields were asked for, so that the rest can be refused."""

    def __init__(self, path: Path, place: str, values: dict[str, object]) -> None:
        self.place = place
        self._path = path
        self._values = values
        self._known: set[str] = set()

    def error(self, name: str, why: str) -> ConfigurationError:
        at = f"{self.place}.{name}" if self.place else name
        return ConfigurationError(f"{self._path}: {at}", why)

    def refuse_unknown(self) -> None:
        for name in self._values:
            if name not in self._known:
                known = ", ".join(sorted(self._known))
                raise self.error(name, f"is not a field here (known: {known})")

    def has(self, name: str) -> bool:
        self._known.add(name)
        return name in self._values

    def tables(self, name: str) -> list[_Table]:
        values = self._take(name, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise self.error(name, "must be a list of tables")
        at = f"{self.place}.{name}" if self.place else name
        return [_Table(self._path, f"{at}[{i}]", one) for i, one in enumerate(values)]

    def text(self, name: str, default: str | None = None, *, longest: int = 128) -> str:
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self.error(name, "must be a string")
        if name in self._values and not value:
            raise self.error(name, "must not be empty")
        if len(value) > longest or not is_plain_text(value):
            raise self.error(name, f"must be at most {longest} printable characters")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], meaning: str) -> str:
        value = self.text(name, longest=255)
        if not pattern.fullmatch(value):
            raise self.error(name, f"must be {meaning}")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self._take(name, default)
        if value not in choices:
            raise self.error(name, f"must be one of {', '.join(choices)}")
        return str(value)

    def label(self, name: str) -> tuple[str, str]:
        found = self._take(name, None)
        if not isinstance(found, dict) or len(found) != 1:
            raise self.error(name, 'must be one label, as { team = "payments" }')
        ((label, value),) = found.items()
        is_text = isinstance(value, str) and is_plain_text(value) and len(value) <= 256
        if not is_text or not 0 < len(label) <= 64 or not is_plain_text(label):
            raise self.error(name, "must be printable text: 64 characters, and 256 of value")
        return label, value

    def integer(self, name: str, most: int, *, default: int | None = None) -> int:
        if default is not None and name not in self._values:
            self._known.add(name)
            return default
        value = self._take(name, None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.error(name, f"must be a whole number from 0 to {most}")
        return value

    def integer_or_unlimited(self, name: str, most: int, default: int) -> int | None:
        if self._values.get(name) == "unlimited":
            self._known.add(name)
            return None
        if name not in self._values:
            self._known.add(name)
            return default
        try:
            return self.integer(name, most)
        except ConfigurationError as error:
            raise self.error(name, f'{error.why}, or "unlimited"') from None

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def duration_ms(self, name: str, default_ms: int) -> int:
        value = self._take(name, default_ms / 1000)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.error(name, "must be a duration such as 30s")
        try:
            return parse_duration_ms(str(value))
        except ValueError as error:
            raise self.error(name, str(error)) from None

    def moment(self, name: str) -> datetime | None:
        if name not in self._values:
            self._known.add(name)
            return None
        value = self._take(name, None)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.error(name, "must be a date and time with an offset: 2030-01-01T00:00:00Z")
        return value

    def scopes(self) -> frozenset[str]:
        value = self._take("scopes", ["run"])
        if not isinstance(value, list) or not value or not all(one in SCOPES for one in value):
            raise self.error("scopes", f"must be a list of some of {', '.join(SCOPES)}")
        return frozenset(str(one) for one in value)

    def _take(self, name: str, default: object) -> object:
        self._known.add(name)
        value = self._values.get(name, default)
        if value is None:
            raise self.error(name, "is required")
        return value


def _refuse_doubles(path: Path, place: str, mark: str, values: list[str]) -> None:
    seen: set[str] = set()
    for i, value in enumerate(values):
        if value in seen:
            raise ConfigurationError(f"{path}: {place}[{i}].{mark}", f"{value!r} is there twice")
        seen.add(value)
