"""Several worker processes on one listening socket, and the parent that keeps them running.

The parent holds what a daemon has once (``foundation``), prepares the store and serves nothing.
Each worker is a new Python program that inherits the listening sockets: a forked copy of a process
with an event loop, threads and connections would have to undo all of them. The sockets are opened
once and without ``SO_REUSEPORT``, so a second daemon on the port still fails.

On the store the parent and each worker are daemons like any others: each runs the lease clocks. So
a worker that dies takes no lease with it. It is replaced, with back-off when it dies young. When
the parent dies, the kernel ends the workers (on Linux), or they end by themselves at the end of
their channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from typing import TYPE_CHECKING

from . import control, logs
from .control import Assignment, Channel
from .metrics import Metrics
from .preparing import Preparing
from .reports import counted, merge
from .server_process import Stopped, wire
from .store.embedded import end_child, tied_to_this_process

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from .bootstrap import Bootstrap
    from .config import Config
    from .foundation import Foundation
    from .http.routes import Services
    from .reports import Report
    from .server_process import StopSignals

FIRST_BACK_OFF_SECONDS = 0.1
LONGEST_BACK_OFF_SECONDS = 5.0
STEADY_AFTER_SECONDS = 10.0
"""A worker that ran this long is replaced almost at once."""
REPORT_SECONDS = 1.0
"""A worker whose metrics take longer is shown with its last ones."""
AFTER_DRAIN_SECONDS = 0.5
"""A worker that has not ended so long after the drain is killed."""

_log = logs.get_logger("lessor.workers")


class Worker:
    """One running worker process."""

    def __init__(self, process: Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.last_report: Report = []
        self.is_open = False
        self._asked: dict[int, asyncio.Future[Report]] = {}
        self._questions = 0

    async def report(self) -> None:
        """Have ``last_report`` be what it counts now, if it answers in time."""
        self._questions += 1
        number = self._questions
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self.channel.send(control.REPORT, number)
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                self.last_report = await future
        except TimeoutError:
            _log.warning("worker_does_not_report", worker_pid=self.process.pid)
        finally:
            del self._asked[number]

    def reported(self, number: int, report: Report) -> None:
        """It has answered."""
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_result(report)

    def ended(self) -> None:
        """It will not answer any more."""
        for number in list(self._asked):
            self.reported(number, self.last_report)


class Workers:
    """The parent."""

    def __init__(self, config: Config, bootstrap: Bootstrap | None, foundation: Foundation) -> None:
        self._config = config
        self._bootstrap = bootstrap
        self._foundation = foundation
        self._metrics = Metrics()
        self._running: dict[int, Worker] = {}
        self._counted_by_the_dead: Report = []
        self._is_prepared = False
        self._opened = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self, signals: StopSignals) -> None:
        """Keep the workers running until a signal, then drain and end them.

        Raises ``ConfigurationError`` or another ``DaemonError``, in a group.
        """
        services = wire(self._config, self._foundation, self._metrics)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(services.store.close)
            try:
                async with asyncio.TaskGroup() as tasks:
                    services.store.start(tasks)
                    services.leasing.start(tasks)
                    kept = [
                        tasks.create_task(self._keep(number), name=f"worker {number}")
                        for number in range(1, self._config.workers + 1)
                    ]
                    tasks.create_task(self._prepare(services), name="store")
                    await signals.asked.wait()
                    await self._drain(signals, kept)
                    raise Stopped
            except* Stopped:
                pass

    async def _prepare(self, services: Services) -> None:
        preparing = Preparing(
            self._config,
            self._bootstrap,
            services.store,
            services.directory,
            self._foundation.urls,
        )
        await preparing.keep_up(self._open_doors)

    async def _open_doors(self) -> None:
        """Return when every worker serves."""
        self._is_prepared = True
        for worker in self._running.values():
            worker.channel.send(control.PREPARED)
        await self._opened.wait()

    async def _keep(self, number: int) -> None:
        """Run one worker after the other in place ``number``, until the daemon stops."""
        loop = asyncio.get_running_loop()
        back_off = FIRST_BACK_OFF_SECONDS
        while not self._stopping.is_set():
            started = loop.time()
            try:
                await self._run_worker(number)
            except (OSError, RuntimeError) as error:  # RuntimeError: no room for another thread
                _log.error("worker_not_started", number=number, reason=str(error))
            if loop.time() - started > STEADY_AFTER_SECONDS:
                back_off = FIRST_BACK_OFF_SECONDS
            # Spread: workers that died of the same cause should not come back as one.
            pause = back_off * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)

    async def _run_worker(self, number: int) -> None:
        """Start a worker and serve it until it has ended; cancelling this ends it."""
        worker = await self._start_worker()
        pid = worker.process.pid
        self._running[number] = worker
        try:
            worker.channel.send(control.ASSIGNMENT, self._assignment(number))
            if self._is_prepared:
                worker.channel.send(control.PREPARED)
            _log.info("worker_started", number=number, worker_pid=pid)
            if self._stopping.is_set():  # asked while this one was being started
                worker.process.terminate()
            async with asyncio.TaskGroup() as tasks:
                with contextlib.suppress(EOFError):
                    await self._listen(worker, tasks)
            code = await worker.process.wait()
            if not self._stopping.is_set():
                _log.error("worker_exited", number=number, worker_pid=pid, code=code)
        finally:
            self._is_over(number)
            worker.channel.close()
            await end_child(worker.process)

    def _is_over(self, number: int) -> None:
        worker = self._running.pop(number)
        worker.ended()
        gone = counted(worker.last_report)
        self._counted_by_the_dead = merge([self._counted_by_the_dead, gone])

    async def _start_worker(self) -> Worker:
        ours, theirs = socket.socketpair()
        try:
            listeners = (self._foundation.listener, self._foundation.ops_listener)
            fds = [one.fileno() for one in (theirs, *listeners) if one is not None]
            process = await asyncio.create_subprocess_exec(
                # -P: the current directory is no place to import from.
                *tied_to_this_process(
                    [sys.executable, "-P", "-m", "lessor_daemon.worker", str(theirs.fileno())]
                ),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=fds,
                # Its own session: Ctrl-C is for the parent, which drains the workers.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Worker(process, await Channel.over(ours))

    def _assignment(self, number: int) -> Assignment:
        foundation = self._foundation
        ops_listener = foundation.ops_listener
        return Assignment(
            number=number,
            config=self._config,
            listener_fd=foundation.listener.fileno(),
            ops_listener_fd=None if ops_listener is None else ops_listener.fileno(),
            store_url=foundation.store_url,
            secret=foundation.secret,
            clocks=foundation.memory.clocks,
            data_is_copy=foundation.memory.is_copy,
            administration=foundation.administration.path,
        )

    async def _listen(self, worker: Worker, tasks: asyncio.TaskGroup) -> None:
        """Answer one worker. Raises ``EOFError`` when it has ended."""
        while True:
            kind, body = await worker.channel.receive()
            if kind == control.PREPARED:
                worker.is_open = True
                if sum(one.is_open for one in self._running.values()) == self._config.workers:
                    self._opened.set()
            elif kind == control.REPORT:
                worker.reported(*body)
            elif kind == control.COLLECT:
                number, worker.last_report = body
                tasks.create_task(self._collect(worker, number))

    async def _collect(self, asking: Worker, number: int) -> None:
        """Send ``asking`` what all others have counted."""
        others = [one for one in self._running.values() if one is not asking]
        await asyncio.gather(*(one.report() for one in others))
        # Who has died meanwhile is among the dead, and must not be counted twice.
        reports = [one.last_report for one in self._running.values() if one is not asking]
        merged = merge([self._metrics.report(), self._counted_by_the_dead, *reports])
        asking.channel.send(control.COLLECT, (number, merged))

    async def _drain(self, signals: StopSignals, kept: list[asyncio.Task[None]]) -> None:
        """Have every worker drain, all at the same time, and wait until they have ended."""
        self._stopping.set()
        _log.info("draining", seconds=self._config.drain_ms / 1000)
        self._terminate_all()
        hurry = asyncio.create_task(self._hurry(signals))
        try:
            await asyncio.wait(kept, timeout=self._config.drain_ms / 1000 + AFTER_DRAIN_SECONDS)
        finally:
            hurry.cancel()
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()  # it was asked politely, and had its time
        for task in kept:
            task.cancel()

    async def _hurry(self, signals: StopSignals) -> None:
        await signals.hurried.wait()
        self._terminate_all()

    def _terminate_all(self) -> None:
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()
