"""How many records an organization keeps at most, whatever their age."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from lessor_daemon.directory.restrictions import ORGANIZATION, THERE
from lessor_daemon.store import changes, facts, lua, scripts, sessions
from support.organization import lease_id

if TYPE_CHECKING:
    import pytest
    from support.organization import Organization

KEPT = 10
NODE = 100
"""A stream is trimmed by whole nodes, of at most so many entries: so many may be left over."""
MADE = 2 * (KEPT + NODE)


def keeping_few(script: str, constant: str, stated_bound: int = 100_000) -> lua.Script:
    """The script with a bound that a test can reach, in place of the stated one."""
    stated = lua.load(script).source
    source = stated.replace(f"local {constant} = {stated_bound} ", f"local {constant} = {KEPT} ")
    assert source != stated, f"the stated bound is {stated_bound}"
    return lua.Script(script, source, hashlib.sha1(source.encode()).hexdigest())


FEW_SESSIONS = keeping_few("release", "SESSIONS_KEPT")
FEW_CHANGES = keeping_few("quota", "AUDIT_KEPT")
FEW_FACTS = keeping_few("quota", "FACTS_KEPT", 50_000)


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


async def test_facts_have_a_bound_and_the_organizations_beginning_stays(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_QUOTA", FEW_FACTS)
    for number in range(1, MADE + 1):
        said = {f"user kre u{number}": (0, b"1")} if number > 1 else {ORGANIZATION: (0, THERE)}
        await changes.quota(
            acme.store,
            acme.slug,
            acme.clock.context(acme.at_ms),
            changes.ChangeMark(None, os.urandom(8), b"", said),
            license=acme.license,
            fields={"kind": "floating", "seats": 1, "machines": 1},
            force=True,
        )
    kept = [one.name for one in await facts.since(acme.store, acme.slug, 0)]
    assert kept == [ORGANIZATION, *(f"user kre u{n}" for n in range(MADE - KEPT + 1, MADE + 1))]
