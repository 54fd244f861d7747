"""The idle time-out of named-user licenses, as a client and an admin meet it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import lessor
import pytest
from support.streaming import StreamCaller
from support.waiting import wait_until, wait_until_async

if TYPE_CHECKING:
    from support.administration import Acme
    from support.calls import Answer, Caller

LEAST = 10
"""Seconds: the shortest time-out there is; it warns two seconds before."""


@pytest.fixture
def lease(acme: Acme) -> dict[str, Any]:
    """Mary's, on a license with a time-out."""
    acme.patch("/licenses/studio", {"idle_timeout": LEAST})
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    granted: dict[str, Any] = acme.caller("member").acquire("studio").body["lease"]
    return granted


def said(lease: dict[str, Any], idle: float, **other: object) -> dict[str, object]:
    return {"id": lease["id"], "certificate": lease["certificate"], "idle": idle, **other}


def test_a_client_is_told_the_time_out_warned_and_then_ended(
    acme: Acme, lease: dict[str, Any]
) -> None:
    assert lease["idle_timeout"] == LEAST
    caller = acme.caller("member")
    assert caller.renew(said(lease, LEAST)).body["renewed"] == [lease["id"]]
    (notice,) = caller.renew(lease["id"]).body["notices"]
    assert (notice["code"], notice["ends_in"]) == ("idle", 2)
    assert "ends in 2 s" in notice["text"]
    lost: list[Any] = []

    def is_lost() -> bool:
        lost[:] = caller.renew(said(lease, LEAST)).body["lost"]
        return bool(lost)

    wait_until(is_lost, what="the session to end")
    assert lost == [
        {"id": lease["id"], "code": "lease_ended", "reason": "nothing was done for 10 s"}
    ]
    caller.release(lease["id"])
    (past,) = acme.get("/sessions?state=past").body["items"]
    assert (past["reason"], past["text"]) == ("idle", "nothing was done for 10 s")


@pytest.mark.parametrize("proof", ["", "nonsense", "another's"])
def test_nobody_else_can_say_that_a_holder_is_idle(
    acme: Acme, lease: dict[str, Any], proof: str
) -> None:
    if proof == "another's":
        proof = acme.caller("run").acquire("kre").body["lease"]["certificate"]
    colleague = acme.caller("colleague")
    answer = colleague.renew(said(lease, 10**6, certificate=proof)).body
    assert answer["renewed"] == [lease["id"]]
    assert acme.caller("member").renew(lease["id"]).body["notices"] == []


def test_the_stream_carries_it_too(acme: Acme, lease: dict[str, Any]) -> None:
    with StreamCaller(acme.daemon.url, acme.caller("member").key) as stream:
        stream.renew(lease["id"])
        assert stream.renew(said(lease, LEAST)).body["renewed"] == [lease["id"]]
        wait_until(
            lambda: bool(stream.renew(lease["id"]).body["notices"] and stream.unasked),
            what="the warning, also unasked",
        )
        assert stream.unasked[0][1]["code"] == "idle"


def test_only_a_named_user_license_has_one_and_within_bounds(acme: Acme) -> None:
    def set_to(seconds: object, license: str = "studio") -> Answer:
        return acme.patch(f"/licenses/{license}", {"idle_timeout": seconds})

    assert set_to(60, "kre").body["field"] == "idle_timeout"
    assert set_to(LEAST - 1).code == "invalid"
    assert set_to(31 * 86_400).code == "invalid"
    assert set_to(1800).body["idle_timeout"] == 1800
    assert "idle_timeout" not in set_to(None).body
    body = {"name": "extra", "seats": 1, "kind": "floating", "idle_timeout": 60}
    assert acme.post("/licenses", body).code == "invalid"


def test_a_python_program_that_says_when_it_is_used_is_warned(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.patch("/licenses/studio", {"idle_timeout": LEAST, "ttl": 5})
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    caller: Caller = acme.caller("member")
    monkeypatch.setenv("LESSOR_URL", caller.url)
    monkeypatch.setenv("LESSOR_API_KEY", caller.key or "")
    with lessor.acquire("studio", wait=0) as held:
        assert held.idle_timeout == LEAST
        held.touch()
        began = time.monotonic()
        wait_until(lambda: bool(held.notices), 20, what="the warning")
        assert held.notices[0].code == "idle"
        assert time.monotonic() - began > LEAST - 3
        held.touch()
        wait_until(
            lambda: "idle" not in str(acme.caller("member").renew(held.id).body),
            what="the warning to be taken back",
        )
        assert not held.lost.is_set()


async def test_an_async_program_that_says_when_it_is_used_is_warned(acme: Acme) -> None:
    acme.patch("/licenses/studio", {"idle_timeout": LEAST, "ttl": 5})
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    caller: Caller = acme.caller("member")
    async with (
        lessor.AsyncClient(caller.url, caller.key, machine="machine-1") as client,
        client.acquire("studio") as held,
    ):
        assert held.idle_timeout == LEAST
        held.touch()

        async def is_warned() -> bool:
            return bool(held.notices)

        await wait_until_async(is_warned, 20, what="the warning")
        assert held.notices[0].code == "idle"
        held.touch()

        async def is_taken_back() -> bool:
            answer = await asyncio.to_thread(caller.renew, held.id)
            return "idle" not in str(answer.body)

        await wait_until_async(is_taken_back, what="the warning to be taken back")
        assert not held.lost.is_set()
