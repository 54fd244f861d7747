"""An organization as a backup holds it: in parts that each fit into one call.

Parts are whole by themselves. They come in an order in which an interrupted restore harms nobody:
licenses and what holds seats of them before the first key that could take one.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack
from lessor_protocol.fields import invalid, is_plain_text

from lessor_daemon import values
from lessor_daemon.store.directory import FINISHING, REVOKED, KeyRecord, Member
from lessor_daemon.store.leases import FLOATING, NAMED_USER
from lessor_daemon.store.offline import OfflineRecord

from .licenses import DEFAULTS
from .policy import unpack_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .licenses import Fields

MOST_UNPACKED_BYTES = 64 << 20
"""A part is packed tightly; this is how far it may unfold."""
PART_BYTES = 256 * 1024
"""About as much a part holds before it is packed; records differ in size."""
OFFLINE_COSTS = PART_BYTES // 100
"""What an offline license counts besides: each is issued anew, on disk, and a call has its time."""
USERS_AT_ONCE = 1_000
_SETTINGS = {*DEFAULTS, "seats"}


@dataclass(frozen=True, slots=True)
class License:
    """A license and those registered for it, since when."""

    name: str
    fields: Fields
    users: dict[str, int]


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization, whole or a part of it."""

    slug: str
    name: str
    members: list[Member] = field(default_factory=list)
    licenses: list[License] = field(default_factory=list)
    keys: list[KeyRecord] = field(default_factory=list)
    offline: list[OfflineRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an organization: ``number`` from 1 of ``of``."""

    organization: Organization
    number: int
    of: int

    @property
    def is_last(self) -> bool:
        """Whether the organization is complete with it."""
        return self.number == self.of

    def to_wire(self) -> dict[str, object]:
        """As it stands in the document. The counts are for people."""
        one = self.organization
        fields = asdict(one)
        for key in fields["keys"]:
            key["scopes"] = sorted(key["scopes"])
        return {
            "slug": one.slug,
            "name": one.name,
            "part": self.number,
            "parts": self.of,
            "members": len(one.members),
            "licenses": len(one.licenses),
            "keys": len(one.keys),
            "data": b64encode(zlib.compress(msgpack.packb(fields))).decode(),
        }


def parts_of(whole: Organization) -> list[Part]:
    """All parts, at least one."""
    made = [Organization(whole.slug, whole.name)]
    size = 0
    for kind, record in _records(whole):
        size += len(msgpack.packb(asdict(record), default=sorted))
        size += OFFLINE_COSTS if kind == "offline" else 0
        if size > PART_BYTES:
            made.append(Organization(whole.slug, whole.name))
            size = 0
        getattr(made[-1], kind).append(record)
    return [Part(one, number, len(made)) for number, one in enumerate(made, 1)]


def _records(whole: Organization) -> Iterator[tuple[str, Any]]:
    for member in whole.members:
        yield "members", member
    for license in whole.licenses:
        users = list(license.users.items())
        for start in range(0, max(1, len(users)), USERS_AT_ONCE):
            some = dict(users[start : start + USERS_AT_ONCE])
            yield "licenses", License(license.name, license.fields, some)
    for record in whole.offline:
        yield "offline", record
    for key in whole.keys:
        yield "keys", key


def read_part(data: str, number: int, of: int, path: str) -> Part:
    """Read and check what ``Part.to_wire`` wrote. Raises ``Problem`` ``invalid``.

    It may have been made by anybody: what becomes the name of a key of the store, a right or a
    setting is what it may be, or nothing is restored.
    """
    if not 1 <= number <= of:
        raise invalid(f"{path}.part", "must lie between 1 and parts")
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(b64decode(data, validate=True), MOST_UNPACKED_BYTES)
        if not unpacker.eof:
            raise _Unfit("it is cut short, or unfolds too far")
        fields: dict[str, Any] = msgpack.unpackb(packed)
        organization = Organization(
            slug=fields["slug"],
            name=fields["name"],
            members=[Member(**one) for one in fields["members"]],
            licenses=[License(**one) for one in fields["licenses"]],
            keys=[
                KeyRecord(**(one | {"scopes": frozenset(one["scopes"])})) for one in fields["keys"]
            ],
            offline=[OfflineRecord(**one) for one in fields["offline"]],
        )
        _check(organization)
    except _Unfit as error:
        raise _not_one(path, str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _not_one(path, DAMAGED) from None
    except (zlib.error, msgpack.UnpackException):
        raise _not_one(path, DAMAGED) from None
    return Part(organization, number, of)


DAMAGED = "it is damaged, or another version made it"
"""Where nothing but a library's own words would say more."""


class _Unfit(ValueError):
    """It can be read, and says what cannot be; in our own words."""


def _not_one(path: str, why: str) -> Exception:
    return invalid(f"{path}.data", f"is not an organization of a backup: {why}")


def _check(one: Organization) -> None:
    """Raises ``ValueError`` and ``TypeError``, and ``Problem`` for names."""
    values.check_slug(one.slug, "slug")
    _refuse_unless(is_plain_text(one.name), "name")
    for member in one.members:
        values.check_email(member.email, "email")
        _refuse_unless(member.role in values.ROLES, "role")
        _refuse_unless(_is_count(member.since_wall_seconds), "since")
    for license in one.licenses:
        _check_license(license)
    for record in one.offline:
        values.check_license_name(record.license, "license")
        texts = (record.serial, record.machine, record.issued_by, record.signing_key)
        _refuse_unless(all(is_plain_text(text) for text in texts), "offline")
        numbers = (record.seats, record.issued, record.expires, record.returned)
        _refuse_unless(all(map(_is_count, numbers)), "offline")
        _refuse_unless(isinstance(record.return_key, bytes), "return_key")
    for key in one.keys:
        _check_key(key, one.slug)


def _check_license(license: License) -> None:
    values.check_license_name(license.name, "license")
    fields = license.fields
    _refuse_unless(set(fields) <= _SETTINGS, "settings")
    _refuse_unless(fields.get("kind") in (FLOATING, NAMED_USER), "kind")
    _refuse_unless(isinstance(fields.get("product", ""), str), "product")
    policy = fields.get("policy", b"")
    _refuse_unless(isinstance(policy, bytes), "policy")
    unpack_policy(bytes(policy))  # type: ignore[arg-type]  # the line before has seen to it
    for name in _SETTINGS - {"kind", "product", "policy"}:
        least = {"machines": -2, "retention": -1}.get(name, 0)
        _refuse_unless(name not in fields or _is_count(fields[name], least), name)
    _refuse_unless(_is_count(fields.get("seats")), "seats")
    for email, since in license.users.items():
        values.check_email(email, "email")
        _refuse_unless(_is_count(since), "since")


def _check_key(key: KeyRecord, slug: str) -> None:
    _refuse_unless(key.org == slug, "organization of a key")
    _refuse_unless(key.key_id.isascii() and key.key_id.isalnum(), "id of a key")
    _refuse_unless(key.scopes <= set(values.SCOPES), "scopes")
    _refuse_unless(key.state in ("", REVOKED, FINISHING), "state")
    _refuse_unless(is_plain_text(key.name), "name of a key")
    if key.member:
        values.check_email(key.member, "member")
    if key.license:
        values.check_license_name(key.license, "license")
    digests = (key.digest, key.old_digest, key.file_digest)
    _refuse_unless(all(isinstance(one, bytes) for one in digests), "digest")
    numbers = (key.expires_wall_seconds, key.created_wall_seconds, key.old_until_wall_seconds)
    _refuse_unless(all(map(_is_count, numbers)), "times of a key")


def _is_count(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def _refuse_unless(holds: bool, what: str) -> None:  # it reads as a sentence
    if not holds:
        raise _Unfit(f"its {what} cannot be")
