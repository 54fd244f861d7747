"""Standard streams that are closed or full, whose reader is gone, or that know few letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.command_line import Shell

if TYPE_CHECKING:
    from pathlib import Path

UNREACHABLE, USAGE, FAILED, NOBODY_READS = 69, 78, 125, 141
FULL, CLOSED = ">/dev/full", ">&-"
SAID = {
    FULL: "lessor: standard output cannot be written: No space left on device\n",
    CLOSED: "lessor: standard output cannot be written: Bad file descriptor\n",
}
SPEAKING = (
    "--help",
    "--version",
    "version",
    "version --help",
    "run --help",
    "license --help",
    "license list --help",
    "completion bash",
    "doctor",
    "doctor --json",
)
"""Commands that write to stdout without a server."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell that knows of no server."""
    return Shell(tmp_path)


@pytest.mark.parametrize("where", [FULL, CLOSED])
@pytest.mark.parametrize("command", SPEAKING)
def test_what_cannot_be_written_is_said_in_one_line(command: str, where: str, shell: Shell) -> None:
    done = shell.script(f"$lessor {command} {where}")
    assert (done.returncode, done.stderr) == (FAILED, SAID[where])


@pytest.mark.parametrize("command", ["--help", "run --help", "completion bash"])
def test_a_reader_that_has_gone_is_no_trouble(command: str, shell: Shell) -> None:
    # What stands before the pipe waits until the reader has gone: writing to it then fails.
    script = f"""
        mkfifo pipe
        cat pipe > gone & exec 3> pipe
        kill $!; wait $! 2> /dev/null
        $lessor {command} >&3
    """
    done = shell.script(script)
    assert (done.returncode, done.stderr) == (NOBODY_READS, "")


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["acquire --bogus", "fly", "run", "status"])
def test_wrong_usage_stays_78_where_nobody_can_be_told(
    command: str, where: str, shell: Shell
) -> None:
    assert shell.script(f"$lessor {command} {where}").returncode == USAGE


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_the_terminal_does_not_know_is_no_reason_to_fail(
    encoding: str, free_port: int, shell: Shell
) -> None:
    settings = {
        "PYTHONIOENCODING": encoding,
        "LESSOR_URL": f"http://127.0.0.1:{free_port}",
        "LESSOR_API_KEY": "lsr_a_b",
    }
    for command, code in (("run --help", 0), ("doctor", UNREACHABLE)):
        done = shell.script(f"$lessor {command}", **settings)
        assert (done.returncode, done.stderr) == (code, "")
        assert "?" in done.stdout
