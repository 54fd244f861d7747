"""A worker: a serving process whose parent has laid the foundation. See ``workers``.

Started by the parent as ``python -m lessor_daemon.worker FD``; everything else comes over that
socket. When the parent is gone there is nobody to hold the data directory and the store's child, so
the worker stops at once; its leases live on.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

from . import cli, control, logs, loops
from .control import Channel
from .directory.memory import Memory
from .foundation import Foundation
from .leasing.memory import BorrowedMemory
from .metrics import Metrics
from .server_process import ServerProcess, StopSignals

if TYPE_CHECKING:
    from .control import Assignment
    from .reports import Report


def main(fd: int) -> int:
    """Serve until the parent asks to stop. Returns an exit code as ``lessor serve`` has."""
    end = socket.socket(fileno=fd)
    try:
        _, assignment = control.receive_first(end)
    except EOFError:
        return 0
    config = assignment.config
    logs.configure(config.log_format, config.log_level, worker=assignment.number)
    try:
        loops.run(_Worker(assignment).run(end))
    except Exception as error:  # noqa: BLE001  # the outermost frame: all of it becomes an exit code
        return cli.exit_code(error, config.places)
    return 0


class _Worker:
    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._metrics = Metrics()
        self._collected: dict[int, asyncio.Future[Report]] = {}
        self._collections = 0

    async def run(self, end: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(logs.log_loop_exception)
        signals = StopSignals()
        given = self._assignment
        foundation = Foundation(
            listener=_inherited(given.listener_fd),
            ops_listener=(
                None if given.ops_listener_fd is None else _inherited(given.ops_listener_fd)
            ),
            store_url=given.store_url,
            secret=given.secret,
            memory=BorrowedMemory(dict(given.clocks), is_copy=given.data_is_copy),
            administration=Memory(given.administration),
        )
        process = ServerProcess(given.config, foundation, self._metrics)
        channel = await Channel.over(end)
        self._metrics.ask_others = lambda: self._collect(channel)
        try:
            await process.run(signals, lambda: self._listen(channel, process, signals))
        finally:
            channel.close()

    async def _listen(self, channel: Channel, process: ServerProcess, signals: StopSignals) -> None:
        """Do what the parent says for as long as it lives."""
        while True:
            try:
                kind, body = await channel.receive()
            except EOFError:
                signals.hurry()
                return
            if kind == control.PREPARED:
                process.open_doors()
                channel.send(control.PREPARED)
            elif kind == control.REPORT:
                channel.send(control.REPORT, (body, self._metrics.report()))
            elif kind == control.COLLECT:
                self._settle(*body)

    def _settle(self, number: int, others: Any) -> None:  # noqa: ANN401  # as the channel gives it
        future = self._collected.pop(number, None)
        if future is not None and not future.done():
            future.set_result(others)

    async def _collect(self, channel: Channel) -> Report:
        """What the parent and the other workers have counted."""
        self._collections += 1
        number = self._collections
        future = self._collected[number] = asyncio.get_running_loop().create_future()
        channel.send(control.COLLECT, (number, self._metrics.report()))
        try:
            others: Report = await future
        finally:
            self._collected.pop(number, None)
        return others


def _inherited(fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    listener.set_inheritable(False)
    return listener


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
