"""The daemon: one ``lessor serve``, as one process or as a parent with workers.

Start: data directory and its lock, listening sockets, store, HTTP, bootstrap, ``ready``. Stop goes
the other way round, down to leaving the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from . import logs
from .foundation import laid
from .metrics import Metrics
from .preparing import Preparing
from .server_process import ServerProcess, StopSignals
from .workers import Workers

if TYPE_CHECKING:
    from .bootstrap import Bootstrap
    from .config import Config
    from .foundation import Foundation

_log = logs.get_logger("lessor.daemon")


async def run(config: Config, bootstrap: Bootstrap | None) -> None:
    """Serve until a signal has asked to stop and everything is put away.

    Raises ``ConfigurationError`` or another ``DaemonError``, alone or in a group.
    """
    asyncio.get_running_loop().set_exception_handler(logs.log_loop_exception)
    signals = StopSignals()
    async with contextlib.AsyncExitStack() as stack:
        # It may wait for another daemon to leave the data directory.
        foundation = await signals.unless_asked(stack.enter_async_context(laid(config)))
        if foundation is None:
            pass
        elif config.workers > 1:
            await Workers(config, bootstrap, foundation).run(signals)
        else:
            await _serve_alone(config, bootstrap, foundation, signals)
    _log.info("stopped")


async def _serve_alone(
    config: Config, bootstrap: Bootstrap | None, foundation: Foundation, signals: StopSignals
) -> None:
    process = ServerProcess(config, foundation, Metrics())
    services = process.services
    preparing = Preparing(config, bootstrap, services.store, services.directory, foundation.urls)

    async def serve() -> None:
        process.open_doors()

    await process.run(signals, lambda: preparing.keep_up(serve))
