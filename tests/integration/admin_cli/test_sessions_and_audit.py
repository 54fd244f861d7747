"""``lessor session``, ``lessor machine`` and ``lessor audit``."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from lessor import cli
from lessor.admin import api
from support.administration import BOOTSTRAP
from support.command_line import Shell
from support.lessor_run import Run
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess, MakeDaemon

DENIED, USAGE = 77, 78


def test_a_session_is_ended_with_a_reason_that_reaches_its_terminal(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    shell = Shell(tmp_path, daemon)
    run = Run(
        tmp_path, daemon.url, "-l", "kre", "-m", "rig", "--persistent", "--", "sleep", "300",
        environ={"LESSOR_API_KEY": daemon.key("member")},
    )  # fmt: skip
    try:
        run.event("started")
        (session,) = shell.json("session", "list")["items"]
        listed = shell.text("session", "list")
        assert "sleep 300" in listed
        assert "mary@example.com" in listed, "whose key it is, not the account it runs as"
        assert "would: end the session of mary@example.com" in shell.text(
            "session", "end", session["id"], "--dry-run"
        )
        shell.text("session", "end", session["id"], "--reason", "the lab closes", "--yes")
        assert run.wait() == 79
    finally:
        run.end()
    assert "the lab closes" in run.stderr

    def past() -> list[dict[str, object]]:
        items: list[dict[str, object]] = shell.json("session", "list", "--past")["items"]
        return items

    (ended,) = wait_until(past, what="the past session")
    assert ended["id"] == session["id"]
    rows = list(csv.DictReader(io.StringIO(shell.text("session", "list", "--past", "--csv"))))
    assert [row["id"] for row in rows] == [session["id"]]
    assert "rig" in shell.text("machine", "list")
    assert "say which machines" in shell.refused(USAGE, "machine", "remove", "--yes")
    refused = shell.refused(DENIED, "machine", "remove", "rig", "nobody", "--yes")
    assert "nothing was done: no machine 'nobody'" in refused
    assert "rig" in shell.text("machine", "list")
    tried = shell.text("machine", "remove", "--idle", "--dry-run")
    assert tried.endswith("(1 machine: rig)\n")
    removed = shell.json("machine", "remove", "--idle", "--license", "kre", "--yes")
    assert removed["machines"] == ["rig"]
    assert shell.text("machine", "list") == "no registered machines\n"


def test_the_audit_names_the_change_and_who_made_it(shell: Shell) -> None:
    shell.with_key("admin").text("license", "set", "kre", "--product", "Audited")
    (entry,) = shell.json("audit", "list", "--action", "license.change", "--limit", "1")["items"]
    assert entry["actor"]["member"] == "adam@example.com"
    line = shell.text("audit", "list", "--actor", "adam@example.com").splitlines()[1]
    assert "adam@example.com" in line
    assert "→ Audited" in line
    assert datetime.fromisoformat(entry["at"]).strftime("%Y-%m-%d %H:%M:%S  ") in line
    assert f"  {entry['source']}  " in line
    lines = shell.text("audit", "list", "--jsonl", "--since", "1h").splitlines()
    assert entry in [json.loads(one) for one in lines]


@pytest.mark.parametrize("format", ["--csv", "--jsonl", "--json"])
def test_a_list_of_many_pages_is_whole(
    format: str, shared: DaemonProcess, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(api, "PAGE", 3)
    monkeypatch.setenv("LESSOR_URL", shared.url)
    monkeypatch.setenv("LESSOR_API_KEY", shared.key("owner"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    assert cli.main(["audit", "list", "--limit", "8", format]) == 0
    out = capfd.readouterr().out
    if format == "--csv":
        ids = [row["id"] for row in csv.DictReader(io.StringIO(out))]
    elif format == "--jsonl":
        ids = [json.loads(line)["id"] for line in out.splitlines()]
    else:
        ids = [one["id"] for one in json.loads(out)["items"]]
    assert len(ids) == len(set(ids)) == 8
