"""The background process behind ``lessor acquire``: keeps a lease while another process lives.

It has no terminal and nobody who waits for it. It ends, and gives the seat back, when the watched
process is gone or when it gets SIGTERM (``lessor release`` sends it). When the lease is lost it
ends too; asked to kill, it stops the watched process first, and in time: SIGTERM a while before
the deadline, SIGKILL so that it is dead by the deadline.

``holders.start`` hands it the lease, the configuration and the key over a pipe, so that nothing
of it shows in a process list. The deadline is handed over as it is: ``CLOCK_BOOTTIME`` is the same
for all processes of a machine.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from lessor_protocol import timing

from . import exits
from .clock import now_ms
from .holders import READY, WHILE_FD, Holding, claim, forget
from .keeper import Keeper, Waiter, Woken
from .listening import Listening
from .server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from lessor_protocol.lease import LeaseState

KILL_AFTER_MS = 5_000
"""The longest time between SIGTERM and SIGKILL."""
_LONGEST_POLL_MS = 250
# A poll's own time-out stands still while the machine is suspended; short ones notice the resume.


def main(argv: list[str]) -> int:
    """Keep the lease that stands in stdin until something ends it."""
    _close_inherited()
    folder = Path(argv[1])
    holding = Holding.from_json(sys.stdin.buffer.read(), os.environ)
    signals_fd = _catch_signals()
    waiter = Waiter(WHILE_FD, signals_fd)
    server = Server(holding.config, waiter)
    keeper = Keeper(server, waiter, holding.request, listening=Listening())
    keeper.resume(holding.state, holding.certificate)
    lease_id = holding.request.lease_id
    claim(lease_id, folder)
    os.chdir("/")
    os.write(1, READY)
    _let_go_of_streams()
    _log("keeping the seat")
    try:
        has_ended = _keep(keeper, kill_when_lost=holding.kill_when_lost)
    except Woken:
        heard = keeper.release()
        _log("the seat was given back" if heard else "no server heard that the seat is free")
        forget(lease_id, folder, keep_log=not heard)
        return exits.OK
    _log(f"the lease was lost: {keeper.state.reason or keeper.state.code}")
    if has_ended:
        # Its seat need not wait for the server's deadline.
        keeper.release()
    elif holding.kill_when_lost:
        _log("the process still runs: its seat is free again after the server's deadline")
    forget(lease_id, folder, keep_log=True)
    return exits.LOST


def _keep(keeper: Keeper, *, kill_when_lost: bool) -> bool:
    """Renew until the lease is lost. Whether the process was stopped then. Raises ``Woken``."""
    while keeper.is_held:
        if not kill_when_lost:
            keeper.step()
            continue
        state = keeper.state
        stop_at_ms = state.deadline_ms - timing.stop_grace_ms(state.ttl_ms, KILL_AFTER_MS)
        if now_ms() >= stop_at_ms:
            break
        keeper.step(stop_at_ms)
    return kill_when_lost and _stop(keeper.state)


def _stop(state: LeaseState) -> bool:
    """Stop the watched process: SIGTERM, and SIGKILL at the latest just before the deadline.

    Whether it has ended: it may be somebody else's, or sleep in the kernel.
    """
    _log("stopping the process that used the seat")
    kill_at_ms = min(
        now_ms() + KILL_AFTER_MS, state.deadline_ms - timing.kill_lead_ms(state.ttl_ms)
    )
    _signal(signal.SIGTERM)
    poller = select.poll()
    poller.register(WHILE_FD, select.POLLIN)
    while (left_ms := kill_at_ms - now_ms()) > 0:
        if poller.poll(min(left_ms, _LONGEST_POLL_MS)):
            return True
    _signal(signal.SIGKILL)
    return bool(poller.poll(1_000))


def _signal(number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(WHILE_FD, number)
    except ProcessLookupError:
        return
    except PermissionError:
        _log(f"no permission to send {number.name}")


def _close_inherited() -> None:
    """What the calling shell had open is not ours to keep open: a lock, a pipe to a log."""
    try:
        last = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - light
    except OSError:
        last = os.sysconf("SC_OPEN_MAX")
    # Where the kernel is asked one by one, a limit of a thousand million takes minutes.
    os.closerange(WHILE_FD + 1, last + 1)


def _catch_signals() -> int:
    """A descriptor that is readable once we are asked to end."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note_signal)
    return read_fd


def _note_signal(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor does the work; with the default action there would be none."""


def _let_go_of_streams() -> None:
    """A step of a CI job ends when nobody holds its streams any more."""
    null_fd = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_fd, 0)
    os.dup2(null_fd, 1)
    os.close(null_fd)


def _log(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(f"{stamp} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
