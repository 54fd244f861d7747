"""sweep: what is older than what is kept goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lessor_daemon.store import sessions

if TYPE_CHECKING:
    from support.organization import Organization

EVENTS = "{acme}:events"
AUDIT = "{acme}:audit"


async def test_old_sessions_and_audit_entries_go_each_by_its_own_age(acme: Organization) -> None:
    redis = acme.store.redis
    now_ms = int(time.time() * 1000)
    day_ms = 86_400_000
    for key in (EVENTS, AUDIT):
        for days in range(300, 0, -1):
            await redis.xadd(key, {"entry": "x"}, id=f"{now_ms - days * day_ms}-1")
    for _ in range(2):  # whole nodes of the stream first, then to the entry
        _, swept = await sessions.sweep(
            acme.store,
            acme.slug,
            acme.clock.context(acme.at_ms),
            wall_ms=now_ms,
            sessions_since_ms=now_ms - 10 * day_ms,
            audit_since_ms=now_ms - 290 * day_ms,
        )
        assert swept.machines == 0
    assert await redis.xlen(EVENTS) == 10
    assert await redis.xlen(AUDIT) == 290
