"""One process that serves calls: its services, its HTTP, and how it drains.

A daemon is one of them, or several as workers of a parent. Stop goes the other way round than
start: finish calls, close connections, end the tasks, close the connections to the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, TypeVar

from . import logs
from .directory.service import Directory
from .directory.signing_keys import DIRECTORY_NAME
from .directory.upkeep import Retention
from .http import routes
from .http.context import Serving
from .http.limits import default_max_connections
from .http.routes import Services
from .http.server import HttpServer
from .leasing.service import Leasing
from .leasing.settings import DURABLE, NEW, UNTRUSTED, LeasingSettings
from .store.store import Store
from .times import boottime_ms, wall_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .config import Config
    from .foundation import Foundation
    from .metrics import Metrics

_T = TypeVar("_T")

_log = logs.get_logger("lessor.daemon")


class Stopped(Exception):
    """Ends a task group whose other tasks run for ever: all work is done."""


class StopSignals:
    """SIGTERM and SIGINT: the first asks to drain, the second not to wait for anything."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    async def unless_asked(self, work: Coroutine[None, None, _T]) -> _T | None:
        """What ``work`` returns; None when a signal came first, and ``work`` was cancelled."""
        asked = asyncio.create_task(self.asked.wait())
        working = asyncio.create_task(work)
        try:
            await asyncio.wait({asked, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            working.cancel()  # nothing if it is done
        await asyncio.wait({working})
        return None if working.cancelled() else working.result()

    def hurry(self) -> None:
        """Stop at once."""
        self.hurried.set()
        self.asked.set()

    def _received(self, number: signal.Signals) -> None:
        _log.info("signal", name=signal.Signals(number).name)
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()


def wire(config: Config, foundation: Foundation, metrics: Metrics) -> Services:
    """Everything that answers calls; nothing is connected or started yet."""
    seconds = metrics.store_seconds
    store = Store.open(
        foundation.store_url,
        lambda script, took: seconds.labels(script).observe(took),
        failover_ms=config.failover_ms,
        boottime_ms=boottime_ms,
    )
    trust = UNTRUSTED
    if config.is_embedded or config.store_durable:
        trust = DURABLE
    elif config.new_store:
        trust = NEW
    settings = LeasingSettings(
        secret=foundation.secret,
        trust=trust,
        booted_wall_seconds=(wall_ms() - boottime_ms()) // 1000,
        max_ttl_ms=config.max_ttl_ms,
        margin_ms=config.margin_ms,
        stale_master_ms=config.failover_ms,
    )
    leasing = Leasing(
        store, settings, metrics, foundation.memory, boottime_ms=boottime_ms, wall_ms=wall_ms
    )
    directory = Directory(
        store,
        leasing.run,
        metrics,
        boottime_ms=boottime_ms,
        wall_ms=wall_ms,
        ttl_range_ms=(config.min_ttl_ms, config.max_ttl_ms),
        signing_keys=config.data_dir / DIRECTORY_NAME,
        memory=foundation.administration,
        retention=Retention(config.sessions_kept_days, config.audit_kept_days),
    )
    return Services(Serving(), store, directory, leasing, metrics)


class ServerProcess:
    """Serves on the sockets of ``foundation`` until it is asked to stop."""

    def __init__(self, config: Config, foundation: Foundation, metrics: Metrics) -> None:
        self._config = config
        self._foundation = foundation
        self._metrics = metrics
        self.services = wire(config, foundation, metrics)

    def open_doors(self) -> None:
        """The store is prepared: calls that need it are served from now on."""
        self.services.serving.is_ready = True

    async def run(
        self, signals: StopSignals, beside: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """Serve, with ``beside()`` running all the while, until a signal; then drain.

        From the first moment the port answers; what needs the store is ``store_unavailable`` until
        ``open_doors``. Raises what ``beside`` raises, in a group.
        """
        services = self.services
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(services.store.close)
            servers = await self._start_http(stack)
            try:
                async with asyncio.TaskGroup() as tasks:
                    services.store.start(tasks)
                    services.leasing.start(tasks)
                    services.serving.streams.start(tasks)
                    tasks.create_task(self._metrics.watch_loop(), name="loop lag")
                    tasks.create_task(beside(), name="beside")
                    await signals.asked.wait()
                    await self._drain(servers, signals)
                    raise Stopped
            except* Stopped:
                pass

    async def _start_http(self, stack: contextlib.AsyncExitStack) -> list[HttpServer]:
        most = self._config.max_connections or default_max_connections()
        listener, ops_listener = self._foundation.listener, self._foundation.ops_listener
        public = routes.API if ops_listener else (*routes.API, *routes.OPS)
        gauge = self._metrics.connections
        servers = [(HttpServer(routes.build(self.services, public), most, gauge), listener)]
        if ops_listener is not None:
            # Its connections are counted apart: probes must get through when clients fill the rest.
            ops = HttpServer(routes.build(self.services, routes.OPS), most, None)
            servers.append((ops, ops_listener))
        for server, on in servers:
            stack.push_async_callback(server.stop, 0.0)
            await server.start(on)
        return [server for server, _ in servers]

    async def _drain(self, servers: list[HttpServer], signals: StopSignals) -> None:
        """Refuse new leases, finish the calls under way, close every connection."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.drain_ms / 1000
        _log.info("draining", seconds=self._config.drain_ms / 1000)
        self.services.leasing.start_draining()
        self.services.serving.start_draining()
        quiet = asyncio.create_task(self.services.serving.quiet())
        hurried = asyncio.create_task(signals.hurried.wait())
        try:
            await asyncio.wait(
                {quiet, hurried},
                timeout=deadline - loop.time(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            quiet.cancel()
            hurried.cancel()
        self.services.serving.streams.close()
        left = 0.0 if signals.hurried.is_set() else max(0.0, deadline - loop.time())
        for server in servers:
            await server.stop(left)
