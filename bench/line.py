"""The rows of the line: how soon a freed seat is with the next waiter, and what waiting costs."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from . import servers
from .arithmetic import REPETITIONS, alternately, at_most, figure_of, shown
from .direct import Commands, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .arithmetic import Figure

SECONDS = 1.5
FIRST = 1_000
WAITERS = 100
IDLE_WAITERS = 1_000
IDLE_SECONDS = 8.0
"""Each waiter asks about once in that time."""
IDLE_LIMIT = 10.0
"""Percent of a core for 1,000 waiters: each may cost a tenth of a millisecond a second."""
TURNS = 2_000
NPM_SECONDS = 120


def wait(directory: Path, *, share: str, limit_ms: float) -> Figure:
    """From a release until the next of 100 waiters, on two daemons, knows that it has the seat."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        load = stack.enter_context(_line(directory, store_socket))
        load.run(SECONDS)
        found = [load.run(SECONDS)[share] * 1000 for _ in range(REPETITIONS)]
    name = f"freed seat to the next of 100, two daemons, {share}"
    limits = [limit_ms] * REPETITIONS
    return figure_of(name, f"{limit_ms:g} ms", found, limits, at_most(1), "ms")


def wait_beside_tokens(directory: Path) -> Figure:
    """The same beside 100 who wait for a token with BLPOP, straight at the store."""
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        ours = stack.enter_context(_line(directory, store_socket))
        theirs = stack.enter_context(
            servers.load(directory, kind="tokens", socket=str(store_socket), waiters=WAITERS)
        )
        found, tokens = alternately(
            REPETITIONS,
            lambda: ours.run(SECONDS)["p99"] * 1000,
            lambda: theirs.run(SECONDS)["p99"] * 1000,
        )
    name = "freed seat to the next of 100, p99"
    return figure_of(name, "BLPOP of a list's tokens", found, tokens, shown(), "ms")


def wait_beside_redis_semaphore(directory: Path) -> Figure:
    """The same beside npm's redis-semaphore. Raises ``Failed`` where it cannot be installed."""
    command = _redis_semaphore(directory)
    with ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        job = json.dumps({"socket": str(store_socket), "waiters": WAITERS})
        ours = stack.enter_context(_line(directory, store_socket))

        def theirs() -> float:
            # A process for each time: its waiters go on asking for as long as it lives.
            with servers.program(directory, [*command, job], "redis-semaphore.log") as load:
                load.run(0.3)
                return load.run(SECONDS)["p99"] * 1000

        found, polled = alternately(REPETITIONS, lambda: ours.run(SECONDS)["p99"] * 1000, theirs)
    name = "freed seat to the next of 100, p99"
    return figure_of(name, "npm's redis-semaphore", found, polled, shown(), "ms")


def a_long_line(directory: Path) -> Figure:
    """The store's time for a turn with 10,000 in line beside 100."""
    with _turns(directory, 10_000) as many, _turns(directory, 100) as few:
        costs = alternately(REPETITIONS, many, few)
    name = "a turn with 10,000 in line, the store's time"
    return figure_of(name, "with 100", *costs, at_most(1.5), "ms")


def an_idle_line(directory: Path) -> Figure:
    """What 1,000 waiters cost daemon and store together while nothing moves."""
    with ExitStack() as stack:
        store, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))

        def percent(load: servers.Load | None) -> float:
            began, used = time.monotonic(), daemon.cpu_seconds() + store.cpu_seconds()
            if load:
                load.run(IDLE_SECONDS)
            else:
                time.sleep(IDLE_SECONDS)
            used = daemon.cpu_seconds() + store.cpu_seconds() - used
            return 100 * used / (time.monotonic() - began)

        without = percent(None)
        job = {"ports": [daemon.port], "waiters": IDLE_WAITERS, "key": daemon.key()}
        load = stack.enter_context(servers.load(directory, kind="wait-idle", **job))
        load.run(2)  # what joining costs is not counted
        found = [percent(load) - without for _ in range(3)]
    name = "1,000 wait and nothing moves, daemon and store"
    limits = [IDLE_LIMIT] * len(found)
    return figure_of(name, f"{IDLE_LIMIT:g} % of a core", found, limits, at_most(1), "%")


@contextlib.contextmanager
def _line(directory: Path, store_socket: Path) -> Iterator[servers.Load]:
    """100 waiters, every other at each of two daemons."""
    secret = directory / "secret"
    secret.write_text("s" * 64, encoding="ascii")
    options = ("--secret-file", str(secret))
    with (
        servers.daemon(directory / "one", store_socket, *options) as one,
        servers.daemon(directory / "other", store_socket, *options, orgs=()) as other,
        servers.load(
            directory, kind="wait", ports=[one.port, other.port], waiters=WAITERS, key=one.key()
        ) as load,
    ):
        yield load


def _redis_semaphore(directory: Path) -> list[str]:
    """Install it there, and answer how it is started."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise servers.Failed("no node and npm on PATH")
    home = directory / "npm"
    home.mkdir()
    install = [npm, "install", "--no-audit", "--no-fund", "redis-semaphore@5", "ioredis@5"]
    try:
        subprocess.run(install, cwd=home, check=True, capture_output=True, timeout=NPM_SECONDS)
    except subprocess.TimeoutExpired:
        raise servers.Failed(f"npm install took longer than {NPM_SECONDS} s") from None
    except subprocess.CalledProcessError as failed:
        told = failed.stderr.decode(errors="replace").strip()
        raise servers.Failed(f"npm install failed: {told[-200:]}") from None
    script = home / "redis_semaphore.js"
    shutil.copy(Path(__file__).with_name(script.name), script)  # node looks for modules beside it
    return [node, str(script)]


class _Turns:
    """A line of so many for one seat. A turn: a release, its offer, the claim, one more joins."""

    def __init__(self, process: servers.Process, sock: socket.socket, waiters: int) -> None:
        self._process, self._sock, self._waiters = process, sock, waiters
        self._commands = Commands("bench", "one", may_wait=True)
        self._commands.load(sock)
        self._holder = FIRST
        for number in range(FIRST, FIRST + waiters + 1):  # the first has the seat
            call(sock, [self._commands.acquire(number)])

    def __call__(self) -> float:
        """Milliseconds of the store's processor time."""
        before = self._process.cpu_seconds()
        for _ in range(TURNS):
            holder, self._holder = self._holder, self._holder + 1
            commands = [
                self._commands.release(holder),
                self._commands.acquire(self._holder),
                self._commands.acquire(self._holder + self._waiters),
            ]
            states = [one[0] for one in call(self._sock, commands)]
            if states != [b"released", b"granted", b"queued"]:
                raise servers.Failed(f"a turn of the line went wrong: {states}")
        return (self._process.cpu_seconds() - before) / TURNS * 1000


@contextlib.contextmanager
def _turns(directory: Path, waiters: int) -> Iterator[_Turns]:
    here = directory / f"{waiters}"
    here.mkdir()
    with servers.store(here / "store") as (process, store_socket):
        # Ended once the license is there: without a daemon the lease clock stands still.
        with servers.daemon(here / "daemon", store_socket):
            pass
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(store_socket))
            yield _Turns(process, sock, waiters)
