"""How many records an organization keeps at most, whatever their age."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from lessor_daemon.store import changes, lua, scripts, sessions
from support.organization import lease_id

if TYPE_CHECKING:
    import pytest
    from support.organization import Organization

KEPT = 10
NODE = 100
"""A stream is trimmed by whole nodes, of at most so many entries: so many may be left over."""
MADE = 2 * (KEPT + NODE)


def keeping_few(script: str, constant: str) -> lua.Script:
    """The script with a bound that a test can reach, in place of the stated one."""
    stated = lua.load(script).source
    source = stated.replace(f"local {constant} = 100000 ", f"local {constant} = {KEPT} ")
    assert source != stated, "the stated bound is 100,000"
    return lua.Script(script, source, hashlib.sha1(source.encode()).hexdigest())


FEW_SESSIONS = keeping_few("release", "SESSIONS_KEPT")
FEW_CHANGES = keeping_few("quota", "AUDIT_KEPT")


async def test_past_sessions_have_a_bound(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_RELEASE", FEW_SESSIONS)
    await acme.set_quota(1)
    for number in range(1, MADE + 1):
        await acme.acquire(number)
        await acme.release(number)
    assert KEPT <= await acme.store.redis.xlen("{acme}:events") <= KEPT + NODE
    (newest,) = await sessions.past(acme.store, acme.slug, before="+", since="-", about=1)
    assert newest.lease_id == lease_id(MADE)


async def test_the_audit_has_a_bound(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_QUOTA", FEW_CHANGES)
    for number in range(1, MADE + 1):
        await changes.quota(
            acme.store,
            acme.slug,
            acme.clock.context(acme.at_ms),
            changes.ChangeMark(None, os.urandom(8), str(number).encode()),
            license=acme.license,
            fields={"kind": "floating", "seats": number, "machines": 1},
            force=True,
        )
    assert KEPT <= await acme.store.redis.xlen("{acme}:audit") <= KEPT + NODE
    newest: Any = await acme.store.redis.xrevrange("{acme}:audit", count=1)
    assert [fields[b"entry"] for _, fields in newest] == [str(MADE).encode()]
