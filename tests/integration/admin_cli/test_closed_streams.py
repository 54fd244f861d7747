"""Administration where the standard streams are closed or full, or know few letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.command_line import Shell

USAGE, FAILED = 78, 125


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command", ["status", "status --json", "license list", "audit list --csv"])
def test_an_answer_that_cannot_be_written_is_said_in_one_line(
    command: str, where: str, shell: Shell
) -> None:
    done = shell.script(f"$lessor {command} {where}")
    assert done.returncode == FAILED
    assert done.stderr.startswith("lessor: standard output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["<&-", "2>&-", "<&- 2>&-"])
def test_where_the_streams_are_closed_nobody_can_be_asked(where: str, shell: Shell) -> None:
    made = shell.json("key", "make", "passing")
    done = shell.script(f"$lessor key revoke {made['id']} {where}")
    assert done.returncode == USAGE
    assert ("Nobody can be asked" in done.stderr) == ("2>&-" not in where)
    assert shell.json("key", "show", made["id"])["state"] == "active"
    shell.text("key", "revoke", made["id"], "--yes")


def test_a_name_that_the_terminal_cannot_show_stops_no_list(shell: Shell) -> None:
    made = shell.json("key", "make", "pr\u00fcfstand \u0142")
    done = shell.script("$lessor key list; $lessor audit list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pr?fstand ?" in done.stdout
    shell.text("key", "revoke", made["id"], "--yes")
