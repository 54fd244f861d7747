"""sweep: what is older than what is kept goes."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from lessor_daemon.store import lua, sessions

if TYPE_CHECKING:
    import pytest
    from support.organization import Organization

EVENTS = "{acme}:events"
AUDIT = "{acme}:audit"
STREAM_BYTES = 1_000_000
"""In place of the stated bound, so that a test can reach it."""
STATED = lua.load("sweep").source
LITTLE = STATED.replace("local STREAM_BYTES = 134217728 ", f"local STREAM_BYTES = {STREAM_BYTES} ")
KEEPING_LITTLE = lua.Script("sweep", LITTLE, hashlib.sha1(LITTLE.encode()).hexdigest())


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


async def test_records_with_long_texts_are_bounded_by_their_weight(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_SWEEP", KEEPING_LITTLE)
    for key in (EVENTS, AUDIT):
        for _ in range(10):
            pipeline = acme.store.redis.pipeline(transaction=False)
            for weight in (*[30] * 100, *[2_000] * 100):
                pipeline.xadd(key, {"entry": os.urandom(weight)})
            await pipeline.execute()
        newest = await acme.store.redis.xrevrange(key, count=1)
        for _ in range(10):
            await acme.sweep()
        weight = await acme.store.redis.memory_usage(key, samples=0) or 0
        assert 0.5 < weight / STREAM_BYTES < 1.1, "it is trimmed in whole nodes"
        assert await acme.store.redis.xrevrange(key, count=1) == newest
