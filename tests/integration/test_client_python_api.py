"""The Python API: a seat inside a program, kept by a thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import lessor
import pytest
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import parse_lease_id
from support.daemon import clean_environ
from support.fake_server import KEY, FakeServer
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemon import DaemonProcess


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """One seat of a ttl of two seconds, known to this process by its environment."""
    fake = FakeServer(seats=1, ttl_ms=2_000)
    monkeypatch.setenv("LESSOR_URL", fake.url)
    monkeypatch.setenv("LESSOR_API_KEY", KEY)
    monkeypatch.delenv("LESSOR_LICENSE", raising=False)
    yield fake
    fake.close()


def test_a_seat_is_held_inside_the_block_and_given_back_after_it(server: FakeServer) -> None:
    with lessor.acquire("kre", wait=600) as lease:
        assert parse_lease_id(lease.id) in server.leases
        assert lease.license == "kre"
        assert lease.token > 0
        assert not lease.lost.is_set()
        lease.check()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert now < lease.deadline <= now + 2
        assert 0 < lease.remaining <= 2
    assert not server.leases
    assert lease.remaining == 0


def test_a_lease_is_renewed_for_as_long_as_it_is_needed(server: FakeServer) -> None:
    with lessor.acquire("kre") as lease:
        first = lease.deadline
        wait_until(lambda: server.count("renew") >= 5, what="five renewals")
        assert lease.deadline > first + 0.5
        assert not lease.lost.is_set()


def test_a_lease_that_an_admin_ended_is_lost_and_says_why(server: FakeServer) -> None:
    with lessor.acquire("kre") as lease:
        server.end(parse_lease_id(lease.id), "ended by ada")
        assert lease.lost.wait(5)
        with pytest.raises(lessor.LeaseLost, match="ended by ada") as caught:
            lease.check()
        assert caught.value.exit_code == 79
        assert lease.remaining == 0


def test_a_lease_without_a_server_is_lost_by_its_deadline(server: FakeServer) -> None:
    with lessor.acquire("kre") as lease:
        server.mode = "cut"
        assert lease.lost.wait(5)
        assert time.clock_gettime(time.CLOCK_BOOTTIME) >= lease.deadline
        server.mode = "well"


def test_an_outage_of_half_a_ttl_goes_unnoticed(server: FakeServer) -> None:
    server.ttl_ms = 4_000
    with lessor.acquire("kre") as lease:
        server.mode = "silent"
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + 2
        wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) >= until, what="the outage")
        server.mode = "well"
        seen = server.count("renew")
        wait_until(lambda: server.count("renew") > seen, what="a renewal after the outage")
        assert not lease.lost.is_set()


def test_without_a_name_the_default_license_is_taken(server: FakeServer) -> None:
    server.default_license = "studio"
    with lessor.acquire() as lease:
        assert lease.license == "studio"
    server.default_license = None
    with pytest.raises(lessor.UsageError, match=r"say which license: acquire\(license\) or"):
        lessor.acquire()


def test_no_seat_says_who_holds_them(server: FakeServer) -> None:
    with lessor.acquire("kre", labels={"branch": "main"}):
        with pytest.raises(lessor.NoSeat) as caught:
            lessor.acquire("kre", wait=0)
        assert caught.value.holders[0].labels["branch"] == "main"
        with pytest.raises(lessor.NoSeat, match=r"wait longer with wait=, or"):
            lessor.acquire("kre", wait=0.3)
    assert not server.waiting


def test_who_waits_gets_the_seat_when_it_is_free(server: FakeServer) -> None:
    first = lessor.acquire("kre")
    threading.Timer(0.2, first.release).start()
    with lessor.acquire("kre", wait=10) as second:
        assert second.token > first.token
    assert server.count("release") == 2


def test_a_denial_is_raised(server: FakeServer) -> None:
    server.refusal = Problem("revoked", "the key was revoked")
    with pytest.raises(lessor.Denied, match="revoked") as caught:
        lessor.acquire("kre")
    assert caught.value.code == "revoked"


def test_a_server_that_is_not_there_is_unreachable(server: FakeServer, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    with pytest.raises(lessor.Unreachable, match="cannot be reached"):
        lessor.acquire("kre", url=url, connect_timeout=0.3)
    assert server.count("acquire") == 0


def test_a_release_may_be_repeated(server: FakeServer) -> None:
    lease = lessor.acquire("kre")
    lease.release()
    lease.release()
    assert server.count("release") == 1


def test_descriptors_and_threads_are_given_back_too(server: FakeServer) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with lessor.acquire("kre"):
        pass
    before, threads = descriptors(), threading.active_count()
    for _ in range(5):
        with lessor.acquire("kre"):
            pass
    with pytest.raises(lessor.Unreachable):
        lessor.acquire("kre", url="http://no-such-host.invalid", wait=0)
    wait_until(lambda: threading.active_count() <= threads, what="the threads to end")
    assert descriptors() <= before
    assert server.count("release") == 6


def test_a_release_in_on_notice_gives_the_seat_back_and_leaves_nothing(server: FakeServer) -> None:
    held: list[lessor.Lease] = []
    fds = len(list(Path("/proc/self/fd").iterdir()))
    with lessor.acquire("kre", on_notice=lambda _notice: held[0].release()) as lease:
        held.append(lease)
        server.notices = [{"lease": lease.id, "code": "finish", "text": "please"}]
        wait_until(lambda: not server.leases, what="the release")
        assert server.count("release") == 1
    lease._thread.join(5)
    assert not lease._thread.is_alive()
    assert not lease.lost.is_set()
    assert len(list(Path("/proc/self/fd").iterdir())) == fds


def test_a_forked_process_does_not_give_its_parents_seat_back(server: FakeServer) -> None:
    script = (
        "import lessor, os\n"
        "lease = lessor.acquire('kre')\n"
        "pid = os.fork()\n"
        "lease.release() if pid == 0 else os.waitpid(pid, 0)\n"
        "pid == 0 and os._exit(0)\n"
        "print(lease.remaining > 0, flush=True)\n"
    )
    finished = python(script)
    assert (finished.returncode, finished.stdout) == (0, "True\n")
    assert server.count("release") == 1


def test_a_forked_process_that_lives_on_does_not_hold_up_the_release(server: FakeServer) -> None:
    """As a worker of ``multiprocessing`` does, whose start method is fork."""
    script = (
        "import lessor, os, signal\n"
        "signal.alarm(20)\n"
        "with lessor.acquire('kre') as lease:\n"
        "    reading, writing = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        os.close(writing)\n"
        "        os.read(reading, 1)\n"
        "        os._exit(0)\n"
        "print('released', flush=True)\n"
        "os.close(writing)\n"
        "os.waitpid(pid, 0)\n"
    )
    finished = python(script)
    assert (finished.returncode, finished.stdout) == (0, "released\n")
    assert not server.leases


def test_a_program_that_ends_without_a_release_gives_its_seat_back(server: FakeServer) -> None:
    finished = python("import lessor; lease = lessor.acquire('kre')")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert not server.leases


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )


def test_against_a_real_daemon_seats_are_counted_across_processes(daemon: DaemonProcess) -> None:
    environ = clean_environ({"LESSOR_URL": daemon.url, "LESSOR_API_KEY": daemon.key()})
    script = "import lessor\nwith lessor.acquire('kre', wait=0): input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, env=environ
    ) as other:
        wait_until(
            lambda: daemon.caller().call("GET", "/v1/leases").body["items"], what="their lease"
        )
        with (
            lessor.acquire("kre", url=daemon.url, api_key=daemon.key(), wait=0),
            pytest.raises(lessor.NoSeat, match="all seats are taken"),
        ):
            lessor.acquire("kre", url=daemon.url, api_key=daemon.key(), wait=0)
        other.communicate(b"\n")
    assert daemon.caller().call("GET", "/v1/leases").body["items"] == []
