"""Giving a seat back, over whatever transport the call came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lessor_daemon.directory.callers import Actor, Caller
    from lessor_daemon.directory.service import Directory
    from lessor_daemon.leasing.service import Leasing


async def release(
    leasing: Leasing, directory: Directory, actor: Actor, caller: Caller, lease_id: bytes
) -> None:
    """Release a lease, or leave the line.

    An admin who releases what somebody else holds ends that session, as ``sessions/{id}/end`` does:
    the seat is free when the holder reports its process dead, or at the lease's deadline. Somebody
    who waits is sent away.
    """
    if not await leasing.release(caller, lease_id):
        await directory.sessions.end_others(actor, caller, caller.org or "", lease_id)
