"""Offline licenses of an organization that is driven script by script."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lessor_daemon.store import offline
from lessor_daemon.store.offline import OfflineRecord

if TYPE_CHECKING:
    from .organization import Organization

PAST = 1_000_000_000
"""Wall clock seconds, as all here."""
FUTURE = 4_000_000_000


def offline_license(
    machine: str, *, seats: int = 1, issued: int = PAST, expires: int = FUTURE
) -> OfflineRecord:
    """One of ``kre``."""
    return OfflineRecord("s1", "kre", machine, seats, issued, "ada", expires, "key", b"")


async def issue(acme: Organization, record: OfflineRecord, *, is_forgotten: bool = False) -> str:
    """The status."""
    reading, issued = await offline.issue(
        acme.store,
        acme.slug,
        acme._context(),
        record,
        change_id=os.urandom(8),
        entry=b"",
        said={},
        is_forgotten=is_forgotten,
    )
    acme._learn(reading)
    return issued.status


async def give_back(acme: Organization, record: OfflineRecord) -> int:
    """How many seats that freed."""
    reading, freed, _ = await offline.give_back(
        acme.store, acme.slug, acme._context(), record, change_id=os.urandom(8), entry=b"", said={}
    )
    acme._learn(reading)
    return freed
