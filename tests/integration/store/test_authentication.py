"""Keys are read from the store now and then, and not by everybody at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory import api_keys
from lessor_daemon.directory.authentication import (
    FAILURES_AT_ONCE,
    KEY_KEPT_MS,
    SUSPECTS_READ_AT_ONCE,
    Authentication,
)
from lessor_daemon.metrics import Metrics
from lessor_daemon.store import directory, keys
from lessor_daemon.store.directory import KeyRecord
from lessor_protocol.errors import Problem

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

KEY_ID, SECRET = "operator", "s" * 40
KEY = api_keys.key_text(KEY_ID, SECRET)
WRONG_ID = api_keys.key_text("nobody", SECRET)
WRONG_SECRET = api_keys.key_text(KEY_ID, "x" * 40)
SOURCE = "192.0.2.1"


class Clock:
    """A boot clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def authentication(store: Store, clock: Clock) -> Authentication:
    """Knows one key, the operator's."""
    record = KeyRecord(
        key_id=KEY_ID,
        org="",
        name="operator",
        member="",
        scopes=frozenset({"operator"}),
        digest=api_keys.digest(SECRET),
        expires_wall_seconds=0,
        state="",
        created_wall_seconds=0,
    )
    await directory.place_key(store, KEY_ID, "")
    await directory.put_operator_key(store, record)
    return Authentication(store, Metrics(), boottime_ms=clock, wall_ms=lambda: 1_800_000_000_000)


async def fail(authentication: Authentication, times: int, key: str = WRONG_ID) -> list[str]:
    """What so many attempts with a key that does not hold are told."""
    told = []
    for _ in range(times):
        with pytest.raises(Problem) as caught:
            await authentication.authenticate(key, "renew", SOURCE)
        told.append(caught.value.code)
    return told


async def test_a_good_key_is_let_in_where_others_fail_also_when_it_was_not_met_before(
    authentication: Authentication,
) -> None:
    assert set(await fail(authentication, FAILURES_AT_ONCE)) == {"unauthenticated"}
    assert (await authentication.authenticate(KEY, "backup", SOURCE)).key_id == KEY_ID
    authentication.forget()
    assert (await authentication.authenticate(KEY, "backup", SOURCE)).key_id == KEY_ID
    assert await fail(authentication, 1) == ["rate_limited"]


@pytest.mark.parametrize(
    "key",
    [WRONG_ID, WRONG_SECRET, "nothing like a key", "lsr_\udcff_\udcfe"],
    ids=["id", "secret", "form", "bytes"],
)
async def test_who_keeps_failing_is_told_to_wait(authentication: Authentication, key: str) -> None:
    told = await fail(authentication, FAILURES_AT_ONCE + 1, key)
    assert told == ["unauthenticated"] * FAILURES_AT_ONCE + ["rate_limited"]


async def test_those_who_fail_occupy_little_of_the_store(
    authentication: Authentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, most = 0, 0
    find_key = directory.find_key

    async def counted(store: Store, key_id: str) -> KeyRecord | None:
        nonlocal reads, most
        reads += 1
        most = max(most, reads)
        try:
            return await find_key(store, key_id)
        finally:
            reads -= 1

    await fail(authentication, FAILURES_AT_ONCE)
    monkeypatch.setattr(directory, "find_key", counted)
    guesses = [api_keys.key_text(f"guess{number}", SECRET) for number in range(200)]
    attempts = (authentication.authenticate(one, "renew", SOURCE) for one in guesses)
    told = await asyncio.gather(*attempts, return_exceptions=True)
    assert {one.code for one in told if isinstance(one, Problem)} == {"rate_limited"}
    assert most <= SUSPECTS_READ_AT_ONCE


async def test_a_new_secret_is_good_at_once_where_the_old_one_was_used_a_moment_ago(
    authentication: Authentication, store: Store
) -> None:
    assert (await authentication.authenticate(KEY, "backup", SOURCE)).key_id == KEY_ID
    record = await directory.find_key(store, KEY_ID)
    assert record is not None
    new = "n" * 40
    await directory.put_operator_key(store, replace(record, digest=api_keys.digest(new)))
    rotated = api_keys.key_text(KEY_ID, new)
    assert (await authentication.authenticate(rotated, "backup", SOURCE)).key_id == KEY_ID
    assert await fail(authentication, 1, KEY) == ["unauthenticated"]


async def test_many_who_ask_at_once_are_one_read(
    authentication: Authentication, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read_key = directory.key

    async def counted(store: Store, org: str, key_id: str) -> KeyRecord | None:
        nonlocal reads
        reads += 1
        return await read_key(store, org, key_id)

    monkeypatch.setattr(directory, "key", counted)
    for expected in (1, 2):
        asked = (authentication.authenticate(KEY, "backup", "::1") for _ in range(50))
        callers = await asyncio.gather(*asked)
        assert {caller.key_id for caller in callers} == {KEY_ID}
        assert reads == expected
        clock.now_ms += KEY_KEPT_MS


async def test_one_who_goes_away_leaves_the_others_their_answer(
    authentication: Authentication,
) -> None:
    gone = asyncio.create_task(authentication.authenticate(KEY, "backup", "::1"))
    stays = asyncio.create_task(authentication.authenticate(KEY, "backup", "::1"))
    await asyncio.sleep(0)  # both ask
    gone.cancel()
    assert (await stays).key_id == KEY_ID
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_change_made_here_is_seen_at_once_also_by_who_asks_during_a_read(
    authentication: Authentication, store: Store
) -> None:
    during = asyncio.create_task(authentication.authenticate(KEY, "backup", "::1"))
    await asyncio.sleep(0)  # it reads
    await store.redis.delete("lessor:operator-keys")
    authentication.forget([KEY_ID])
    with pytest.raises(Problem, match="no such API key"):
        await authentication.authenticate(KEY, "backup", "::1")
    await asyncio.gather(during, return_exceptions=True)  # either answer is true of its moment


async def test_who_is_known_is_read_where_they_were_whatever_becomes_of_the_place(
    authentication: Authentication, clock: Clock, store: Store
) -> None:
    """In a Cluster another server may have to be asked for it, which hangs."""
    await authentication.authenticate(KEY, "renew", SOURCE)
    await store.redis.delete(keys.key_place(KEY_ID))
    clock.now_ms += KEY_KEPT_MS + 1
    assert (await authentication.authenticate(KEY, "renew", SOURCE)).key_id == KEY_ID
    await store.redis.delete(keys.api_keys(""))
    clock.now_ms += KEY_KEPT_MS + 1
    with pytest.raises(Problem, match="key"):
        await authentication.authenticate(KEY, "renew", SOURCE)
