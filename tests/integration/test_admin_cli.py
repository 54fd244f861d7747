"""The administration on the command line, with real keys of every role against a real daemon."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import sys
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from lessor import cli
from lessor.admin import api
from support.administration import BOOTSTRAP, Acme
from support.command_line import Shell
from support.daemon import DaemonProcess
from support.lessor_run import Run
from support.pty_session import PtySession
from support.raw_server import RawServer, answer, read_request
from support.waiting import wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import MakeDaemon

OK, UNREACHABLE, DENIED, USAGE = 0, 69, 77, 78


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon whose organization each test leaves as it found it."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("acme"), bootstrap=BOOTSTRAP)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()


@pytest.fixture
def shell(shared: DaemonProcess, tmp_path: Path) -> Shell:
    """The owner's shell."""
    return Shell(tmp_path, shared)


ALL = {"owner", "admin", "member", "colleague", "run", "read", "service"}
ADMINS = {"owner", "admin", "service"}
ALLOWED = {
    ("org", "list"): ALL | {"operator"},
    ("org", "show"): ALL,
    ("member", "list"): ADMINS | {"read"},
    ("license", "list"): ALL,
    ("license", "show", "kre"): ALL,
    ("license", "users", "studio"): ADMINS | {"read"},
    ("key", "list"): ALL - {"run"},
    ("machine", "list"): ADMINS | {"read"},
    ("session", "list"): ALL - {"run"},
    ("offline", "list"): ADMINS | {"read"},
    ("audit", "list"): ADMINS,
    ("license", "set", "kre", "--product", "Katalon"): ADMINS,
    ("license", "remove", "kre", "--dry-run"): ADMINS,
    ("member", "remove", "mick@example.com", "--dry-run"): ADMINS,
    ("org", "remove", "other", "--dry-run"): {"operator"},
}


@pytest.mark.parametrize("role", sorted(ALL | {"operator"}))
def test_each_role_may_what_it_may_and_is_told_what_to_do_otherwise(
    role: str, shell: Shell
) -> None:
    for command, roles in ALLOWED.items():
        done = shell.with_key(role).run(*command)
        expected = OK if role in roles else DENIED
        assert done.returncode == expected, (command, done.stdout, done.stderr)
        if expected == DENIED:
            assert done.stdout == ""
            assert done.stderr.startswith("lessor: ")
            assert ";" in done.stderr or "takes a key" in done.stderr, done.stderr


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


def test_a_license_whose_term_is_over_is_shown_as_expired(shell: Shell) -> None:
    shell.text("license", "add", "over", "--seats", "1", "--expires", "2020-01-01")
    assert "2020-01-01 00:00 (expired)" in shell.text("license", "show", "over")
    shell.text("license", "set", "over", "--expires", "20h")
    assert "(in less than a day)" in shell.text("license", "show", "over")
    shell.text("license", "remove", "over", "--yes")


@pytest.mark.parametrize(
    "command",
    [("offline", "rotate"), ("backup", "all.json"), ("org", "create", "x", "--owner", "a@b.c")],
)
def test_who_is_not_the_operator_is_sent_to_the_operator(
    command: tuple[str, ...], shell: Shell
) -> None:
    said = shell.refused(DENIED, *command)
    assert "operator.key" in said
    assert "owner" not in said


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


def test_without_a_server_the_exit_code_says_so(tmp_path: Path, free_port: int) -> None:
    shell = Shell(tmp_path)
    settings = {"LESSOR_URL": f"http://127.0.0.1:{free_port}", "LESSOR_API_KEY": "lsr_a_b"}
    done = shell.run("member", "list", **settings)
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert "is it running there" in done.stderr
    assert shell.run("member", "list").returncode == USAGE


def test_a_change_that_got_no_answer_is_not_sent_again(tmp_path: Path) -> None:
    whoami = b'{"organization": "acme"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    requests: list[bytes] = []

    def hang_up(connection: socket.socket) -> None:
        requests.append(read_request(connection))

    with RawServer(answer(head % len(whoami) + whoami), hang_up) as server:
        settings = {
            "LESSOR_URL": f"{server.url},{server.url}",
            "LESSOR_API_KEY": "lsr_a_b",
        }
        done = Shell(tmp_path).run("key", "make", "ci", **settings)
    assert done.returncode == UNREACHABLE
    assert "it may have happened all the same" in done.stderr
    assert len(requests) == 1
    assert requests[0].startswith(b"POST /v1/orgs/acme/keys ")
