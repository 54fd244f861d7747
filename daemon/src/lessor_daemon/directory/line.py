"""The line of a license, as those see it who may see who holds its seats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.lease_id import format_lease_id

from lessor_daemon.store import line
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .pages import Page
from .sessions import holder_of

if TYPE_CHECKING:
    from lessor_daemon.store.line import WaiterRecord
    from lessor_daemon.store.store import Store

    from .callers import Caller
    from .licenses import Licenses


class Lines:
    """The lines of licenses. Every method may raise ``Problem``."""

    def __init__(self, store: Store, licenses: Licenses) -> None:
        self._store = store
        self._licenses = licenses

    async def page(
        self, caller: Caller, org: str, name: str, start: int, limit: int
    ) -> tuple[list[dict[str, object]], int | None]:
        """Who waits, from the one after the first ``start``, and where the next page begins.

        See ``Page``.
        """
        await self._licenses.find(org, name)
        with store_problems():
            found = await line.waiters(self._store, org, name, start, limit + 1)
        shown = Page(limit)
        for waiter in found:
            if not shown.add(_to_wire(caller, waiter)):
                return shown.items, waiter.position - 1
        return shown.items, None


def _to_wire(caller: Caller, waiter: WaiterRecord) -> dict[str, object]:
    holder = holder_of(waiter)
    is_own = waiter.owner == caller.owner
    shown: dict[str, object] = {
        "position": waiter.position,
        "user": holder.user or waiter.owner.partition(":")[2],
        "machine": holder.machine_name or waiter.machine,
        "command": holder.command,
        "labels": holder.labels,
        "since": wall_text(waiter.since_wall_ms),
        "seats": waiter.least_seats,
        "most_seats": waiter.most_seats,
        "group": waiter.group,
        "is_own": is_own,
    }
    if is_own or caller.is_admin:
        shown["id"] = format_lease_id(waiter.lease_id)  # what a release takes
    return shown
