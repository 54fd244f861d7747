"""``lessor status --watch`` on a terminal, and where there is none."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from support.daemon import clean_environ
from support.pty_session import CTRL_C, PtySession
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess

WATCH = [sys.executable, "-m", "lessor", "status", "--watch"]
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def lease_id(daemon: DaemonProcess) -> str:
    answer = daemon.caller().acquire(id=str(uuid.uuid4()), labels={"branch": "trunk"})
    found: str = answer.body["lease"]["id"]
    return found


def test_on_a_terminal_it_draws_over_itself_and_ctrl_c_puts_it_back(
    daemon: DaemonProcess, lease_id: str, tmp_path: Path
) -> None:
    session = PtySession(WATCH, url=daemon.url, home=tmp_path, api_key=daemon.key())
    try:
        session.expect("trunk")
        daemon.caller().release(lease_id)
        session.expect("seats free", times=2)
        session.type(CTRL_C)
        assert session.wait() == 130
        assert session.shown.startswith(ENTER)
        assert session.shown.count(LEAVE) == 1
        assert "Traceback" not in session.shown
    finally:
        session.end()


def test_sigterm_puts_the_terminal_back_too(daemon: DaemonProcess, tmp_path: Path) -> None:
    session = PtySession(WATCH, url=daemon.url, home=tmp_path, api_key=daemon.key())
    try:
        session.expect("seats free")
        session.process.send_signal(signal.SIGTERM)
        assert session.wait() == 143
        session.expect(LEAVE)
    finally:
        session.end()


def test_off_a_terminal_it_repeats_the_lines_that_changed(
    daemon: DaemonProcess, lease_id: str, tmp_path: Path
) -> None:
    environ = clean_environ({"LESSOR_URL": daemon.url, "LESSOR_API_KEY": daemon.key()})
    output = tmp_path / "shown"
    with (
        output.open("w") as file,
        subprocess.Popen(WATCH, env=environ, stdout=file, stdin=subprocess.DEVNULL) as watching,
    ):
        try:
            wait_until(lambda: "trunk" in output.read_text())
            daemon.caller().release(lease_id)
            wait_until(lambda: output.read_text().count("seats free") >= 2)
        finally:
            watching.send_signal(signal.SIGINT)
    assert watching.returncode == 130
    assert "\x1b" not in output.read_text()
