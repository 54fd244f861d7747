"""The command under ``lessor run``: what it is given, what comes back, and what is kept from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

SHELL = ("-l", "kre", "--", "sh", "-c")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
def test_the_exit_code_is_the_commands_own(
    start: Start, server: FakeServer, script: str, code: int
) -> None:
    run = start(*SHELL, script)
    assert run.wait() == code
    assert run.stderr == ""
    assert not server.leases


def test_a_missing_command_is_127_before_any_seat_is_asked_for(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "no-such-command-here")
    assert run.wait() == 127
    assert "no-such-command-here" in run.stderr
    assert not server.log


def test_an_empty_command_is_127_and_said_to_be_none(start: Start, server: FakeServer) -> None:
    run = start("-l", "kre", "--", "")
    assert run.wait() == 127
    assert run.stderr == "lessor: '': there is no command without a name\n"
    assert not server.log


@pytest.mark.parametrize("make", [lambda path: path.write_text("x"), lambda path: path.mkdir()])
def test_a_command_that_may_not_be_executed_is_126(
    start: Start, server: FakeServer, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "tool")
    run = start("-l", "kre", "--", str(tmp_path / "tool"))
    assert run.wait() == 126
    assert not server.log


def test_a_file_that_the_kernel_cannot_execute_is_126_and_the_seat_is_given_back(
    start: Start, server: FakeServer, tmp_path: Path
) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(b"no program at all")
    tool.chmod(0o755)
    run = start("-l", "kre", "--", str(tool))
    assert run.wait() == 126
    assert not server.leases


def test_the_command_is_never_passed_through_a_shell(start: Start) -> None:
    run = start("-l", "kre", "--", "printf", "%s|", "a b", "$HOME", "*", "")
    assert run.output() == b"a b|$HOME|*||"


def test_stdin_goes_through_to_the_end(start: Start) -> None:
    run = start("-l", "kre", "--", "cat", stdin=subprocess.PIPE)
    data = os.urandom(1 << 20)
    output, _ = run.process.communicate(data, timeout=20)
    assert output == data


def test_stdout_is_the_commands_alone_and_closes_when_it_closes_it(start: Start) -> None:
    run = start("-v", "--label", "a=b", *SHELL, "echo only this; exec >&-; sleep 1000")
    assert run.process.stdout is not None
    assert run.process.stdout.read() == b"only this\n"
    assert run.survivors()


def test_the_command_learns_of_its_lease_and_never_of_the_key(
    start: Start, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("lsr_file_secret")
    run = start(*SHELL, "env", environ={"LESSOR_API_KEY_FILE": str(tmp_path / "key")})
    seen = dict(line.split("=", 1) for line in run.output().decode().splitlines() if "=" in line)
    granted = run.event("granted")
    assert seen["LESSOR_LEASE_ID"] == granted["lease_id"]
    assert seen["LESSOR_FENCING_TOKEN"] == str(granted["token"])
    assert seen["LESSOR_LICENSE"] == "kre"
    assert seen["LESSOR_COUNT"] == "1"
    assert seen["LESSOR_URL"] == server.url
    assert "LESSOR_API_KEY" not in seen
    assert "LESSOR_API_KEY_FILE" not in seen


def test_the_key_is_in_no_argument_and_no_message(start: Start, server: FakeServer) -> None:
    run = start("-v", *SHELL, "exec sleep 1000")
    for pid in run.marked() - {run.agent}:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - a pseudo file
            assert b"secret" not in file.read()
    os.kill(run.agent, signal.SIGTERM)
    run.wait()
    assert "secret" not in run.stderr
    assert not server.leases


def test_the_command_inherits_the_users_descriptors_and_none_of_ours(start: Start) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing):
        run = start(*SHELL, "ls /proc/self/fd", pass_fds=(writing,))
        listed = {int(fd) for fd in run.output().split()}
    # The last is that of ls itself, on the directory it lists.
    assert listed - {0, 1, 2, writing} == {max(listed - {writing})}


def test_closed_standard_streams_are_not_taken_for_something_else(
    start: Start, server: FakeServer
) -> None:
    closing = ("sh", "-c", 'exec "$@" <&- >&-', "sh")
    run = start(*SHELL, "read line; echo nobody reads this; exit 3", wrapper=closing)
    assert run.wait() == 3
    assert not server.leases


@pytest.mark.parametrize("prefix", [(), ("nohup",), ("env", "--ignore-signal=USR1,INT")])
def test_signal_dispositions_are_those_the_user_had(start: Start, prefix: tuple[str, ...]) -> None:
    shown = ["awk", "/SigBlk|SigIgn/ {print $2}", "/proc/self/status"]
    bare = subprocess.run(
        [*prefix, *shown], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True
    )
    run = start("-l", "kre", "--", *shown, wrapper=prefix)
    assert run.output() == bare.stdout


def test_a_run_inside_a_run_on_the_same_license_is_refused(start: Start) -> None:
    inner = f"{sys.executable} -m lessor run"
    run = start(*SHELL, f"{inner} -l kre -- true; echo $?; {inner} -- true; echo $?")
    assert run.output() == b"78\n78\n"
    assert "--nested" in run.stderr


def test_a_nested_run_takes_another_seat(start: Start, server: FakeServer, tmp_path: Path) -> None:
    directory = tmp_path / ".config" / "lessor"
    directory.mkdir(parents=True)
    (directory / "client.toml").write_text('api_key = "lsr_test_secret"\n')
    run = start(*SHELL, f"{sys.executable} -m lessor run --nested -- cat", stdin=-1)
    wait_until(lambda: len(server.leases) == 2, what="the second seat")
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0
    assert not server.leases


def test_without_a_license_the_servers_only_one_is_used(start: Start, server: FakeServer) -> None:
    server.default_license = "studio"
    run = start("--", "sh", "-c", "echo $LESSOR_LICENSE")
    assert run.output() == b"studio\n"


def test_without_a_license_and_without_a_default_one_must_be_named(
    start: Start, server: FakeServer
) -> None:
    server.default_license = None
    run = start("--", "true")
    assert run.wait() == 78
    assert "--license" in run.stderr
    assert server.count("acquire") == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "no command"),
        (("--",), "no command"),
        (("--wait", "soon", "--", "true"), "--wait"),
        (("--signal", "LOUD", "--", "true"), "--signal"),
        (("--on-lost", "cry", "--", "true"), "--on-lost"),
        (("--label", "nothing", "--", "true"), "--label"),
        (("-N", "8..2", "--", "true"), "not a number of seats"),
        (("--offline", "f", "--", "true"), "cannot be read"),
        (("--events-fd", "99", "--", "true"), "--events-fd"),
        (("--events-fd", "1", "--", "true"), "--events-fd"),
        (("--frobnicate", "--", "true"), "--frobnicate"),
        (("--license",), "--license"),
    ],
)
def test_wrong_usage_is_78_and_names_what_is_wrong(
    start: Start, server: FakeServer, arguments: tuple[str, ...], named: str
) -> None:
    run = start(*arguments)
    assert run.wait() == 78
    assert named in run.stderr
    assert not server.log


def test_the_whole_life_is_told_as_events(start: Start, server: FakeServer) -> None:
    run = start("-l", "kre", "--", "true")
    assert run.wait() == 0
    assert [event["event"] for event in run.events] == ["granted", "started", "stopped", "released"]
    assert run.event("started")["agent_pid"] == run.agent
    assert run.event("stopped")["exit"] == 0
    assert server.count("release") == 1


def test_nobody_reading_the_events_or_stderr_harms_the_run(
    start: Start, server: FakeServer
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with os.fdopen(reading), os.fdopen(writing):
        run = start(
            "-v",
            "--events-fd",
            str(writing),
            *SHELL,
            "read line; exit 6",
            stdin=-1,
            stderr=writing,
            pass_fds=(writing,),
        )
        wait_until(lambda: server.count("renew") > 5, what="the lease to outlive its first ttl")
        assert run.process.stdin is not None
        run.process.stdin.close()
        assert run.wait() == 6


def test_a_command_may_have_any_bytes_and_others_see_a_question_mark(
    start: Start, server: FakeServer
) -> None:
    script = "import os, sys; print(os.fsencode(sys.argv[1])); sys.stdin.read()"
    command = [os.fsencode(part) for part in ("-l", "kre", "--", sys.executable, "-c", script)]
    run = start(*command, b"a\xe9b", stdin=subprocess.PIPE)
    run.event("started")
    (lease,) = server.leases.values()
    assert lease.process.command.endswith(" a?b")
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0
    assert run.process.stdout is not None
    assert run.process.stdout.read() == b"b'a\\xe9b'\n"
