"""The stored leases that a caller may look at or give back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid
from lessor_protocol.lease_id import format_lease_id

from lessor_daemon.directory.callers import READ, RUN
from lessor_daemon.directory.pages import Page
from lessor_daemon.directory.sessions import holder_of
from lessor_daemon.store import leases, line
from lessor_daemon.store.errors import store_problems

from .holders import to_lease

if TYPE_CHECKING:
    from lessor_protocol.messages import Lease

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.store.leases import LeaseRecord
    from lessor_daemon.store.store import Store


class Records:
    """Reads leases. Every method may raise ``Problem``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, caller: Caller, lease_id: bytes) -> Lease:
        """One lease of the caller's organization. Raises ``Problem`` ``not_found``."""
        org = caller.require(RUN, READ)
        with store_problems():
            record = await leases.find(self._store, org, lease_id)
        if record is None or not _is_seen(caller, record):
            raise Problem("not_found", f"no lease {format_lease_id(lease_id)}")
        return to_lease(record)

    async def page(
        self, caller: Caller, cursor: str | None, limit: int
    ) -> tuple[list[dict[str, object]], str | None]:
        """About ``limit`` of the leases that the caller may see, for the wire, and the cursor.

        A lease that comes or goes while pages are read may be missing or shown. See ``Page``.
        """
        org = caller.require(RUN, READ)

        async def read(begin: int, about: int) -> tuple[list[dict[str, object]], int]:
            with store_problems():
                records, following = await leases.scan(self._store, org, begin, about=about)
            seen = [one for one in records if _is_seen(caller, one)]
            return [to_lease(one).to_wire() for one in seen], following

        found = Page(limit)
        following = await found.fill(_scan_cursor(cursor), read)
        return found.items, str(following) if following else None

    async def require_within_reach(self, org: str, caller: Caller, lease_id: bytes) -> None:
        """Raise ``Problem`` if the key may not give back what has this id.

        Whose it is, the script that releases it looks at. Here is what it does not know. What is
        of another license than the key's is ``not_found``. And it is ``forbidden`` to a key that
        only holds, unless it was taken with it: else whoever got hold of a member's key could,
        after it was revoked for that, still end what the member runs with another.
        """
        if caller.license is None and not caller.only_holds:
            return
        with store_problems():
            record = await leases.find(self._store, org, lease_id) or await line.find(
                self._store, org, lease_id
            )
        if record is None:
            return
        if not caller.reaches(record.license):
            raise Problem("not_found", f"no lease {format_lease_id(lease_id)}")
        if caller.only_holds and holder_of(record).key_id != caller.key_id:
            raise Problem("forbidden", "this lease was not taken with this key")


def _is_seen(caller: Caller, record: LeaseRecord) -> bool:
    return not record.offered and caller.reaches(record.license)


def _scan_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not leases.is_cursor(cursor):
        raise invalid("cursor", "must be the `next` of an earlier page")
    return int(cursor)
