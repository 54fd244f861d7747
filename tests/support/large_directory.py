"""An organization with thousands of everything."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lessor_daemon.directory.backup_document import License, Organization
from lessor_daemon.store.directory import KeyRecord, Member
from lessor_daemon.store.offline import OfflineRecord

if TYPE_CHECKING:
    from lessor_daemon.directory.licenses import Fields

FOR_EVER = 4_000_000_000


def large_organization(slug: str, *, members: int, keys: int, offline: int) -> Organization:
    """Every member is a registered user of ``studio``; offline licenses are of ``kre``."""
    emails = sorted(f"{_random(slug, n).hex()[:40]}@example.com" for n in range(members))
    everybody = [Member("olga@example.com", "owner", 1)]
    everybody += [Member(email, "member", 1) for email in emails]
    studio: Fields = {
        "kind": "named-user",
        "seats": members,
        "machines": -1,
        "ttl": 30_000,
        "expires": 0,
    }
    return Organization(
        slug,
        "Large",
        sorted(everybody, key=lambda one: one.email),
        [
            License("studio", studio, dict.fromkeys(emails, 1)),
            License("kre", {**studio, "kind": "floating", "seats": offline}, {}),
        ],
        [_key(slug, number) for number in range(keys)],
        [_offline(number) for number in range(offline)],
    )


def _key(slug: str, number: int) -> KeyRecord:
    return KeyRecord(
        key_id=f"{slug}{number:07}",
        org=slug,
        name=f"key {number}",
        member="",
        scopes=frozenset({"run"}),
        digest=_random(slug, number),
        expires_wall_seconds=0,
        old_digest=_random("old", number),
    )


def _offline(number: int) -> OfflineRecord:
    key = _random("return", number)
    name = f"serial{number:06}"
    return OfflineRecord(name, "kre", f"m{number}", 1, 1, "olga", FOR_EVER, "k1", key)


def _random(what: str, number: int) -> bytes:
    """As a secret's hash is: nothing that packs well."""
    return hashlib.sha256(f"{what} {number}".encode()).digest()
