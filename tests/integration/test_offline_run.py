"""Offline licenses from request to receipt: issued by a real daemon, used where there is none."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from lessor_protocol.offline import SEED_BYTES, OfflineLicense, write_license
from support.administration import BOOTSTRAP
from support.command_line import Shell
from support.lessor_run import WITHOUT_CGROUP, Run
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.daemon import DaemonProcess, MakeDaemon

NO_SEAT, DENIED, USAGE, LOST = 75, 77, 78, 79
MACHINE = "island"


class Island:
    """A machine without network, ``admin`` a shell beside the server."""

    def __init__(self, directory: Path, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.admin = Shell(directory, daemon)
        self.home = directory / "island"
        self.home.mkdir()
        self.shell = Shell(self.home)

    @property
    def state(self) -> Path:
        """Where the machine keeps what it knows."""
        return self.home / ".local" / "state" / "lessor" / "offline"

    def issue(self, name: str = "seat.lic", *, seats: int = 1, expires: str = "1d") -> Path:
        """A new offline license for the machine, which believes its key."""
        file = self.home / name
        self.admin.text(
            "offline", "issue", "--license", "kre", "--machine", MACHINE,
            "--seats", str(seats), "--expires", expires, "--output", str(file),
        )  # fmt: skip
        self.trust()
        return file

    def trust(self) -> None:
        """Carry the server's public keys to the machine."""
        keys = self.home / "keys"
        keys.unlink(missing_ok=True)
        self.admin.text("offline", "trust", "--export", str(keys))
        self.shell.text("offline", "trust", str(keys))

    def available(self) -> int:
        """The license's free seats, as the server counts them."""
        found: int = self.admin.json("license", "show", "kre")["available"]
        return found

    def refused(self, code: int, file: Path, *options: str) -> str:
        """What ``lessor run`` says that must not run anything."""
        mark = self.home / "it ran"
        said = self.shell.refused(
            code, "run", "--offline", str(file), "-m", MACHINE, *options, "--", "touch", str(mark)
        )
        assert not mark.exists()
        return said


@pytest.fixture
def island(make_daemon: MakeDaemon, tmp_path: Path) -> Island:
    daemon = make_daemon(bootstrap=BOOTSTRAP.replace("seats = 2", "seats = 4", 1))
    daemon.start()
    return Island(tmp_path, daemon)


@pytest.fixture
def start(island: Island) -> Iterator[Callable[..., Run]]:
    """Starts ``lessor run --offline`` on the machine, where no server can be reached."""
    runs: list[Run] = []

    def start_run(file: Path, *arguments: str, **more: Any) -> Run:  # noqa: ANN401 - Run's own
        options = ("--offline", str(file), "-m", MACHINE, *arguments)
        runs.append(Run(island.home, "", *options, environ={"LESSOR_API_KEY": ""}, **more))
        return runs[-1]

    yield start_run
    for run in runs:
        run.end()


def test_from_the_request_to_the_receipt_without_the_machine_ever_reaching_the_server(
    island: Island, tmp_path: Path
) -> None:
    request, receipt = tmp_path / "request", tmp_path / "island" / "seat.lic.receipt"
    island.shell.text(
        "offline", "request", "--license", "kre", "--seats", "3", "-m", MACHINE, "-o", str(request)
    )
    file = island.home / "seat.lic"
    said = island.admin.text(
        "offline", "issue", "--request", str(request), "--expires", "7d", "-o", str(file)
    )
    assert "3 seats of kre for island" in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert island.available() == 1
    assert "trust" in island.refused(DENIED, file)
    island.trust()
    checked = island.shell.json("offline", "check", str(file), "-m", MACHINE)
    assert (checked["seats"], checked["state"]) == (3, "valid")

    island.daemon.stop()
    script = "import os; print(*(os.environ[f'LESSOR_{n}'] for n in ('LICENSE', 'COUNT', 'URL')))"
    command = ("--", sys.executable, "-c", script)
    ran = island.shell.text("run", "--offline", str(file), "-m", MACHINE, "-N", "2", *command)
    assert ran.split() == ["kre", "2", f"offline:{checked['serial']}"]
    copy = island.home / "copy.lic"
    copy.write_text(file.read_text())
    told = island.shell.text("offline", "return", str(file), "-m", MACHINE, "--yes")
    assert f"lessor offline return {receipt}" in told
    assert not file.exists()
    assert "was returned" in island.refused(DENIED, copy)

    island.daemon.start()
    assert island.available() == 1
    island.admin.text("offline", "return", str(receipt), "--yes")
    assert island.available() == 4
    # Handing it in again, or a copy of the license elsewhere, changes nothing.
    island.admin.text("offline", "return", str(receipt), "--yes")
    assert island.available() == 4


def test_events_go_to_no_descriptor_that_the_user_did_not_open(island: Island) -> None:
    """The file of the seats, opened first, would get the number."""
    said = island.refused(USAGE, island.issue(), "--events-fd", "3")
    assert "--events-fd: descriptor 3 is not open" in said


def test_with_a_server_in_reach_the_receipt_is_handed_in_at_once(island: Island) -> None:
    file = island.issue(seats=2)
    assert island.available() == 2
    reached = {"LESSOR_URL": island.daemon.url, "LESSOR_API_KEY": island.daemon.key("admin")}
    command = ("offline", "return", str(file), "-m", MACHINE, "--yes")
    assert island.shell.run(*command, **reached).returncode == 0
    assert island.available() == 4
    # Who may not hand it in is told whom to give it to; nothing is lost.
    file = island.issue("other.lic", seats=2)
    reached["LESSOR_API_KEY"] = island.daemon.key("member")
    done = island.shell.run(*command[:2], str(file), *command[3:], **reached)
    assert done.returncode == 0
    assert "that takes an admin" in done.stderr
    assert f"lessor offline return {file}.receipt" in done.stdout
    island.admin.text("offline", "return", f"{file}.receipt", "--yes")
    assert island.available() == 4


def test_a_forged_receipt_frees_nothing(island: Island) -> None:
    files = [island.issue(f"{name}.lic") for name in ("one", "two")]
    for file in files:
        island.shell.text("offline", "return", str(file), "-m", MACHINE, "--yes")
    one, two = (island.home / f"{name}.lic.receipt" for name in ("one", "two"))
    lines = one.read_text().splitlines()
    forged = island.home / "forged"
    # The signature of one receipt on the content of the other.
    forged.write_text("\n".join([lines[0], lines[1], *two.read_text().splitlines()[2:], ""]))
    said = island.admin.refused(DENIED, "offline", "return", str(forged), "--yes")
    assert f"{forged} is no receipt that holds" in said
    forged.write_text("\n".join([lines[0], "nonsense!", lines[-1]]))
    said = island.admin.refused(USAGE, "offline", "return", str(forged), "--yes")
    assert f"{forged} is no receipt: " in said
    assert island.available() == 2


def test_what_does_not_hold_here_runs_nothing(island: Island) -> None:
    file = island.issue()
    forged = island.home / "forged.lic"
    first, *middle, last = file.read_text().splitlines()
    content = b64decode("".join(middle)).replace(b'"seats":1', b'"seats":9')
    forged.write_text("\n".join([first, b64encode(content).decode(), last]))
    assert "is no offline license that holds here" in island.refused(DENIED, forged)
    other = ("run", "--offline", str(file), "-m", "another", "--", "true")
    assert "is for the machine 'island'" in island.shell.refused(DENIED, *other)
    here = ("run", "--offline", str(file), "--", "true")
    assert "is for the machine 'island'" in island.shell.refused(DENIED, *here)
    assert "of the license kre" in island.refused(USAGE, file, "-l", "studio")
    assert "fewer than are wanted" in island.refused(USAGE, file, "-N", "2")
    assert "cannot be read" in island.refused(USAGE, island.home / "nothing.lic")
    request = island.home / "request"
    island.shell.text("offline", "request", "-m", MACHINE, "-o", str(request))
    assert "LESSOR OFFLINE LICENSE" in island.refused(USAGE, request)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda _text: "a plain text\n", "is no offline license"),
        (lambda _text: "", "is no offline license"),
        (lambda text: text[: len(text) // 2], "is cut off"),
        (lambda text: text.replace("\n", "\n!", 2), "is damaged"),
        (lambda text: "\n".join([*text.splitlines()[:3], text.splitlines()[-1]]), "is damaged"),
    ],
)
def test_what_cannot_be_read_is_78_whatever_the_machine_believes(
    damage: Callable[[str], str], told: str, tmp_path: Path
) -> None:
    file = tmp_path / "seat.lic"
    license = OfflineLicense("5e", "acme", "kre", MACHINE, 1, 0, 1, "key", bytes(SEED_BYTES))
    file.write_text(damage(write_license(license, bytes(SEED_BYTES))))
    here = (str(file), "-m", MACHINE)
    for command in (("offline", "check", *here), ("run", "--offline", *here, "--", "true")):
        assert f"{file} {told}" in Shell(tmp_path).refused(USAGE, *command)


def test_an_issue_that_contradicts_the_request_is_refused(island: Island, tmp_path: Path) -> None:
    request, file = tmp_path / "request", tmp_path / "seat.lic"
    asked = ("offline", "request", "--license", "kre", "--seats", "2", "-m", MACHINE)
    island.shell.text(*asked, "-o", str(request))
    issue = ("offline", "issue", "--request", str(request), "--expires", "1d", "-o", str(file))
    said = island.admin.refused(USAGE, *issue, "--license", "studio")
    assert "asks for the license kre, and --license says studio" in said
    said = island.admin.refused(USAGE, *issue, "--machine", "another")
    assert f"asks for the machine {MACHINE}, and --machine says another" in said
    assert island.available() == 4
    assert not file.exists()
    said = island.admin.text(*issue, "--license", "kre", "--machine", MACHINE, "--seats", "1")
    assert "1 seat of kre for island" in said
    request.write_text("a plain text")
    assert f"{request} is no request" in island.admin.refused(USAGE, *issue[:-1], f"{file}2")


def test_the_public_keys_never_overwrite_a_file(island: Island) -> None:
    island.issue()
    keys = island.home / "keys"
    before = keys.read_text()
    said = island.admin.refused(USAGE, "offline", "trust", "--export", str(keys))
    assert f"{keys} is there already" in said
    assert keys.read_text() == before


def test_without_cryptography_the_missing_package_is_named(island: Island) -> None:
    file = island.issue()
    hidden = island.home / "hidden" / "cryptography"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('cryptography')\n")
    done = island.shell.run(
        "run", "--offline", str(file), "-m", MACHINE, "--", "true", PYTHONPATH=str(hidden.parent)
    )
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "pip install cryptography" in done.stderr


def test_a_clock_set_back_revives_nothing(island: Island) -> None:
    file = island.issue()
    island.shell.text("offline", "check", str(file), "-m", MACHINE)
    wall, boot_id, up = json.loads((island.state / "clock").read_text())
    # As if the machine had been up for two more days, and its clock been set back since.
    (island.state / "clock").write_text(json.dumps([wall + 2 * 86_400, boot_id, up]))
    assert "has expired" in island.refused(DENIED, file)
    (island.state / "clock").write_text(json.dumps([wall + 2 * 86_400, "another boot", 5.0]))
    assert "has expired" in island.refused(DENIED, file)


def test_full_seats_are_75_and_who_waits_gets_the_next_one(
    island: Island, start: Callable[..., Run]
) -> None:
    file = island.issue(seats=2)
    copy = island.home / "copy.lic"
    copy.write_text(file.read_text())
    runs = [start(file, "--", "sleep", "300") for _ in range(2)]
    for run in runs:
        run.event("started")
    said = island.refused(NO_SEAT, copy, "-n")
    assert "sleep 300" in said
    assert "held by" in said
    assert island.shell.run(
        "run", "--offline", str(file), "-m", MACHINE, "-n", "-E", "9", "--", "true"
    ).returncode == 9  # fmt: skip
    waiting = start(file, "-w", "60s", "--", "true")
    assert waiting.event("waiting")["blocked_by"] == "seats"
    assert "end them first" in island.shell.refused(
        DENIED, "offline", "return", str(file), "-m", MACHINE, "--yes"
    )
    runs[0].process.send_signal(signal.SIGTERM)
    assert waiting.wait() == 0
    assert runs[0].wait() == 128 + signal.SIGTERM


STUBBORN = "trap '' TERM; echo; while :; do sleep 0.05; done"


@pytest.mark.parametrize("victim", ["agent", "leash"])
def test_a_seat_is_free_when_its_tree_is_dead_and_not_before(
    victim: str, island: Island, start: Callable[..., Run]
) -> None:
    file = island.issue()
    first = start(file, "-k", "1s", "--", "sh", "-c", STUBBORN, wrapper=WITHOUT_CGROUP)
    first.event("started")
    second = start(file, "--", "sleep", "300")
    second.event("waiting")
    os.kill(first.agent if victim == "agent" else first.leash, signal.SIGKILL)
    wait_until(
        lambda: any(one["event"] == "started" for one in second.events) or not first.survivors(),
        20.0,
        "either run to change",
    )
    assert not first.survivors()
    second.event("started", 10.0)


def test_when_the_license_expires_the_tree_is_dead_in_time(
    island: Island, start: Callable[..., Run]
) -> None:
    file = island.issue(expires="4s")
    run = start(file, "--", "sleep", "300")
    run.event("started")
    expires = run.event("granted")["ttl"] + time.time()
    run.dead_after()
    assert time.time() < expires
    assert run.wait() == LOST
    (told,) = [line for line in run.stderr.splitlines() if "stopped" in line]
    assert "the offline license " in told
    assert re.search(r"expires at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d; ask an admin for another", told)
    wait_until(
        lambda: island.shell.run("offline", "check", str(file), "-m", MACHINE).returncode == DENIED,
        what="the license to expire",
    )
    assert "has expired" in island.refused(DENIED, file)


def test_older_files_hold_after_the_server_signs_with_a_new_key(island: Island) -> None:
    old = island.issue("old.lic")
    island.admin.with_key("operator").text("offline", "rotate")
    new = island.home / "new.lic"
    island.admin.text(
        "offline", "issue", "--license", "kre", "--machine", MACHINE,
        "--expires", "1d", "-o", str(new),
    )  # fmt: skip
    assert "not known here" in island.refused(DENIED, new)
    island.trust()
    for file in (old, new):
        island.shell.text("run", "--offline", str(file), "-m", MACHINE, "--", "true")
    states = [one["state"] for one in island.admin.json("offline", "list")["items"]]
    assert states == ["valid", "valid"]
