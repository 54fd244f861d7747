"""What an organization's keys must look like at any time, checked from the raw data."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from lessor_daemon.store import leases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lessor_daemon.store.leases import LeaseRecord
    from lessor_daemon.store.store import Store

ALWAYS = re.compile(
    r"lessor:(store|organizations|signing-keys|operator-(keys|keys-used|audit)|key:\w+)"
)
OF_ORG = re.compile(
    r"\{(?P<org>[a-z0-9-]+)\}:"
    r"(clock|organization|members|keys|keys-used|licenses|ended|leases|lease|waiting|waiter|absent|ending|notices"
    r"|events|audit|offline|facts|facts-at"
    r"|[\w.-]+:(quota|use|machines|busy|seen|registered|online|offline|offline-on|groups)"
    r"|[\w.-]+:(queue|parked-on|(ready|parked):[\w.-]*))"
)


async def assert_consistent(store: Store) -> None:
    """Every key is one we know, and all that says the same thing says the same."""
    names = [key.decode() for key in await _ask(store, "KEYS", "*")]
    unknown = [key for key in names if not ALWAYS.fullmatch(key) and not OF_ORG.fullmatch(key)]
    assert not unknown, f"keys that nobody should have written: {unknown}"
    orgs = {match["org"] for key in names if (match := OF_ORG.fullmatch(key))}
    for org in orgs:
        records = await _assert_leases_agree(store, org)
        await _assert_line_agrees(store, org, {one.lease_id for one in records if one.offered})


async def assert_at_rest(store: Store, org: str) -> None:
    """Nothing is live: no lease, no waiter, no busy machine, only quotas and memories."""
    await assert_consistent(store)
    kept = re.compile(
        rf"\{{{org}\}}:(clock|organization|members|keys|keys-used|licenses|ended|events|audit|offline"
        r"|facts|facts-at"
        r"|[\w.-]+:(quota|machines|seen|registered|offline|offline-on))"
    )
    left = [key.decode() for key in await _ask(store, "KEYS", f"{{{org}}}:*")]
    leaked = [key for key in left if not kept.fullmatch(key)]
    assert not leaked, f"left behind: {leaked}"


async def _assert_leases_agree(store: Store, org: str) -> list[LeaseRecord]:
    deadlines = set(await _ask(store, "ZRANGE", f"{{{org}}}:leases", 0, -1))
    records: list[LeaseRecord] = []
    cursor = 0
    while True:
        page, cursor = await leases.scan(store, org, cursor, about=1000)
        records += page
        if not cursor:
            break
    assert {record.lease_id for record in records} == deadlines
    licenses = {key.decode() for key in await _ask(store, "SMEMBERS", f"{{{org}}}:licenses")}
    assert {record.license for record in records} <= licenses
    for license in licenses:
        mine = [record for record in records if record.license == license]
        await _assert_license_agrees(store, f"{{{org}}}:{license}", mine)
    return records


async def _assert_license_agrees(store: Store, prefix: str, mine: list[LeaseRecord]) -> None:
    use = set(await _ask(store, "SMEMBERS", f"{prefix}:use"))
    names = [
        record.lease_id + (number.to_bytes(2, "big") if number else b"")
        for record in mine
        for number in range(record.seats)
    ]
    assert use == set(names)
    counted: dict[Any, Any] = await store.redis.hgetall(f"{prefix}:busy")
    busy = {machine: int(count) for machine, count in counted.items()}
    assert busy == dict(Counter(record.machine.encode() for record in mine))
    scored: Iterable[Any] = await store.redis.zrange(f"{prefix}:machines", 0, -1, withscores=True)
    machines: dict[bytes, float] = dict(scored)
    assert set(busy) <= set(machines), "a machine is busy but not registered"
    idle = set(machines) - set(busy)
    assert all(machines[machine] > 0 for machine in idle), "an ephemeral machine stayed"


async def _assert_line_agrees(store: Store, org: str, offered: set[bytes]) -> None:
    waiting = set(await _ask(store, "ZRANGE", f"{{{org}}}:waiting", 0, -1))
    waiters = set(await _ask(store, "HKEYS", f"{{{org}}}:waiter"))
    absent = set(await _ask(store, "SMEMBERS", f"{{{org}}}:absent"))
    queued: list[bytes] = []
    for license in await _ask(store, "SMEMBERS", f"{{{org}}}:licenses"):
        prefix = f"{{{org}}}:{license.decode()}"
        in_line = list(await _ask(store, "ZRANGE", f"{prefix}:queue", 0, -1))
        ready = await _members_of_groups(store, f"{prefix}:ready")
        parked = await _members_of_groups(store, f"{prefix}:parked")
        assert sorted(set(in_line) - absent) == sorted(ready + parked)
        parked_on = list(await _ask(store, "ZRANGE", f"{prefix}:parked-on", 0, -1))
        assert sorted(one[-16:] for one in parked_on) == sorted(parked)
        queued += in_line
    assert waiting == set(queued)
    assert waiters == waiting | offered
    assert absent <= waiting
    assert len(queued) == len(set(queued)), "one waiter stands in two lines"
    live = set(await _ask(store, "ZRANGE", f"{{{org}}}:leases", 0, -1))
    assert not live & waiting, "a holder waits"
    ended = set(await _ask(store, "ZRANGE", f"{{{org}}}:ended", 0, -1))
    assert not live & ended, "an ended lease lives"


async def _members_of_groups(store: Store, prefix: str) -> list[bytes]:
    found: list[bytes] = []
    for key in await _ask(store, "KEYS", f"{prefix}:*"):
        found += await _ask(store, "ZRANGE", key.decode(), 0, -1)
    return found


async def _ask(store: Store, *command: str | int) -> Iterable[bytes]:
    """The members that a command names."""
    reply: Iterable[bytes] = await store.redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis leaves it untyped
    return reply
