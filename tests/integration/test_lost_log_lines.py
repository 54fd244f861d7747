"""A log that cannot be written: a full disk, or a pipe whose reader is gone or has stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.calls import Caller
from support.daemon import BOOTSTRAP, clean_environ
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL, READER_GONE, READER_STOPPED = "full", "reader gone", "reader stopped"


@pytest.fixture
def stderr(request: pytest.FixtureRequest) -> Iterator[int]:
    """A descriptor that nothing can be written to."""
    if request.param == FULL:
        descriptors = [os.open("/dev/full", os.O_WRONLY)]
    else:
        reader, writer = os.pipe()
        descriptors = [writer, reader]
    if request.param == READER_GONE:
        os.close(descriptors.pop())
    if request.param == READER_STOPPED:
        fill(descriptors[0])
    yield descriptors[0]
    for descriptor in descriptors:
        os.close(descriptor)


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    for piece in (b"x" * 4096, b"x"):
        with suppress(BlockingIOError):
            while True:
                os.write(pipe, piece)
    os.set_blocking(pipe, True)


@pytest.fixture
def serve(tmp_path: Path, free_port: int) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a daemon that writes its log to such a place; ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "bootstrap.toml").write_text(BOOTSTRAP)

    def start(stderr: int, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lessor_daemon", "--listen", f"127.0.0.1:{free_port}"]
        command += ["--data-dir", str(tmp_path / "data"), "--log-level", "debug"]
        command += ["--bootstrap", str(tmp_path / "bootstrap.toml"), *options]
        started.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, env=clean_environ())
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def is_ready(url: str) -> bool:
    try:
        return Caller(url).call("GET", "/readyz").status == 200
    except OSError:
        return False


def store_pid(daemon: int) -> int | None:
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text(encoding="ascii").split()
    for pid in children:
        with suppress(OSError):  # ended and reaped since
            if b"unixsocket" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return None


@pytest.mark.parametrize("options", [(), ("--log-format", "json"), ("--workers", "2")])
@pytest.mark.parametrize("stderr", [FULL, READER_GONE, READER_STOPPED], indirect=True)
def test_a_daemon_whose_log_cannot_be_written_serves_mends_its_store_and_drains(
    serve: Callable[..., subprocess.Popen[bytes]],
    free_port: int,
    tmp_path: Path,
    stderr: int,
    options: tuple[str, ...],
) -> None:
    url = f"http://127.0.0.1:{free_port}"
    daemon = serve(stderr, *options)
    wait_until(lambda: is_ready(url), 30, "the daemon to serve")
    caller = Caller(url, (tmp_path / "ci.key").read_text().strip())
    lease = caller.acquire().body["lease"]

    store = wait_until(lambda: store_pid(daemon.pid), what="the store")
    assert store is not None
    os.kill(store, signal.SIGKILL)
    wait_until(lambda: store_pid(daemon.pid) not in (None, store), what="the store to be back")
    wait_until(lambda: is_ready(url), 30, "the daemon to serve again")
    assert caller.renew(lease["id"]).body["renewed"] == [lease["id"]]
    assert caller.release(lease["id"]).status == 204

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0
