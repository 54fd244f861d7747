"""What is asked and shown on a terminal, and what a script must say itself."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from support.pty_session import PtySession
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.command_line import Shell
    from support.daemon import DaemonProcess

USAGE = 78


def test_in_a_script_nothing_is_destroyed_without_yes(shell: Shell) -> None:
    said = shell.refused(USAGE, "member", "remove", "mick@example.com")
    assert "--yes" in said
    tried = shell.text("member", "remove", "mick@example.com", "--dry-run")
    assert tried.startswith("would: ")
    assert shell.json("member", "show", "mick@example.com")["role"] == "member"


def test_on_a_terminal_the_question_is_asked(shell: Shell, shared: DaemonProcess) -> None:
    shell.text("license", "add", "asked", "--seats", "1")
    key = f"LESSOR_API_KEY_FILE={shared.directory / 'owner.key'}"
    command = ["env", "-u", "LESSOR_API_KEY", key, sys.executable, "-m", "lessor"]
    for typed, is_left in (("n\n", True), ("y\n", False)):
        session = PtySession(
            [*command, "license", "remove", "asked"], url=shared.url, home=shell.home
        )
        try:
            session.expect("Remove the license asked? [y/N]")
            session.type(typed)
            assert session.wait() == 0
        finally:
            session.end()
        assert ("nothing was done" in session.shown) == is_left
        assert (shell.run("license", "show", "asked").returncode == 0) == is_left


def test_a_terminal_of_80_columns_gets_lines_of_80_columns_and_colour(
    shell: Shell, shared: DaemonProcess
) -> None:
    key = f"LESSOR_API_KEY_FILE={shared.directory / 'owner.key'}"
    steps = f"stty cols 80; {key} exec {sys.executable} -m lessor key list"
    session = PtySession(
        ["env", "-u", "LESSOR_API_KEY", "TERM=xterm", "sh", "-c", steps],
        url=shared.url,
        home=shell.home,
    )
    try:
        assert session.wait() == 0
        wait_until(lambda: "service" in session.shown, what="the table")
    finally:
        session.end()
    assert "\x1b[1mID" in session.shown
    assert "\x1b[32mactive" in session.shown
    plain = re.sub(r"\x1b\[\d+m", "", session.shown)
    assert max(len(line) for line in plain.splitlines()) <= 80
