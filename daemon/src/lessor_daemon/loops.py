"""The event loop: uvloop where it is installed, which carries about a third more calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(main: Coroutine[None, None, None]) -> None:
    """Run ``main`` to its end, as ``asyncio.run`` does."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415  # optional: some systems have no wheel
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
