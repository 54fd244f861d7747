"""Scripts of an organization that is driven script by script, as the directory calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.errors import store_problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lessor_daemon.directory.changes import Answer, RunScript
    from lessor_daemon.store.scripts import Context

    from .organization import Organization


def run_of(org: Organization) -> RunScript:
    """Calls a script with the lease clock of ``org``, whichever it is asked for."""

    async def run(
        org: str,  # noqa: ARG001  # there is one
        script: Callable[[Context], Awaitable[Answer]],
    ) -> Answer:
        with store_problems():
            answer = await script(clocked.clock.context(clocked.at_ms))
            clocked.clock.learn(answer[0], clocked.at_ms)
        return answer

    clocked = org
    return run
