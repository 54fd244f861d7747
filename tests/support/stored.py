"""What an organization's keys must look like at any time, checked from the raw data."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from lessor_daemon.store import leases

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

ALWAYS = re.compile(r"lessor:(store|organizations|operator-keys|key:\w+)")
OF_ORG = re.compile(
    r"\{(?P<org>[a-z0-9-]+)\}:"
    r"(clock|organization|members|keys|licenses|ended|leases|lease|waiting|waiter"
    r"|[\w.-]+:(quota|use|machines|busy|queue))"
)


async def assert_consistent(store: Store) -> None:
    """Every key is one we know, and all that says the same thing says the same."""
    names = [key.decode() for key in await store.redis.keys("*")]
    unknown = [key for key in names if not ALWAYS.fullmatch(key) and not OF_ORG.fullmatch(key)]
    assert not unknown, f"keys that nobody should have written: {unknown}"
    orgs = {match["org"] for key in names if (match := OF_ORG.fullmatch(key))}
    for org in orgs:
        await _assert_leases_agree(store, org)
        await _assert_line_agrees(store, org)


async def assert_at_rest(store: Store, org: str) -> None:
    """Nothing is live: no lease, no waiter, no busy machine, only quotas and memories."""
    await assert_consistent(store)
    kept = re.compile(
        rf"\{{{org}\}}:(clock|organization|members|keys|licenses|ended|[\w.-]+:(quota|machines))"
    )
    left = [key.decode() for key in await store.redis.keys(f"{{{org}}}:*")]
    leaked = [key for key in left if not kept.fullmatch(key)]
    assert not leaked, f"left behind: {leaked}"


async def _assert_leases_agree(store: Store, org: str) -> None:
    redis = store.redis
    deadlines = {
        lease_id for lease_id, _ in await redis.zrange(f"{{{org}}}:leases", 0, -1, withscores=True)
    }
    records = []
    cursor = 0
    while True:
        page, cursor = await leases.scan(store, org, cursor, about=1000)
        records += page
        if not cursor:
            break
    assert {record.lease_id for record in records} == deadlines
    licenses = {key.decode() for key in await redis.smembers(f"{{{org}}}:licenses")}
    assert {record.license for record in records} <= licenses
    for license in licenses:
        mine = [record for record in records if record.license == license]
        use = await redis.smembers(f"{{{org}}}:{license}:use")
        assert use == {record.lease_id for record in mine}
        busy = await redis.hgetall(f"{{{org}}}:{license}:busy")
        counted = Counter(record.machine.encode() for record in mine)
        assert {machine: int(count) for machine, count in busy.items()} == dict(counted)
        machines = dict(await redis.zrange(f"{{{org}}}:{license}:machines", 0, -1, withscores=True))
        assert set(busy) <= set(machines), "a machine is busy but not registered"
        idle = set(machines) - set(busy)
        assert all(machines[machine] > 0 for machine in idle), "an ephemeral machine stayed"


async def _assert_line_agrees(store: Store, org: str) -> None:
    redis = store.redis
    waiting = set(await redis.zrange(f"{{{org}}}:waiting", 0, -1))
    waiters = set(await redis.hkeys(f"{{{org}}}:waiter"))
    queued: list[bytes] = []
    for license in await redis.smembers(f"{{{org}}}:licenses"):
        queued += await redis.zrange(f"{{{org}}}:{license.decode()}:queue", 0, -1)
    assert waiting == waiters == set(queued)
    assert len(queued) == len(set(queued)), "one waiter stands in two lines"
    live = set(await redis.zrange(f"{{{org}}}:leases", 0, -1))
    assert not live & waiting, "a holder waits"
    ended = set(await redis.zrange(f"{{{org}}}:ended", 0, -1))
    assert not live & ended, "an ended lease lives"
