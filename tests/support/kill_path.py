"""What the tests of the kill path share: trees that are hard to stop, and their deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lessor_run import WITHOUT_CGROUP

if TYPE_CHECKING:
    from collections.abc import Callable

    from .fake_server import FakeServer
    from .lessor_run import Run

STUBBORN = "trap '' TERM INT HUP; while :; do sleep 1; done"
"""Ignores every polite signal."""

ESCAPING = """
setsid sh -c "trap '' TERM; while :; do sleep 1; done" &
(setsid sleep 1000 > /dev/null &) &
(sh -c 'sleep 1000 & sleep 1000' &) &
exec sleep 1000
"""
"""Leaves its process group and session, double-forks, and runs on."""

TREES = {"stubborn": STUBBORN, "escaping": ESCAPING}

PATHS = {"cgroup": (), "proc": WITHOUT_CGROUP}
"""Both ways to find a tree: by its control group where there is one, or through ``/proc``."""

KILL_SECONDS = 1.0
"""The part of the server's margin that is kept for the kill: on a busy machine the tree, killed a
moment before the deadline, may be seen dead so much after it."""
SOON_SECONDS = 5.0
"""At once, on a busy machine, where a broken client would let the tree run on for ever."""


def last(server: FakeServer, what: str) -> float:
    """When the server was last asked for it (``time.monotonic``)."""
    return [moment for name, moment in server.log if name == what][-1]


def last_deadline(server: FakeServer) -> float:
    """When the lease ends at the latest, by the last acquire or renewal that was answered."""
    return max(m for name, m in server.log if name in ("acquire", "renew")) + server.ttl_ms / 1000


def start_tree(
    start: Callable[..., Run], tree: str, *options: str, wrapper: tuple[str, ...] = ()
) -> Run:
    """A run of the shell text ``tree``, once all its processes are there."""
    run = start("-l", "kre", "-k", "300ms", *options, "--", "sh", "-c", tree, wrapper=wrapper)
    run.wait_for_tree(2 if tree == STUBBORN else 5)
    return run
