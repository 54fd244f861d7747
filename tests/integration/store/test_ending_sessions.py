"""Ending a session whose holder is quick: it is told at once, and gives the seat back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgpack
from lessor_daemon.directory.callers import Actor, Caller
from lessor_daemon.directory.memory import Memory
from lessor_daemon.directory.sessions import Sessions
from lessor_protocol.lease_id import format_lease_id
from support.organization import OWNER, lease_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from lessor_daemon.store.scripts import Context, Reading
    from support.organization import Organization

Answer = TypeVar("Answer", bound="tuple[Reading, *tuple[Any, ...]]")

HOLDER = msgpack.packb(("rig", False, 7, "pytest", "ada", {}, "k1"))
ADMIN = Caller("k1", "admin", "acme", None, None, frozenset({"admin"}))
ACTOR = Actor.of(ADMIN, "127.0.0.1", "r1")


def sessions_of(acme: Organization, tmp_path: Path) -> Sessions:
    """Their holder has released before whoever ended them hears of it."""

    async def run(org: str, script: Callable[[Context], Awaitable[Answer]]) -> Answer:
        assert org == acme.slug
        answer = await script(acme.clock.context(acme.at_ms))
        acme.clock.learn(answer[0], acme.at_ms)
        await acme.release(1)
        return answer

    return Sessions(acme.store, run, Memory(tmp_path / "memory"), lambda: 1_800_000_000_000)


async def test_who_ends_it_learns_that_it_is_ending(acme: Organization, tmp_path: Path) -> None:
    await acme.acquire(1, holder=HOLDER, owner=OWNER)
    ending = await sessions_of(acme, tmp_path).end(ACTOR, ADMIN, "acme", lease_id(1), "the end")
    assert (ending["id"], ending["state"]) == (format_lease_id(lease_id(1)), "ending")
    assert (ending["reason"], ending["text"]) == ("ended", "admin ended it: the end")
    assert await acme.renew(1) != [30_000]


async def test_who_asks_it_to_finish_learns_that_it_was_asked(
    acme: Organization, tmp_path: Path
) -> None:
    await acme.acquire(1, holder=HOLDER, owner=OWNER)
    asked = await sessions_of(acme, tmp_path).finish(ACTOR, ADMIN, "acme", lease_id(1), "please")
    assert (asked["id"], asked["state"]) == (format_lease_id(lease_id(1)), "live")
