"""``lessor member`` and ``lessor key``."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.command_line import Shell

OK, DENIED, USAGE = 0, 77, 78


def test_a_member_comes_rises_and_goes(shell: Shell) -> None:
    shell.text("member", "add", "zoe@example.com")
    shell.text("member", "set", "zoe@example.com", "--role", "admin")
    assert shell.json("member", "show", "zoe@example.com")["role"] == "admin"
    removed = shell.json("member", "remove", "zoe@example.com", "--yes")
    assert removed["removed"] == "zoe@example.com"
    said = shell.refused(DENIED, "member", "set", "olga@example.com", "--role", "member")
    assert "owner" in said


def test_a_secret_is_shown_once_on_stdout_and_nowhere_else(shell: Shell) -> None:
    made = shell.run("key", "make", "once", "--scope", "run", "--scope", "read")
    secret = made.stdout.strip()
    assert made.returncode == 0
    assert secret.startswith("lsr_")
    assert secret.count("\n") == 0
    assert secret.partition("_")[2].partition("_")[2] not in made.stderr
    assert shell.run("status", LESSOR_API_KEY=secret).returncode == 0
    key_id = secret.split("_")[1]
    assert "secret" not in shell.json("key", "show", key_id)
    assert secret not in shell.text("key", "list") + shell.text("audit", "list", "--jsonl")
    shell.text("key", "revoke", key_id, "--yes")
    refused = shell.run("status", LESSOR_API_KEY=secret)
    assert refused.returncode == DENIED


def test_a_secret_in_a_file_is_for_its_owner_alone(shell: Shell) -> None:
    file = shell.home / "robot.key"
    said = shell.text("key", "make", "robot", "--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    assert secret not in said
    # A file that is there is never overwritten, and no key is made for it.
    before = shell.json("key", "list")["items"]
    refused = shell.refused(USAGE, "key", "make", "robot2", "-o", str(file))
    assert "is there already" in refused
    assert file.read_text().strip() == secret
    names = [key["name"] for key in shell.json("key", "list")["items"]]
    assert len(names) == len(before)
    shell.text("key", "revoke", secret.split("_")[1], "--yes")


def test_a_rotated_key_overlaps_as_long_as_it_is_asked_to(shell: Shell) -> None:
    old = shell.text("key", "make", "turning", "--scope", "read").strip()
    new = shell.text("key", "rotate", old.split("_")[1], "--overlap", "1h").strip()
    newest = shell.text("key", "rotate", old.split("_")[1]).strip()
    codes = [shell.run("status", LESSOR_API_KEY=key).returncode for key in (old, new, newest)]
    assert codes == [DENIED, DENIED, OK]
    assert new != old
    shell.text("key", "revoke", old.split("_")[1], "--yes")


def test_a_key_that_has_expired_is_told_to_be_so(shell: Shell) -> None:
    key_id = shell.text("key", "make", "short", "--scope", "read").split("_")[1]
    said = shell.text("key", "set", key_id, "--expires", "2020-01-01")
    assert said.startswith(f"the key {key_id} has expired")
    rotated = shell.run("key", "rotate", key_id, "--overlap", "8s")
    assert rotated.returncode == OK
    assert f"lessor key set {key_id} --expires" in rotated.stderr
    assert re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d;", rotated.stderr)
    assert "may read" in shell.text("key", "set", key_id, "--expires", "90d")
    assert "has expired" not in shell.run("key", "rotate", key_id).stderr
    tried = shell.text("key", "revoke", key_id, "--end-sessions", "--dry-run")
    assert tried == f"would: revoke the key {key_id} (short); its sessions end\n"
    tried = shell.text("key", "revoke", key_id, "--dry-run")
    assert tried == f"would: revoke the key {key_id} (short); its sessions finish\n"
    shell.text("key", "revoke", key_id, "--yes")
