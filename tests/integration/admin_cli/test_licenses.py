"""``lessor license``, with its users and its line."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from support.administration import BOOTSTRAP, Acme
from support.command_line import Shell

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess, MakeDaemon

DENIED, USAGE = 77, 78


def test_a_license_from_its_making_to_its_removal(shell: Shell) -> None:
    shell.text("license", "add", "tool", "--seats", "3", "--machines", "unlimited", "--ttl", "20s")
    shell.text("license", "set", "tool", "--seats", "5", "--expires", "2030-06-01")
    shown = shell.json("license", "show", "tool")
    assert (shown["seats"], shown["available"], shown["ttl"]) == (5, 5, 20)
    assert (shown["machine_quota"], shown["expires"]) == ("unlimited", "2030-06-01T00:00:00Z")
    shell.text(
        "license", "set", "tool", "--expires", "never", "--machines", "as-seats",
        "--keep-machines", "7d", "--offline-allowed", "no",
    )  # fmt: skip
    shown = shell.json("license", "show", "tool")
    assert "expires" not in shown
    assert (shown["machine_quota"], shown["offline_allowed"]) == (5, False)
    assert shown["machine_retention"] == 7 * 86_400
    assert "tool" in shell.text("license", "list")
    assert "say what to change" in shell.refused(USAGE, "license", "set", "tool")
    assert "already" in shell.refused(DENIED, "license", "add", "tool", "--seats", "1")
    assert shell.text("license", "remove", "tool", "--yes") == "removed tool\n"
    assert "lessor license list" in shell.refused(DENIED, "license", "show", "tool")


def test_lowering_below_use_is_refused_unless_forced(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    shell = Shell(tmp_path, daemon)
    Acme(daemon).held()
    said = shell.refused(DENIED, "license", "set", "kre", "--seats", "0")
    assert "--force" in said
    shell.text("license", "set", "kre", "--seats", "0", "--force")
    assert shell.json("license", "show", "kre")["available"] == 0
    assert "end its sessions" in shell.refused(DENIED, "license", "remove", "kre", "--yes")


def test_named_users_are_assigned_transferred_and_withdrawn(shell: Shell) -> None:
    said = shell.refused(DENIED, "license", "assign", "studio", "nobody@example.com")
    assert "lessor member list" in said
    shell.text("license", "assign", "studio", "mary@example.com")
    assert "mary@example.com" in shell.text("license", "users", "studio")
    shell.text("license", "transfer", "studio", "mary@example.com", "mick@example.com")
    users = shell.json("license", "users", "studio")["items"]
    assert [user["email"] for user in users] == ["mick@example.com"]
    shell.text("license", "withdraw", "studio", "mick@example.com", "-y")
    assert shell.text("license", "users", "studio") == "no registered users\n"


def test_a_license_whose_term_is_over_is_shown_as_expired(shell: Shell) -> None:
    shell.text("license", "add", "over", "--seats", "1", "--expires", "2020-01-01")
    assert "2020-01-01 00:00 (expired)" in shell.text("license", "show", "over")
    shell.text("license", "set", "over", "--expires", "20h")
    assert "(in less than a day)" in shell.text("license", "show", "over")
    shell.text("license", "remove", "over", "--yes")


def test_a_drained_license_is_seen_to_be_one(shell: Shell) -> None:
    shell.text("license", "drain", "kre")
    assert "drained" in shell.text("license", "list")
    assert "kre is drained: running sessions finish" in shell.text("status")
    shell.text("license", "drain", "kre", "--undo")
    assert "drained" not in shell.text("license", "list") + shell.text("status")


def test_who_waits_is_seen_and_can_be_sent_away(shell: Shell, shared: DaemonProcess) -> None:
    assert shell.text("license", "line", "kre") == "nobody waits for kre\n"
    mary = shared.caller("member")
    held = [mary.acquire("kre").body["lease"]["id"] for _ in range(2)]
    waiting = str(uuid.uuid4())
    assert mary.acquire("kre", id=waiting, wait=60).status == 202
    (shown,) = shell.json("license", "line", "kre")["items"]
    assert (shown["position"], shown["id"]) == (1, waiting)
    listed = shell.text("license", "line", "kre")
    assert waiting in listed
    assert "GROUP" not in listed, "nobody has one"
    shell.text("release", waiting)
    assert mary.acquire("kre", id=waiting, wait=60).code == "lease_ended"
    (entry,) = shell.json("audit", "list", "--action", "waiter.remove")["items"]
    assert (entry["target"], entry["before"]["owner"]) == (waiting, "member:mary@example.com")
    for one in held:
        mary.release(one)
