"""The daemon: wires its parts, and owns start, drain and stop.

Start: data directory and its lock, listening sockets, HTTP, store, bootstrap, ``ready``. From the
first moment on the port answers: what needs the store is ``store_unavailable`` until it is there.
Stop goes the other way round: finish calls, close connections, end the tasks, close the store, end
the store's child, leave the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING
from urllib.parse import quote

from lessor_protocol.errors import TRANSIENT, Problem

from . import first_steps, logs
from .data_dir import load_or_make_secret, prepare_data_dir
from .directory.service import Directory
from .directory.signing_keys import DIRECTORY_NAME
from .errors import ConfigurationError
from .http import routes
from .http.context import Serving
from .http.limits import default_max_connections
from .http.routes import Services
from .http.server import HttpServer, listen, url_of
from .leasing.memory import ClockMemory, memory_path
from .leasing.service import Leasing
from .leasing.settings import DURABLE, NEW, UNTRUSTED, LeasingSettings
from .metrics import Metrics
from .store import checks as store_checks
from .store.embedded import EmbeddedStore
from .store.errors import StoreUnavailable
from .store.store import Store
from .times import boottime_ms, wall_ms

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from .bootstrap import Bootstrap
    from .config import Config

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
"""Between two attempts to reach the store at the start."""
TELL_AFTER_SECONDS = 1.0
"""An embedded store needs a moment to start; that is no news."""
TELL_EVERY_SECONDS = 30.0
WATCH_EVERY_SECONDS = 1.0

_log = logs.get_logger("lessor.daemon")


class _Stopped(Exception):
    """Ends the task group, whose other tasks run for ever: all work is done."""


class StopSignals:
    """SIGTERM and SIGINT: the first asks to drain, the second not to wait for anything."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        _log.info("signal", name=number.name)
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()


class Daemon:
    """One ``lessor serve``."""

    def __init__(self, config: Config, bootstrap: Bootstrap | None) -> None:
        self._config = config
        self._bootstrap = bootstrap
        self._metrics = Metrics()
        self._serving = Serving()

    async def run(self) -> None:
        """Serve until a signal has asked to stop and everything is put away.

        Raises ``ConfigurationError`` or another ``DaemonError``, alone or in a group.
        """
        asyncio.get_running_loop().set_exception_handler(logs.log_loop_exception)
        signals = StopSignals()
        config = self._config
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.to_thread(prepare_data_dir, config.data_dir)
            embedded = EmbeddedStore(config.data_dir, logs.get_logger("lessor.store"))
            if config.is_embedded:
                stack.push_async_callback(embedded.stop)
                await embedded.lock()
            secret = await asyncio.to_thread(load_or_make_secret, config.secret_file)
            store_url = None if config.is_embedded else config.store
            memory = ClockMemory(memory_path(config.data_dir, store_url))
            await asyncio.to_thread(memory.load)
            listener, ops_listener = await self._listen(stack)
            url = url_of(listener)
            _log.info("listening", url=url)
            if config.is_embedded:
                await embedded.start()
            store = self._open_store(embedded)
            stack.push_async_callback(store.close)
            services = self._wire(store, secret, memory)
            servers = await self._start_http(services, stack, listener, ops_listener)
            await self._work(services, servers, signals, url)
        _log.info("stopped")

    async def _work(
        self, services: Services, servers: list[HttpServer], signals: StopSignals, url: str
    ) -> None:
        """Run everything that runs beside the calls until a signal, then drain."""
        try:
            async with asyncio.TaskGroup() as tasks:
                services.store.start(tasks)
                services.leasing.start(tasks)
                tasks.create_task(self._metrics.watch_loop(), name="loop lag")
                tasks.create_task(self._serve_store(services, url), name="store")
                await signals.asked.wait()
                await self._drain(services, servers, signals)
                raise _Stopped
        except* _Stopped:
            pass

    async def _listen(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[socket.socket, socket.socket | None]:
        listener = await listen(self._config.listen, "listen")
        stack.callback(listener.close)
        if self._config.ops_listen is None:
            return listener, None
        ops_listener = await listen(self._config.ops_listen, "ops_listen")
        stack.callback(ops_listener.close)
        return listener, ops_listener

    def _open_store(self, embedded: EmbeddedStore) -> Store:
        url = self._config.store
        if self._config.is_embedded:
            url = "unix://" + quote(str(embedded.socket_path))
        seconds = self._metrics.store_seconds
        return Store.open(
            url,
            lambda script, took: seconds.labels(script).observe(took),
            failover_ms=self._config.failover_ms,
            boottime_ms=boottime_ms,
        )

    def _wire(self, store: Store, secret: bytes, memory: ClockMemory) -> Services:
        config = self._config
        trust = UNTRUSTED
        if config.is_embedded or config.store_durable:
            trust = DURABLE
        elif config.new_store:
            trust = NEW
        settings = LeasingSettings(
            secret=secret,
            trust=trust,
            started_wall_seconds=wall_ms() // 1000,
            max_ttl_ms=config.max_ttl_ms,
            margin_ms=config.margin_ms,
            stale_master_ms=config.failover_ms,
        )
        leasing = Leasing(
            store, settings, self._metrics, memory, boottime_ms=boottime_ms, wall_ms=wall_ms
        )
        directory = Directory(
            store,
            leasing.run,
            self._metrics,
            boottime_ms=boottime_ms,
            wall_ms=wall_ms,
            ttl_range_ms=(config.min_ttl_ms, config.max_ttl_ms),
            signing_keys=config.secret_file.parent / DIRECTORY_NAME,
        )
        return Services(self._serving, store, directory, leasing, self._metrics)

    async def _start_http(
        self,
        services: Services,
        stack: contextlib.AsyncExitStack,
        listener: socket.socket,
        ops_listener: socket.socket | None,
    ) -> list[HttpServer]:
        most = self._config.max_connections or default_max_connections()
        gauge = self._metrics.connections
        everything = (*routes.API, *routes.OPS)
        public = routes.API if ops_listener else everything
        servers = [(HttpServer(routes.build(services, public), most, gauge), listener)]
        if ops_listener is not None:
            # Its connections are counted apart: probes must get through when clients fill the rest.
            ops = HttpServer(routes.build(services, routes.OPS), most, None)
            servers.append((ops, ops_listener))
        for server, on in servers:
            stack.push_async_callback(server.stop, 0.0)
            await server.start(on)
        return [server for server, _ in servers]

    async def _serve_store(self, services: Services, url: str) -> None:
        await self._become_ready(services, url)
        await self._watch_store(services)

    async def _become_ready(self, services: Services, url: str) -> None:
        """Reach the store, give it what the bootstrap file says, and say ``ready``."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + TELL_AFTER_SECONDS
        pause = FIRST_PAUSE_SECONDS
        is_checked = self._config.is_embedded
        while True:
            try:
                if not is_checked:
                    await store_checks.tell(services.store, self._config)
                    is_checked = True
                made = await self._prepare(services)
            except StoreUnavailable as error:
                if loop.time() >= tell_at:
                    _log.warning("store_unavailable", reason=str(error))
                    tell_at = loop.time() + TELL_EVERY_SECONDS
            else:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        services.serving.is_ready = True
        if made:
            _log.info("first_start", key_files=[str(path) for path in made])
        _log.info("ready", url=url)
        if made and self._config.log_format == "console":
            first_steps.show(url, made)

    async def _prepare(self, services: Services) -> list[Path]:
        await services.store.ping()
        try:
            if self._bootstrap is not None:
                await services.directory.apply(self._bootstrap)
            return await services.directory.first_start(self._config.data_dir)
        except Problem as problem:
            if problem.code in TRANSIENT:
                raise StoreUnavailable(problem.detail) from problem
            raise ConfigurationError(str(self._config.bootstrap), problem.detail) from problem
        except OSError as error:
            raise ConfigurationError(str(error.filename), str(error.strerror)) from error

    async def _watch_store(self, services: Services) -> None:
        """Say once when the store goes away and once when it is back.

        One that comes back empty gets its organizations and keys again at once: until then no
        client's key is known.
        """
        is_there = True
        while True:
            await asyncio.sleep(WATCH_EVERY_SECONDS)
            try:
                if not await services.store.ping():
                    _log.error("store_was_emptied")
                    await self._prepare(services)
            except StoreUnavailable as error:
                if is_there:
                    _log.error("store_lost", reason=str(error))
                is_there = False
            else:
                if not is_there:
                    _log.info("store_back")
                is_there = True

    async def _drain(
        self, services: Services, servers: list[HttpServer], signals: StopSignals
    ) -> None:
        """Refuse new leases, finish the calls under way, close every connection."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.drain_ms / 1000
        _log.info("draining", seconds=self._config.drain_ms / 1000)
        services.leasing.start_draining()
        self._serving.start_draining()
        quiet = asyncio.create_task(self._serving.quiet())
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
        left = 0.0 if signals.hurried.is_set() else max(0.0, deadline - loop.time())
        for server in servers:
            await server.stop(left)
