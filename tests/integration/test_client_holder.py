"""``lessor acquire`` and ``release``: a seat that a background process keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lessor_protocol.lease_id import parse_lease_id
from support.daemon import clean_environ
from support.fake_server import KEY, FakeServer
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Shell:
    """Runs ``lessor`` against a server, with holders' files in a directory of the test."""

    server: FakeServer
    directory: Path

    def environ(self) -> dict[str, str]:
        return clean_environ(
            {
                "LESSOR_URL": self.server.url,
                "LESSOR_API_KEY": KEY,
                "LESSOR_LICENSE": "kre",
                "XDG_RUNTIME_DIR": str(self.directory),
            }
        )

    def lessor(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lessor", *arguments],
            env={**self.environ(), **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def script(self, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A script of bash in which ``$lessor`` is the command."""
        return subprocess.run(
            ["bash", "-c", script],
            env={**self.environ(), "lessor": f"{sys.executable} -m lessor", **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def acquire(self, *arguments: str) -> dict[str, Any]:
        done = self.lessor("acquire", *arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def holders(self) -> list[int]:
        """The pids of live holders, by their files."""
        found = []
        for path in self.directory.glob("lessor/*.pid"):
            with suppress(FileNotFoundError):
                found.append(int(path.read_text()))
        return [pid for pid in found if alive(pid)]

    def files(self) -> set[str]:
        return {path.suffix for path in (self.directory / "lessor").iterdir()}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    server = FakeServer(seats=1, ttl_ms=2_000)
    with ExitStack() as stack:
        stack.callback(server.close)
        shell = Shell(server, tmp_path)
        yield shell
        server.mode = "well"
        # Those whose process has just ended are ending too.
        for pid in shell.holders():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not shell.holders(), what="all holders to end")


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses a seat; it ends with the test."""
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(["sleep", "300"]))
        stack.callback(process.kill)
        yield process


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_the_lease_is_printed_and_kept_by_a_process_of_its_own(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid), "--label", "team=shop", "-m", "rig-1")
    assert parse_lease_id(lease["id"]) in shell.server.leases
    assert lease["license"] == "kre"
    assert lease["token"] == 1
    assert lease["labels"] == {"team": "shop"}
    assert lease["machine"]["id"] == "rig-1"
    assert lease["process"]["pid"] == worker.pid
    assert lease["process"]["command"] == "sleep 300"
    assert "certificate" not in lease
    holder = lease["holder"]
    assert holder["while_pid"] == worker.pid
    wait_until(lambda: shell.server.count("renew") >= 5, what="renewals beyond the first ttl")
    assert alive(holder["pid"])
    assert os.getsid(holder["pid"]) == holder["pid"]


def test_the_key_shows_in_no_argument_and_no_file(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid))
    command_line = Path(f"/proc/{lease['holder']['pid']}/cmdline").read_text()
    assert KEY not in command_line
    for path in (shell.directory / "lessor").iterdir():
        assert KEY not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


def test_release_from_another_process_ends_the_holder_and_frees_the_seat(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid))
    done = shell.lessor("release", lease["id"].upper())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not shell.server.leases
    assert not alive(lease["holder"]["pid"])
    assert shell.files() == set()
    assert worker.poll() is None


def test_the_end_of_the_watched_process_gives_the_seat_back(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid))
    worker.kill()
    worker.wait()
    wait_until(lambda: not shell.server.leases, what="the seat to come back")
    wait_until(lambda: not alive(lease["holder"]["pid"]), what="the holder to end")
    assert shell.files() == set()


def test_a_step_that_captures_the_output_ends_while_the_holder_lives_on(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    script = f'out=$({sys.executable} -m lessor acquire --while-pid {worker.pid}); echo "$out"'
    done = subprocess.run(
        ["sh", "-c", script], env=shell.environ(), capture_output=True, check=True, timeout=20
    )
    assert alive(json.loads(done.stdout)["holder"]["pid"])


def test_what_the_calling_shell_has_open_is_not_kept_open(
    shell: Shell, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    acquire = f"{sys.executable} -m lessor acquire --while-pid {worker.pid}"
    done = subprocess.run(
        ["bash", "-c", f"exec 9>{lock} 5>&1; {acquire}"],
        env=shell.environ(),
        capture_output=True,
        check=True,
        timeout=20,
    )
    pid = json.loads(done.stdout)["holder"]["pid"]
    kept = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    assert str(lock) not in kept


@pytest.mark.parametrize(
    "script",
    [
        "out=$({lessor} acquire); echo $out; true",
        "{lessor} acquire | cat; true",
        "out=$({lessor} acquire | cat); echo $out; true",
        "({lessor} acquire; true); true",
    ],
)
def test_by_default_the_parent_of_the_calling_shell_is_watched(shell: Shell, script: str) -> None:
    done = subprocess.run(
        ["bash", "-c", script.format(lessor=f"{sys.executable} -m lessor")],
        env=shell.environ(),
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert json.loads(done.stdout)["holder"]["while_pid"] == os.getpid()


def test_a_process_that_does_not_exist_is_wrong_usage_and_takes_no_seat(shell: Shell) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = shell.lessor("acquire", "--while-pid", str(gone.pid))
    assert done.returncode == 78
    assert f"process {gone.pid} cannot be watched" in done.stderr
    assert shell.server.count("acquire") == 0


@pytest.mark.parametrize("wait", [["-n"], ["-w", "0"], ["-w", "300ms"]])
def test_without_a_seat_it_is_75_and_says_who_has_them(
    shell: Shell, worker: subprocess.Popen[bytes], wait: list[str]
) -> None:
    shell.acquire("--while-pid", str(worker.pid))
    done = shell.lessor("acquire", *wait)
    assert (done.returncode, done.stdout) == (75, "")
    assert "no seat of kre: all seats are taken; held by ada" in done.stderr
    assert "(sleep 300)" in done.stderr
    assert len(shell.server.leases) == 1
    assert not shell.server.waiting


def test_waiting_is_told_once_while_nothing_changes(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    shell.acquire("--while-pid", str(worker.pid))
    done = shell.lessor("acquire", "-w", "600ms")
    assert done.stderr.count("waiting for a seat of kre, position 1") == 1
    assert shell.server.count("acquire") > 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_while_waiting_withdraws_the_place(
    shell: Shell, worker: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    shell.acquire("--while-pid", str(worker.pid))
    waiting = subprocess.Popen(
        [sys.executable, "-m", "lessor", "acquire", "--while-pid", str(worker.pid)],
        env=shell.environ(),
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: shell.server.waiting, what="a place in the queue")
    waiting.send_signal(number)
    assert waiting.wait(10) == 128 + number
    assert not shell.server.waiting


def test_a_terminal_that_closes_does_not_end_a_wait_that_was_made_deaf_to_it(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    shell.acquire("--while-pid", str(worker.pid))
    lessor = [sys.executable, "-m", "lessor", "acquire", "--while-pid", str(worker.pid)]
    waiting = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *lessor],
        env=shell.environ(),
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: shell.server.waiting, what="a place in the queue")
    waiting.send_signal(signal.SIGHUP)
    asked = shell.server.count("acquire")
    wait_until(lambda: shell.server.count("acquire") > asked + 1, what="it to ask on")
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(10) == 128 + signal.SIGTERM


def test_a_lost_lease_ends_the_holder_and_leaves_the_process_alone(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid))
    shell.server.end(parse_lease_id(lease["id"]), "ended by ada")
    wait_until(lambda: not alive(lease["holder"]["pid"]), what="the holder to end")
    assert worker.poll() is None
    assert "the lease was lost: ended by ada" in Path(lease["holder"]["log"]).read_text()
    assert shell.files() == {".log"}


def test_asked_to_kill_a_lost_lease_ends_the_process_too(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    lease = shell.acquire("--while-pid", str(worker.pid), "--on-lost", "kill")
    shell.server.end(parse_lease_id(lease["id"]), "ended by ada")
    assert worker.wait(10) == -signal.SIGTERM
    wait_until(lambda: not alive(lease["holder"]["pid"]), what="the holder to end")


def test_asked_to_kill_a_process_that_ignores_sigterm_is_dead_by_the_deadline(
    shell: Shell,
) -> None:
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    script = f"import signal, time; {ignoring}; print(flush=True); time.sleep(300)"
    stubborn = [sys.executable, "-c", script]
    with subprocess.Popen(stubborn, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        shell.acquire("--while-pid", str(process.pid), "--on-lost", "kill")
        wait_until(lambda: shell.server.count("renew") >= 1, what="a renewal")
        shell.server.mode = "cut"
        last_answer = time.monotonic()
        assert process.wait(10) == -signal.SIGKILL
        took = time.monotonic() - last_answer
        shell.server.mode = "well"
    # The last answered request was sent before the cut, so its ttl is over by then.
    assert took < 2.1


def test_the_seat_of_a_process_that_cannot_be_stopped_is_not_given_back(
    shell: Shell, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(NO_PERMISSION)
    acquired = ("acquire", "--while-pid", str(worker.pid), "--on-lost", "kill")
    lease = json.loads(shell.lessor(*acquired, PYTHONPATH=str(hook)).stdout)
    shell.server.end(parse_lease_id(lease["id"]), "ended by ada")
    wait_until(lambda: not alive(lease["holder"]["pid"]), 20, "the holder to end")
    assert worker.poll() is None
    assert shell.server.count("release") == 0
    log = Path(lease["holder"]["log"]).read_text()
    assert "no permission to send SIGKILL" in log
    assert "the process still runs" in log


NO_PERMISSION = """
import signal
def refuse(*_): raise PermissionError
signal.pidfd_send_signal = refuse
"""
"""As for a process of somebody else, such as one that ``sudo`` has started."""


def test_a_holder_that_does_not_start_costs_no_seat(
    shell: Shell, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\nif 'lessor.holder' in sys.orig_argv: raise SystemExit(3)\n"
    )
    done = shell.lessor("acquire", "--while-pid", str(worker.pid), PYTHONPATH=str(broken))
    assert done.returncode == 125
    assert "did not start" in done.stderr
    assert not shell.server.leases


def test_a_folder_named_lessor_does_not_take_the_holders_place(
    shell: Shell, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    impostor = tmp_path / "checkout" / "lessor"
    impostor.mkdir(parents=True)
    (impostor / "__init__.py").write_text("raise SystemExit(3)")
    script = Path(sys.executable).with_name("lessor")
    done = subprocess.run(
        [str(script), "acquire", "--while-pid", str(worker.pid)],
        env=shell.environ(),
        cwd=impostor.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr


def test_a_runtime_directory_of_others_is_refused(
    shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    (shell.directory / "lessor").mkdir(mode=0o755)
    done = shell.lessor("acquire", "--while-pid", str(worker.pid))
    assert done.returncode == 78
    assert "mode 0700" in done.stderr


@pytest.mark.parametrize("url", ["", "lessor.test", "ftp://lessor.test"])
def test_a_bad_url_is_78(shell: Shell, url: str) -> None:
    done = shell.lessor("acquire", LESSOR_URL=url)
    assert done.returncode == 78
    assert "LESSOR_URL" in done.stderr


def test_no_server_is_69_in_time(shell: Shell, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    began = time.monotonic()
    done = shell.lessor("acquire", "--connect-timeout", "500ms", LESSOR_URL=url)
    assert done.returncode == 69
    assert "connection refused" in done.stderr
    assert time.monotonic() - began < 8


def test_a_server_that_talks_nonsense_is_69(shell: Shell) -> None:
    shell.server.mode = "garbage"
    done = shell.lessor("acquire", "-n")
    assert done.returncode == 69
    assert "sent nonsense" in done.stderr


@pytest.mark.parametrize("where", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_caller_that_has_closed_its_streams_gets_a_seat_that_is_kept(
    where: str, shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    done = shell.script(f"$lessor acquire --while-pid {worker.pid} {where}")
    assert done.returncode == 0
    lease = json.loads(done.stdout)
    wait_until(lambda: shell.server.count("renew") >= 5, what="renewals beyond the first ttl")
    assert parse_lease_id(lease["id"]) in shell.server.leases
    assert alive(lease["holder"]["pid"])


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (">/dev/full", "standard output cannot be written: No space left on device; "),
        (">&-", "standard output cannot be written: Bad file descriptor; "),
        (">&3", "nobody reads the lease, so its "),
    ],
)
@pytest.mark.parametrize("is_unbuffered", ["", "1"])
def test_a_lease_that_cannot_be_printed_is_given_back(
    where: str, why: str, is_unbuffered: str, shell: Shell, worker: subprocess.Popen[bytes]
) -> None:
    unread = "mkfifo $XDG_RUNTIME_DIR/pipe; sleep 300 < $XDG_RUNTIME_DIR/pipe & "
    unread += "exec 3> $XDG_RUNTIME_DIR/pipe; kill $!; wait $! 2> /dev/null; "
    done = shell.script(
        f"{unread if where == '>&3' else ''}$lessor acquire --while-pid {worker.pid} {where}",
        PYTHONUNBUFFERED=is_unbuffered,
    )
    assert done.returncode == 125
    assert done.stderr.startswith(f"lessor: {why}")
    assert len(done.stderr.splitlines()) == 1
    assert shell.server.count("acquire") == 1
    assert not shell.server.leases
    assert not shell.holders()


def test_a_number_that_no_process_can_have_is_wrong_usage(shell: Shell) -> None:
    done = shell.lessor("acquire", "--while-pid", "99999999999")
    assert done.returncode == 78
    assert "process 99999999999 cannot be watched" in done.stderr
    assert not shell.server.log
