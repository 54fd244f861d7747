"""A stop that comes before the daemon serves, or while a worker cannot hear it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.daemon import clean_environ
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon


def starting(data_dir: Path, *python_options: str) -> subprocess.Popen[str]:
    """A daemon that has only been started."""
    options = ["--listen", "127.0.0.1:0", "--data-dir", str(data_dir)]
    return subprocess.Popen(
        [sys.executable, *python_options, "-m", "lessor_daemon", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )


def test_a_stop_while_modules_are_loaded_is_no_failure(tmp_path: Path) -> None:
    with starting(tmp_path, "-X", "importtime") as process:
        assert process.stderr is not None
        assert any("aiohttp" in line for line in process.stderr), "it says what it has loaded"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_stop_while_it_waits_for_the_data_directory_is_heard(daemon: DaemonProcess) -> None:
    lock = daemon.data_dir / "lock"
    with starting(daemon.data_dir) as process:
        wait_until(lambda: has_open(process.pid, lock), what="the wait for the lock")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    assert (process.returncode, time.monotonic() - began < 3) == (0, True), said


def test_a_worker_that_does_not_hear_the_stop_is_killed_soon_after_the_drain(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon("--workers", "2", "--drain", "1s")
    daemon.start()
    frozen = daemon.events("worker_started")[0]["worker_pid"]
    subprocess.run(["kill", "-STOP", str(frozen)], check=True)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 2.5


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has this file open."""
    try:
        return any(one.readlink() == path for one in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False
