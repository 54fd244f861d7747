"""What counts as use of a seat: processor time, output, and a terminal's input."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lessor.agent.idleness import Idleness

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that only waits, and the file that is its output."""
    path = tmp_path / "output"
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=output, stderr=output
        )
        try:
            yield process, path
        finally:
            process.communicate(b"\n")


def settled(idleness: Idleness, pid: int, now_ms: int) -> int:
    """Look until its start, which is use, is over; when that was."""
    while idleness.look(os.getpid(), pid, now_ms) == 0:
        now_ms += 1_000
    return now_ms


def test_who_only_waits_is_idle(quiet: tuple[subprocess.Popen[bytes], Path]) -> None:
    pid = quiet[0].pid
    idleness = Idleness(0)
    now_ms = settled(idleness, pid, 1_000)
    before = idleness.look(os.getpid(), pid, now_ms)
    assert idleness.look(os.getpid(), pid, now_ms + 60_000) == before + 60_000


def test_output_is_use(quiet: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, path = quiet
    idleness = Idleness(0)
    now_ms = settled(idleness, process.pid, 1_000)
    os.utime(path, ns=(0, 1))
    assert idleness.look(os.getpid(), process.pid, now_ms + 10_000) == 0
    os.utime(path, ns=(0, 2))
    idleness.overlook_output(os.getpid(), process.pid)
    assert idleness.look(os.getpid(), process.pid, now_ms + 20_000) == 10_000


def test_where_nothing_can_be_seen_nobody_is_idle() -> None:
    idleness = Idleness(0)
    assert idleness.look(2**22 + 1, 2**22 + 1, 60_000) == 0
    assert idleness.look(2**22 + 1, 2**22 + 1, 120_000) == 0


def test_typing_is_use() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["cat"], stdin=slave, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        idleness = Idleness(0)
        now_ms = settled(idleness, process.pid, 1_000)
        terminal = Path(f"/proc/{process.pid}/fd/0")
        seen = terminal.stat()
        os.utime(terminal, ns=(seen.st_atime_ns + 8 * 10**9, seen.st_mtime_ns))
        assert idleness.look(os.getpid(), process.pid, now_ms + 10_000) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
