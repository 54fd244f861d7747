"""A line that stands still costs its store next to nothing."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.daemon import DaemonProcess

HOLD_SECONDS = 4.0
"""Longer than a daemon lets pass before it keeps the places of its waiters."""


def test_a_call_repeated_while_nothing_moves_is_held_without_asking_the_store(
    daemon: DaemonProcess,
) -> None:
    ci = daemon.caller()
    held = [ci.acquire().body["lease"]["id"] for _ in range(2)]
    wish: dict[str, Any] = {"id": str(uuid.uuid4()), "wait": 60, "hold": HOLD_SECONDS}
    told = ci.acquire(**wish)
    assert (told.status, told.body["position"]) == (202, 1)
    asked = daemon.script_calls("acquire")
    again = ci.acquire(**wish)
    assert (again.status, again.body) == (202, told.body)
    assert daemon.script_calls("acquire") == asked
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ci.acquire, **wish)
        ci.release(held[0])
        assert waiting.result().status == 201
