"""``lessor run`` is asked to finish: what it says, runs and sends."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import MakeDaemon
    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """A daemon with an organization that has admins."""
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


def ask(server: FakeServer, run: Run, text: str = "the lab closes", mark: str = "n1") -> None:
    lease_id = run.event("granted")["lease_id"]
    run.event("started")
    notice = {"lease": lease_id, "id": mark, "code": "finish", "text": text, "by": "ada"}
    server.notices = [notice]


def test_it_is_said_once_and_the_command_goes_on(server: FakeServer, start: Start) -> None:
    run = start("--", "sh", "-c", "read line", stdin=-1)
    ask(server, run)
    notice = run.event("notice")["notice"]
    assert (notice["code"], notice["by"]) == ("finish", "ada")
    renewals = server.count("renew")
    wait_until(lambda: server.count("renew") > renewals + 2)
    assert run.stderr.count("ada asks this run to finish: the lab closes") == 1
    assert run.process.stdin is not None
    run.process.stdin.write(b"done\n")
    run.process.stdin.close()
    assert run.wait() == 0


def test_on_notice_runs_a_command_that_is_told_and_knows_no_key(
    server: FakeServer, start: Start, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    script = (
        'echo "$LESSOR_NOTICE|$LESSOR_NOTICE_BY|$LESSOR_NOTICE_TEXT|$LESSOR_API_KEY" > '
        '"$1"; kill -TERM $LESSOR_CHILD_PID'
    )
    command = shlex.join(["sh", "-c", script, "sh", str(told)])
    run = start("--on-notice", command, "--", "sleep", "1000")
    ask(server, run, "it's; $(late)")
    assert run.wait() == 128 + 15
    assert told.read_text() == "finish|ada|it's; $(late)|\n"


def test_a_locale_that_lacks_a_letter_of_the_text_costs_nobody_the_run(
    server: FakeServer, start: Start, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = shlex.join(["sh", "-c", 'printf %s "$LESSOR_NOTICE_TEXT" > "$1"', "sh", str(told)])
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = start("--on-notice", command, "--", "sh", "-c", "read line", stdin=-1, environ=locale)
    ask(server, run, "fertig \u2013 bitte")
    wait_until(lambda: told.exists() and told.read_bytes(), what="the text")
    assert told.read_text("utf-8") == "fertig \u2013 bitte"
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 1


def test_notice_signal_reaches_the_command(server: FakeServer, start: Start) -> None:
    script = "trap 'exit 7' USR1; while :; do sleep 0.05; done"
    run = start("--notice-signal", "USR1", "--", "sh", "-c", script)
    ask(server, run)
    assert run.wait() == 7


def test_a_command_that_does_not_start_or_fails_disturbs_nothing(
    server: FakeServer, start: Start
) -> None:
    run = start("--on-notice", "/no/such/command", "--", "sh", "-c", "read line", stdin=-1)
    ask(server, run)
    wait_until(lambda: "--on-notice cannot start /no/such/command" in run.stderr)
    other = start("--on-notice", "sh -c 'exit 9'", "--", "sh", "-c", "read line", stdin=-1)
    ask(server, other, mark="n2")
    wait_until(lambda: "the command of --on-notice ended with 9" in other.stderr)
    for one in (run, other):
        assert one.process.stdin is not None
        one.process.stdin.close()
        assert one.wait() == 1, "what read line says at the end of its input"


def test_what_runs_on_notice_does_not_outlive_the_run(server: FakeServer, start: Start) -> None:
    run = start("--on-notice", "sleep 1000", "--", "sh", "-c", "read line", stdin=-1)
    ask(server, run)
    wait_until(lambda: len(run.survivors()) == 2, what="the command of --on-notice to run")
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 1
    assert not run.survivors()


def test_an_admin_asks_and_a_real_run_finishes(acme: Acme, start: Start) -> None:
    run = start(
        "-l",
        "kre",
        "--notice-signal",
        "TERM",
        "--",
        "sleep",
        "1000",
        url=acme.daemon.url,
        environ={"LESSOR_API_KEY": acme.daemon.key("run")},
    )
    lease_id = run.event("granted")["lease_id"]
    run.event("started")
    asked = acme.post(f"/sessions/{lease_id}/finish", {"text": "lunch"}, role="admin")
    assert (asked.status, asked.body["state"]) == (202, "live")
    assert run.event("notice", 15)["notice"]["text"] == "lunch"
    assert run.wait() == 128 + 15
    assert "adam@example.com asks this run to finish: lunch" in run.stderr
