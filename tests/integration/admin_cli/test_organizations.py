"""What the operator does: organizations, backups."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from support.administration import BOOTSTRAP
from support.command_line import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import MakeDaemon

DENIED, USAGE = 77, 78


def test_an_operator_makes_and_removes_organizations(shell: Shell) -> None:
    operator = shell.with_key("operator")
    made = operator.run("org", "create", "newcomer", "--owner", "eve@example.com")
    assert made.returncode == 0, made.stderr
    slugs = [one["slug"] for one in operator.json("org", "list")["items"]]
    assert "newcomer" in slugs
    owner = {"LESSOR_API_KEY": made.stdout.strip()}
    assert shell.run("org", "rename", "New Comer", **owner).returncode == 0
    assert "New Comer" in shell.run("org", "show", **owner).stdout
    operator.text("org", "remove", "newcomer", "--yes")
    assert "newcomer" not in operator.text("org", "list")


def test_a_directory_moves_to_another_store(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    old, new = make_daemon(bootstrap=BOOTSTRAP), make_daemon(bootstrap=None)
    old.start()
    file = tmp_path / "all.json"
    operator = Shell(tmp_path, old, "operator")
    assert "wrote 2 organizations" in operator.text("backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    old.stop()
    new.start()
    shell = Shell(tmp_path, new, "operator")
    assert shell.text("restore", str(file), "--dry-run").startswith("would: make 2 organizations")
    shell.text("restore", str(file))
    members = Shell(tmp_path, new).run("member", "list", LESSOR_API_KEY=old.key("owner"))
    assert "olga@example.com" in members.stdout
    assert "already" in shell.refused(DENIED, "restore", str(file))
    again = shell.text("restore", str(file), "--skip-existing")
    assert again == "nothing was made: all of them are there already\n"
    tried = shell.text("restore", str(file), "--skip-existing", "--dry-run")
    assert tried == "would: make nothing: all of them are there already\n"
    other = tmp_path / "other"
    other.write_text("[]")
    assert "not what lessor backup writes" in shell.refused(USAGE, "restore", str(other))


def test_what_the_first_start_made_can_make_room_for_a_backup(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    old, new = make_daemon(bootstrap=None), make_daemon(bootstrap=None)
    file = tmp_path / "all.json"
    old.start()
    Shell(tmp_path, old, "operator").text("backup", str(file))
    old.stop()
    new.start()
    shell = Shell(tmp_path, new, "operator")
    said = shell.refused(DENIED, "restore", str(file))
    assert "the server's first start makes one" in said
    assert "lessor org remove default" in said
    shell.text("org", "remove", "default", "--yes")
    assert shell.text("restore", str(file)) == "made 1 organization (default)\n"
