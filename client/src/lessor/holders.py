"""Starting, finding and stopping the background processes behind ``lessor acquire``.

Each holder locks a file ``<lease id>.pid`` as long as it lives: a locked file names a live
holder, whatever became of pids meanwhile. Beside it lies its log, ``<lease id>.log``.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat
import sys
from contextlib import ExitStack
from pathlib import Path

from lessor_protocol import lease as machine
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest

from .config import ClientConfig
from .errors import LessorError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

READY = b"ready\n"
WHILE_FD = 3
"""Where a holder finds the descriptor of the process it watches."""
_START_MS = 15_000
_STATE_FIELDS = ("ttl_ms", "renew_after_ms", "deadline_ms", "due_ms", "spread")


class Holding:
    """What a holder is to keep, and how to reach the server."""

    def __init__(
        self,
        config: ClientConfig,
        request: AcquireRequest,
        certificate: str,
        state: machine.LeaseState,
        *,
        kill_when_lost: bool,
    ) -> None:
        self.config = config
        self.request = request
        self.certificate = certificate
        self.state = state
        self.kill_when_lost = kill_when_lost

    def to_json(self) -> bytes:
        """For the pipe to the holder; the API key is in it."""
        return json.dumps(
            {
                "urls": self.config.urls,
                "api_key": self.config.api_key,
                # The holder works in another folder.
                "ca_file": self.config.ca_file and os.path.abspath(self.config.ca_file),  # noqa: PTH100 - light
                "request": self.request.to_wire(),
                "certificate": self.certificate,
                "state": {name: getattr(self.state, name) for name in _STATE_FIELDS},
                "kill_when_lost": self.kill_when_lost,
            }
        ).encode()

    @classmethod
    def from_json(cls, data: bytes, environ: Mapping[str, str]) -> Holding:
        """The reverse, in the holder, whose environment has the proxy variables."""
        value = json.loads(data)
        state = machine.LeaseState()
        state.phase = machine.HELD
        for name in _STATE_FIELDS:
            setattr(state, name, value["state"][name])
        config = ClientConfig(
            tuple(value["urls"]), value["api_key"], ca_file=value["ca_file"], environ=environ
        )
        return cls(
            config,
            AcquireRequest.from_wire(value["request"]),
            value["certificate"],
            state,
            kill_when_lost=value["kill_when_lost"],
        )


def watch(pid: int) -> int:
    """A descriptor that becomes readable when process ``pid`` ends. Raises ``UsageError``."""
    if not hasattr(os, "pidfd_open"):
        raise UsageError("lessor acquire needs Linux; elsewhere wrap the command with lessor run")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise UsageError(f"process {pid} cannot be watched: {error.strerror}") from None
    except OverflowError:
        raise UsageError(f"process {pid} cannot be watched: no process has such an id") from None


def directory(environ: Mapping[str, str]) -> Path:
    """Where holders keep their files: this user's own, not to be read by others.

    Raises ``UsageError`` when somebody else made it.
    """
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base and os.access(base, os.W_OK):
        path = Path(base) / "lessor"
    else:
        path = Path(environ.get("TMPDIR") or "/tmp") / f"lessor-{os.getuid()}"  # noqa: S108 - checked below
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{path} must be a folder of this user alone (mode 0700)")
    return path


def start(holding: Holding, while_fd: int, folder: Path) -> int:
    """Start a holder in a session of its own; its pid, once it keeps the lease.

    ``while_fd`` is from ``watch``: handing it over, not the pid, means that a pid that is used
    again cannot be mistaken for the process that was meant. Raises ``LessorError``.
    """
    log = folder / f"{format_lease_id(holding.request.lease_id)}.log"
    try:
        pid, our_end, our_start = _spawn(log, while_fd, folder)
    except OSError as error:  # a full disk; no more processes or descriptors to be had
        raise LessorError(
            f"the background process that keeps the seat cannot be started: {error}"
        ) from None
    try:
        with open(our_end, "wb", closefd=True) as pipe:  # noqa: PTH123 - a descriptor, not a path
            pipe.write(holding.to_json())
        poller = select.poll()
        poller.register(our_start, select.POLLIN)
        if poller.poll(_START_MS) and os.read(our_start, len(READY)) == READY:
            return pid
    except BrokenPipeError:
        pass  # it ended before it read: said below
    finally:
        os.close(our_start)
    raise LessorError(f"the background process that keeps the seat did not start; see {log}")


def _spawn(log: Path, while_fd: int, folder: Path) -> tuple[int, int, int]:
    """A holder's pid, and our ends of the pipes to its stdin and from its stdout."""
    with ExitStack() as theirs:
        log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        theirs.callback(os.close, log_fd)
        with ExitStack() as ours:
            their_stdin, our_end = os.pipe()
            theirs.callback(os.close, their_stdin)
            ours.callback(os.close, our_end)
            our_start, their_stdout = os.pipe()
            theirs.callback(os.close, their_stdout)
            ours.callback(os.close, our_start)
            pid = os.posix_spawn(
                sys.executable,
                # -P: a folder named "lessor" in the working directory must not take our place.
                [sys.executable, "-P", "-m", "lessor.holder", str(folder)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, their_stdin, 0),
                    (os.POSIX_SPAWN_DUP2, their_stdout, 1),
                    (os.POSIX_SPAWN_DUP2, log_fd, 2),
                    (os.POSIX_SPAWN_DUP2, while_fd, WHILE_FD),
                ],
                setsid=True,
            )
            ours.pop_all()
    return pid, our_end, our_start


def stop(lease_id: bytes, folder: Path, *, timeout_ms: int) -> bool:
    """Ask a holder on this machine to give its seat back and end; whether there was one."""
    path = folder / f"{format_lease_id(lease_id)}.pid"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        pid = int(os.read(fd, 32) or b"0")
        if not _is_locked(fd) or pid <= 0:
            path.unlink(missing_ok=True)
            return False
        try:
            holder_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not _is_locked(fd):  # it ended just now, and the pid may be another's already
                return False
            signal.pidfd_send_signal(holder_fd, signal.SIGTERM)
            poller = select.poll()
            poller.register(holder_fd, select.POLLIN)
            poller.poll(timeout_ms)
            return True
        finally:
            os.close(holder_fd)
    finally:
        os.close(fd)


def claim(lease_id: bytes, folder: Path) -> int:
    """In a holder: lock the file that says who keeps this lease. Keep the descriptor open."""
    path = folder / f"{format_lease_id(lease_id)}.pid"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


def forget(lease_id: bytes, folder: Path, *, keep_log: bool) -> None:
    """In a holder that ends: remove its files, except a log that says why a lease was lost."""
    name = format_lease_id(lease_id)
    (folder / f"{name}.pid").unlink(missing_ok=True)
    if not keep_log:
        (folder / f"{name}.log").unlink(missing_ok=True)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
