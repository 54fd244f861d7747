"""``lessor acquire``: take a seat now, keep it in the background.

For CI steps that cannot wrap their command with ``lessor run``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from lessor_protocol.lease_id import format_lease_id

from lessor import config as configuration
from lessor import exits, holders, streams
from lessor.agent.explain import describe_wait
from lessor.arguments import Parser, add_lease_options
from lessor.clock import now_ms
from lessor.errors import LessorError, UsageError
from lessor.keeper import Keeper, Waiter
from lessor.machine import is_container
from lessor.server import Server
from lessor.text import say
from lessor.wish import default_license, make_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn

    from lessor_protocol.messages import Lease
    from lessor_protocol.queued import Estimate, Holder

_DESCRIPTION = """\
Take a seat and keep it in the background until `lessor release ID`, or until the process of
--while-pid ends: by default the parent of the shell that called, which in a CI job outlives its
steps. Prints the lease as JSON.

Unlike lessor run nothing stops your processes when the lease is lost, unless --on-lost kill says
to stop that one process (not its children)."""

_RETELL_EVERY_MS = 30_000
_STOP_MS = 10_000
"""How long a holder may take to give the seat back, before we do."""

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Beside SIGINT, which Python itself makes an exception of."""

_CAN_NOT_WATCH_INIT = (
    "the parent of the calling shell is process 1, which would keep the seat until this machine "
    "stops: say which process uses the seat with --while-pid"
)


def main(argv: list[str]) -> int:
    """Run the command."""
    options = _parse(argv)
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _leave)
    config = configuration.load(os.environ)
    for warning in config.warnings:
        say(warning)
    while_pid = options.while_pid or _parent_of_shell()
    while_fd = holders.watch(while_pid)
    folder = holders.directory(os.environ)
    waiter = Waiter()
    server = Server(config, waiter)
    name = options.license or config.license
    if not name:
        name = default_license(
            server, connect_timeout_ms=options.connect_timeout, one_try=options.wait == 0
        )
    request = make_request(
        os.environ,
        license=name,
        pid=while_pid,
        command=_command_of(while_pid),
        machine_id=options.machine,
        ephemeral=options.ephemeral,
        labels=dict(options.label),
        seats=options.seats,
    )
    keeper = Keeper(server, waiter, request)
    lease = keeper.acquire(
        wait_ms=options.wait, connect_timeout_ms=options.connect_timeout, on_wait=_Narration(name)
    )
    # From here on somebody must give the seat back: the holder, or we when it does not start or
    # when nobody gets to know the id by which it could be told to.
    is_kept = False
    try:
        server.close()
        holding = holders.Holding(
            config,
            request,
            lease.certificate,
            keeper.state,
            kill_when_lost=options.on_lost == "kill",
        )
        holder_pid = holders.start(holding, while_fd, folder)
        _print(lease, holder_pid, while_pid, folder)
        is_kept = True
    finally:
        if not is_kept:
            holders.stop(request.lease_id, folder, timeout_ms=_STOP_MS)
            keeper.release()
    return exits.OK


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End as if by the signal, but by way of what gives a place or a seat back.

    That takes a moment, and a terminal that closes hangs up twice: by the kernel and by its shell.
    """
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(exits.BY_SIGNAL + number)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("acquire", _DESCRIPTION)
    add_lease_options(parser)
    parser.add_argument("--while-pid", type=int, metavar="PID", help="keep the seat while it lives")
    parser.add_argument(
        "--on-lost",
        choices=("kill", "warn"),
        default="warn",
        help="when the lease is lost: stop the process of --while-pid, or only note it (warn)",
    )
    options = parser.parse_args(argv)
    if options.while_pid is not None and options.while_pid <= 0:
        parser.error("--while-pid must be a process id")
    return options


def _parent_of_shell() -> int:
    """The process that started the calling shell. Raises ``UsageError`` where there is none."""
    shell = os.getppid()
    parent = _parent(shell)
    # $(lessor acquire | jq …) calls from a copy of the shell that ends with the pipeline.
    while parent > 0 and _is_copy(shell, parent):
        shell, parent = parent, _parent(parent)
    if parent <= 0:
        return shell  # the shell is the first process of its container
    if parent == 1 and not is_container(os.environ):
        raise UsageError(_CAN_NOT_WATCH_INIT)
    return parent


def _is_copy(child: int, parent: int) -> bool:
    command = _read(f"/proc/{child}/cmdline")
    return bool(command) and command == _read(f"/proc/{parent}/cmdline")


def _parent(pid: int) -> int:
    # The command in brackets may itself hold brackets and spaces: take what follows the last.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _command_of(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


class _Narration:
    """Says why it waits: when that changes, and now and then so that a log shows life."""

    def __init__(self, license: str) -> None:
        self._license = license
        self._told: object = None
        self._told_ms = 0

    def __call__(
        self,
        position: int,
        blocked_by: str,
        seat_holders: Sequence[Holder],
        estimate: Estimate | None,
    ) -> None:
        news = (position, blocked_by, [(h.user, h.machine, h.since) for h in seat_holders])
        if news == self._told and now_ms() < self._told_ms + _RETELL_EVERY_MS:
            return
        self._told, self._told_ms = news, now_ms()
        found = list(seat_holders)
        wall = time.time()
        say(describe_wait(self._license, position, blocked_by, found, wall, estimate=estimate))


def _print(lease: Lease, holder_pid: int, while_pid: int, folder: Path) -> None:
    """The lease as JSON. Raises ``LessorError`` when it cannot be written."""
    shown = lease.to_wire()
    del shown["certificate"]  # proves the lease to a server: nothing for a log
    name = format_lease_id(lease.lease_id)
    shown["holder"] = {
        "pid": holder_pid,
        "while_pid": while_pid,
        "log": str(folder / f"{name}.log"),
    }
    try:
        streams.write(json.dumps(shown) + "\n")
    except BrokenPipeError:
        raise LessorError("nobody reads the lease, so its seat is given back") from None
    except LessorError as error:
        raise LessorError(f"{error}; the seat is given back") from None
