"""On a terminal the command behaves as if ``lessor run`` were not there."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from support.fake_server import SILENT, WELL
from support.lessor_run import is_alive
from support.pty_session import CTRL_C, CTRL_Z, PtySession
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.fake_server import FakeServer

    Sit = Callable[..., PtySession]

LESSOR = [sys.executable, "-m", "lessor", "run", "-l", "kre"]


@pytest.fixture
def sit(server: FakeServer, tmp_path: Path) -> Iterator[Sit]:
    """Sits down at a terminal where this command runs."""
    sessions: list[PtySession] = []

    def sit_down(*argv: str) -> PtySession:
        sessions.append(PtySession(list(argv), url=server.url, home=tmp_path))
        return sessions[-1]

    yield sit_down
    for session in sessions:
        session.end()


@pytest.fixture
def shell(sit: Sit) -> PtySession:
    """An interactive shell with job control."""
    session = sit("bash", "--norc", "--noprofile", "-i")
    session.expect("ready> ")
    return session


def run(*command: str, options: str = "") -> str:
    return f"{shlex.join(LESSOR)} {options} -- {shlex.join(command)}"


def test_ctrl_c_reaches_the_command_and_the_exit_code_says_so(sit: Sit, server: FakeServer) -> None:
    session = sit(*LESSOR, "--", "sh", "-c", "echo begun; exec sleep 1000")
    session.expect("begun")
    session.type(CTRL_C)
    assert session.wait() == 128 + signal.SIGINT
    assert not server.leases


def test_a_command_that_handles_ctrl_c_decides_itself(sit: Sit) -> None:
    session = sit(*LESSOR, "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo begun; read x")
    session.expect("begun")
    session.type(CTRL_C)
    session.expect("caught")
    assert session.wait() == 9


def test_the_command_reads_the_terminal_and_it_is_given_back(sit: Sit) -> None:
    script = run("sh", "-c", "read line; echo got $line") + "; read more; echo then $more"
    session = sit("sh", "-c", f"echo begun; {script}")
    session.expect("begun")
    session.type("one\n")
    session.expect("got one")
    session.type("two\n")
    session.expect("then two")
    assert session.wait() == 0


def test_ctrl_c_ends_the_script_around_the_run_too(sit: Sit) -> None:
    script = run("sh", "-c", "echo begun; exec sleep 1000") + "; echo not here"
    session = sit("bash", "-c", f"{script}; exit 0")
    session.expect("begun\r\n")
    session.type(CTRL_C)
    assert session.wait() in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "not here" not in session.shown


def test_ctrl_z_suspends_the_job_and_fg_goes_on(shell: PtySession, server: FakeServer) -> None:
    server.ttl_ms = 20_000
    shell.type(run("sh", "-c", "echo be''gun; read line; echo got $line") + "\n")
    shell.expect("begun\r\n")
    shell.type(CTRL_Z)
    shell.expect("suspended; the seat is kept for")
    shell.expect("Stopped")
    shell.expect("ready> ", times=2)
    shell.type("fg\n")
    wait_until(lambda: shell.foreground() != shell.process.pid, what="the job to be in front")
    shell.type("on\n")
    shell.expect("got on")
    shell.expect("ready> ", times=3)
    shell.type("echo code $?\n")
    shell.expect("code 0")
    assert server.count("acquire") == 1


def test_a_job_suspended_for_too_long_loses_its_seat(shell: PtySession, server: FakeServer) -> None:
    server.ttl_ms = 2_000
    shell.type(run("sh", "-c", "echo be''gun; exec sleep 1000") + "\n")
    shell.expect("begun\r\n")
    shell.type(CTRL_Z)
    shell.expect("Stopped")
    wait_until(lambda: not server.leases, what="the leash to give the seat back")
    shell.type("fg\n")
    shell.expect("ready> ", times=3)
    shell.type("echo code $?\n")
    shell.expect("code 79")


def test_a_background_job_that_wants_the_terminal_gets_it_with_fg(
    shell: PtySession, server: FakeServer
) -> None:
    server.ttl_ms = 20_000
    shell.type(run("sh", "-c", "read line; echo got $line") + " &\n")
    shell.expect("suspended")
    shell.type("fg\n")
    wait_until(lambda: shell.foreground() != shell.process.pid, what="the job to be in front")
    shell.type("it\n")
    shell.expect("got it")


def test_in_a_pipeline_the_others_keep_the_terminal(shell: PtySession) -> None:
    shell.type(
        run("sh", "-c", "echo one; echo two") + " | (read a; read b < /dev/tty; echo $a-$b)\n"
    )
    wait_until(lambda: shell.foreground() != shell.process.pid, what="the pipeline to be in front")
    shell.type("typed\n")
    shell.expect("one-typed")


def test_without_a_shell_ctrl_z_does_not_strand_the_command(sit: Sit) -> None:
    session = sit(*LESSOR, "--", "sh", "-c", "echo begun; read line; echo got $line")
    session.expect("begun")
    session.type(CTRL_Z)
    session.expect("suspended")
    session.type("on\n")
    session.expect("got on")
    assert session.wait() == 0


def test_a_killed_agent_leaves_the_terminal_to_the_script(sit: Sit, server: FakeServer) -> None:
    script = (
        run("sh", "-c", "echo agent $PPID; exec sleep 1000")
        + "; while ! read line; do :; done; echo then $line"
    )
    session = sit("sh", "-c", script)
    session.expect("agent ")
    (lease,) = server.leases.values()
    os.kill(lease.process.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(lease.process.pid), what="the agent to be dead")
    wait_until(lambda: not server.leases, what="the release")
    session.type("on\n")
    session.expect("then on")
    assert session.wait() == 0


@pytest.mark.parametrize("interpreter", ["/no/such/interpreter", ""])
def test_a_command_that_cannot_be_executed_leaves_the_terminal_to_the_script(
    sit: Sit, tmp_path: Path, interpreter: str
) -> None:
    script = tmp_path / "script"
    script.write_bytes(f"#!{interpreter}\n".encode() if interpreter else b"\x7fnothing")
    script.chmod(0o755)
    session = sit("sh", "-c", run(str(script)) + "; echo code $?; read line; echo then $line")
    session.expect("code 12")
    session.type("on\n")
    session.expect("then on")
    assert session.wait() == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leash_that_fails_leaves_the_terminal_to_the_script(
    sit: Sit, server: FakeServer, signum: signal.Signals
) -> None:
    command = run("sh", "-c", "stty -echo; echo leash $PPID.; exec sleep 1000")
    session = sit("sh", "-c", f"{command}; echo code $?; read line; echo then $line")
    session.expect(".")
    leash = int(session.shown.partition("leash ")[2].partition(".")[0])
    wait_until(lambda: server.leases, what="the lease")
    os.kill(leash, signum)
    if signum == signal.SIGSTOP:
        server.mode = SILENT
    session.expect("code 125", seconds=20)
    server.mode = WELL
    session.type("on\n")
    session.expect("then on")
    assert session.shown.count("on\r\n") == 2, "what is typed shows again"
    assert session.wait() == 0
