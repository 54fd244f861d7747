"""``--workers N``: several processes that look like one daemon."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.calls import Caller
from support.daemon import clean_environ
from support.redis_server import available_servers, start_redis
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPConnection

    from support.daemon import DaemonProcess, MakeDaemon

WORKERS = 3


@pytest.fixture
def several(make_daemon: MakeDaemon) -> DaemonProcess:
    """A daemon of several workers on the embedded store."""
    made = make_daemon("--workers", str(WORKERS))
    made.start()
    return made


@pytest.fixture
def spread(several: DaemonProcess) -> Iterator[dict[int, HTTPConnection]]:
    """A kept connection to each worker, by the worker's pid."""
    found: dict[int, HTTPConnection] = {}
    opened: list[HTTPConnection] = []

    def reach_one_more() -> bool:
        connection = several.anonymous().connect()
        opened.append(connection)
        several.anonymous().call("GET", "/livez", kept=connection)
        found.setdefault(owner_of(connection, worker_pids(several)), connection)
        return len(found) == WORKERS

    wait_until(reach_one_more, what="a connection to each worker")
    yield found
    for connection in opened:
        connection.close()


def worker_pids(daemon: DaemonProcess) -> list[int]:
    """The pids of the workers that run now, by their places."""
    started: dict[int, int] = {}
    for line in daemon.events("worker_started"):
        started[line["number"]] = line["worker_pid"]
    return [pid for _, pid in sorted(started.items())]


def owner_of(connection: HTTPConnection, pids: list[int]) -> int:
    """Which of ``pids`` has the other end of ``connection``."""
    ours = connection.sock.getsockname()[1]
    theirs = connection.sock.getpeername()[1]
    wanted = f":{theirs:04X} 0100007F:{ours:04X}"
    table = Path("/proc/net/tcp").read_text().splitlines()
    inode = next(line.split()[9] for line in table if wanted in line)
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if fd.readlink().name == f"socket:[{inode}]":
                    return pid
            except FileNotFoundError:
                continue
    raise AssertionError("no worker has this connection")


def sample(daemon: DaemonProcess, name: str, kept: HTTPConnection | None = None) -> float:
    """The sum of a metric's samples."""
    text = daemon.anonymous().call("GET", "/metrics", kept=kept).body
    return sum(
        float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (.+)$", text, re.MULTILINE)
    )


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_ready_is_said_once_and_every_worker_serves_by_then(several: DaemonProcess) -> None:
    assert len(several.events("ready")) == 1
    assert len(worker_pids(several)) == WORKERS
    for _ in range(3 * WORKERS):
        assert several.anonymous().call("GET", "/readyz").status == 200


def test_a_lease_belongs_to_no_worker(
    several: DaemonProcess, spread: dict[int, HTTPConnection]
) -> None:
    caller = several.caller()
    lease = caller.acquire().body["lease"]
    for connection in spread.values():
        body = {"leases": [lease["id"]]}
        answer = caller.call("POST", "/v1/leases/renew", body, kept=connection)
        assert answer.body["renewed"] == [lease["id"]]


def test_the_seats_of_all_workers_are_the_same_seats(
    several: DaemonProcess, spread: dict[int, HTTPConnection]
) -> None:
    caller = several.caller()
    answers = []
    for number, connection in enumerate(spread.values()):
        body = {
            "id": f"00000000-0000-4000-8000-00000000000{number}",
            "license": "kre",
            "machine": {"id": "m"},
            "process": {"pid": 1, "command": "c"},
        }
        answers.append(caller.call("POST", "/v1/leases", body, kept=connection))
    assert [one.status for one in answers] == [201, 201, 409]


def test_a_worker_that_dies_is_replaced_and_its_leases_live_on(
    several: DaemonProcess, spread: dict[int, HTTPConnection]
) -> None:
    victim, connection = next(iter(spread.items()))
    caller = several.caller()
    body = {
        "id": "00000000-0000-4000-8000-000000000001",
        "license": "kre",
        "machine": {"id": "m"},
        "process": {"pid": 1, "command": "c"},
    }
    lease = caller.call("POST", "/v1/leases", body, kept=connection).body["lease"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in worker_pids(several), what="the worker to be replaced")
    (exited,) = several.events("worker_exited")
    assert (exited["worker_pid"], exited["code"]) == (victim, -signal.SIGKILL)
    assert caller.renew(lease["id"]).body["renewed"] == [lease["id"]]
    new = next(pid for pid in worker_pids(several) if pid not in spread)
    wait_until(lambda: _answers(several, new), what="the new worker to serve")


def test_one_scrape_shows_what_all_workers_have_counted(
    several: DaemonProcess, spread: dict[int, HTTPConnection]
) -> None:
    caller = several.caller()
    name = 'lessor_request_seconds_count{op="livez"}'.replace("{", r"\{").replace("}", r"\}")

    def seen(connection: HTTPConnection) -> float:
        text = caller.call("GET", "/metrics", kept=connection).body
        found = re.search(rf"^{name} (.+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    connections = list(spread.values())
    before = seen(connections[0])
    for connection in connections:
        caller.call("GET", "/livez", kept=connection)
    for connection in connections:
        assert seen(connection) == before + WORKERS
    for connection in connections:
        assert sample(several, "lessor_seats", connection) == 3  # of two organizations, once each
    assert sample(several, "lessor_build_info") == 1
    assert sample(several, "lessor_connections") >= WORKERS


def test_what_a_dead_worker_had_counted_stays_counted(
    several: DaemonProcess, spread: dict[int, HTTPConnection]
) -> None:
    caller = several.caller()
    (victim, its), (_, other), *_ = spread.items()
    caller.call("GET", "/v1/whoami", kept=its)
    counted = sample(several, "lessor_request_seconds_count", other)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: several.events("worker_exited"), what="the end to be noticed")
    assert sample(several, "lessor_request_seconds_count", other) >= counted


@pytest.mark.usefixtures("spread")
def test_log_lines_of_a_worker_carry_its_number(several: DaemonProcess) -> None:
    lease = several.caller().acquire().body["lease"]
    granted = wait_until(lambda: several.events("lease_granted"), what="the line")
    assert granted[0]["worker"] in range(1, WORKERS + 1)
    assert lease
    assert "worker" not in several.events("ready")[0]


@pytest.mark.usefixtures("spread")
def test_a_stop_drains_every_worker_and_leaves_none(several: DaemonProcess) -> None:
    pids = worker_pids(several)
    assert several.stop() == 0
    assert not [pid for pid in pids if is_running(pid)]
    drained = {line.get("worker") for line in several.events("draining")}
    assert drained == {None, *range(1, WORKERS + 1)}
    assert not several.events("worker_exited")


def test_leases_survive_the_death_of_all_of_it(several: DaemonProcess) -> None:
    lease = several.caller().acquire().body["lease"]
    pids = worker_pids(several)
    several.kill()
    wait_until(lambda: not [pid for pid in pids if is_running(pid)], what="the workers to end")
    several.start()
    assert several.caller().renew(lease["id"]).body["renewed"] == [lease["id"]]


def test_a_second_daemon_on_the_port_or_on_the_data_ends_with_78(
    several: DaemonProcess, tmp_path: Path
) -> None:
    port = several.url.rpartition(":")[2]
    for options, why in (
        (["--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "other")], "is taken"),
        (["--listen", "127.0.0.1:0", "--data-dir", str(several.data_dir)], "another Lessor uses"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lessor_daemon", *options, "--workers", "2"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=clean_environ(),
        )
        assert done.returncode == 78
        assert why in done.stderr


def test_operations_are_served_apart_by_every_worker(
    make_daemon: MakeDaemon, free_port: int
) -> None:
    ops = f"127.0.0.1:{free_port}"
    daemon = make_daemon("--workers", "2", "--ops-listen", ops)
    daemon.start()
    apart = Caller(f"http://{ops}")
    assert apart.call("GET", "/readyz").status == 200
    assert "lessor_build_info" in apart.call("GET", "/metrics").body
    assert daemon.anonymous().call("GET", "/metrics").status == 404


def test_workers_answer_before_the_store_is_there(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    directory = tmp_path / "late"
    directory.mkdir()
    options = ("--store", f"unix://{directory / 'redis.sock'}", "--new-store", "--workers", "2")
    daemon = make_daemon(*options)
    daemon.start(until="worker_started")
    daemon.url = daemon.events("listening")[0]["url"]
    wait_until(lambda: _livez(daemon) == 200, what="a worker to answer")
    unready = daemon.anonymous().call("GET", "/readyz")
    assert (unready.status, unready.code) == (503, "store_unavailable")
    server = start_redis(available_servers()["valkey"], directory)
    try:
        wait_until(lambda: daemon.events("ready"), what="the daemon to be ready")
        assert daemon.caller().acquire().status == 201
    finally:
        daemon.stop()
        server.stop()


def test_two_daemons_on_one_store_behave_as_one(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    server = start_redis(available_servers()["valkey"], directory)
    secret = tmp_path / "secret"
    secret.write_text("s" * 64)
    try:
        options = ("--store", server.url, "--new-store", "--secret-file", str(secret))
        one = make_daemon(*options, "--workers", "2")
        one.start()
        other = make_daemon(*options, bootstrap=None)
        other.start()
        elsewhere = Caller(other.url, one.key())
        first = one.caller().acquire().body["lease"]
        second = elsewhere.acquire().body["lease"]
        assert elsewhere.acquire().code == one.caller().acquire().code == "seats_exhausted"
        assert elsewhere.renew(first["id"]).body["renewed"] == [first["id"]]
        one.kill()
        assert elsewhere.renew(first["id"]).body["renewed"] == [first["id"]]
        assert elsewhere.release(first["id"]).status == 204
        assert second["token"] < elsewhere.acquire().body["lease"]["token"]
        other.stop()
    finally:
        server.stop()


def _livez(daemon: DaemonProcess) -> int:
    return daemon.anonymous().call("GET", "/livez").status


def _answers(daemon: DaemonProcess, pid: int) -> bool:
    """Whether a new connection was taken by ``pid``, and answered."""
    connection = daemon.anonymous().connect()
    try:
        status = daemon.anonymous().call("GET", "/readyz", kept=connection).status
        return status == 200 and owner_of(connection, worker_pids(daemon)) == pid
    except (TimeoutError, ConnectionError):
        return False
    finally:
        connection.close()
