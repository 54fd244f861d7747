"""The embedded store lives and dies with its daemon, and loses nothing it has answered."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from lessor_daemon.errors import ConfigurationError
from lessor_daemon.store import embedded
from lessor_daemon.store.embedded import EmbeddedStore, parse_line
from redis.asyncio import Redis
from structlog.testing import capture_logs
from support.redis_server import available_servers
from support.waiting import wait_until, wait_until_async

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon


@pytest.fixture
def daemon(own_daemon: DaemonProcess) -> DaemonProcess:
    """One for each test, which does harm to its store."""
    return own_daemon


@pytest.fixture(params=sorted(available_servers()))
def binary(request: pytest.FixtureRequest) -> Path:
    """Each kind of server that may be the child."""
    return Path(available_servers()[request.param])


def store_in(directory: Path, binary: Path | None = None) -> EmbeddedStore:
    return EmbeddedStore(directory, structlog.get_logger(), binary=binary)


async def test_an_answered_write_survives_a_killed_child(tmp_path: Path, binary: Path) -> None:
    async with store_in(tmp_path, binary) as store:
        await store.wait_ready()
        async with Redis(unix_socket_path=str(store.socket_path)) as redis:
            await redis.set("key", "value")
        killed = store.child_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await wait_until_async(lambda: _differs(store, killed), what="another child")
        await store.wait_ready()
        async with Redis(unix_socket_path=str(store.socket_path)) as redis:
            assert await redis.get("key") == b"value"


async def test_a_child_that_cannot_be_started_is_tried_again_whatever_the_reason(
    tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = asyncio.create_subprocess_exec
    reasons = [RuntimeError("can't start new thread"), OSError("no process is left")]

    async def fail_first(*command: str, **options: Any) -> asyncio.subprocess.Process:  # noqa: ANN401  # as asyncio has them
        if reasons:
            raise reasons.pop()
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail_first)
    with capture_logs() as logged:
        async with store_in(tmp_path, binary) as store:
            await store.wait_ready()
    assert [one["event"] for one in logged][:2] == ["store_not_started"] * 2


async def test_the_child_listens_on_a_private_socket_and_keeps_nothing_for_others(
    tmp_path: Path, binary: Path
) -> None:
    async with store_in(tmp_path, binary) as store:
        await store.wait_ready()
        assert store.socket_path.stat().st_mode & 0o077 == 0
        async with Redis(unix_socket_path=str(store.socket_path)) as redis:
            wanted = {
                "port": "0",
                "appendonly": "yes",
                "appendfsync": "always",
                "save": "",
                "maxmemory-policy": "noeviction",
            }
            for name, value in wanted.items():
                assert (await redis.config_get(name))[name] == value
            await redis.set("key", "value")
        files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert files
        assert all(path.stat().st_mode & 0o077 == 0 for path in files)


async def test_a_long_path_gets_a_short_socket(tmp_path: Path, binary: Path) -> None:
    directory = tmp_path / ("d" * 120)
    store = store_in(directory, binary)
    await store.start()
    try:
        await store.wait_ready()
        short = store.socket_path.parent
        assert short.stat().st_mode & 0o077 == 0
    finally:
        await store.stop()
    assert not short.exists()


async def test_two_stores_never_share_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_WAIT_SECONDS", 0.1)
    async with store_in(tmp_path):
        with pytest.raises(ConfigurationError, match="another Lessor uses"):
            await store_in(tmp_path).lock()
    async with store_in(tmp_path) as again:
        await again.wait_ready()


async def test_without_any_binary_the_operator_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_candidates", list)
    store = store_in(tmp_path)
    with pytest.raises(ConfigurationError, match="valkey-server"):
        await store.start()
    await store.stop()


async def test_a_binary_that_does_not_run_here_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF for another machine")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "_candidates", lambda: [tmp_path / "none", broken, binary])
    assert await embedded.find_binary() == binary


def test_lines_of_the_child_keep_their_level() -> None:
    line = "4711:M 24 Nov 2026 05:02:07.123 # Server started"
    assert parse_line(line) == ("warning", "Server started")
    assert parse_line(line.replace("#", "*")) == ("debug", "Server started")
    assert parse_line("Segmentation fault\n") == ("info", "Segmentation fault")
    assert parse_line("\n") == ("info", "")


def test_the_child_ends_with_a_killed_daemon(daemon: DaemonProcess) -> None:
    child = daemon.store_pid()
    assert child is not None
    daemon.kill()
    wait_until(lambda: not _is_alive(child), what="the child to be gone")


def test_the_child_ends_with_a_stopped_daemon(daemon: DaemonProcess) -> None:
    child = daemon.store_pid()
    assert child is not None
    assert daemon.stop() == 0
    assert not _is_alive(child)


def test_a_killed_child_comes_back_and_disturbs_no_lease(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    lease_id = caller.acquire().body["lease"]["id"]
    child = daemon.store_pid()
    assert child is not None
    os.kill(child, signal.SIGKILL)
    renewed = wait_until(
        lambda: (answer := caller.renew(lease_id)).status == 200 and answer, what="the store"
    )
    assert renewed
    assert renewed.body["renewed"] == [lease_id]
    # An answered write is on disk: no recovery, the second seat is granted at once.
    assert caller.acquire().status == 201


def test_a_frozen_store_is_told_by_the_probe_and_does_not_hold_up_a_stop(
    daemon: DaemonProcess,
) -> None:
    child = daemon.store_pid()
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    unready = daemon.anonymous().call("GET", "/readyz")
    assert (unready.status, unready.code) == (503, "store_unavailable")
    assert daemon.anonymous().call("GET", "/metrics").status == 200
    assert daemon.anonymous().call("GET", "/livez").status == 200
    assert daemon.stop() == 0
    assert not _is_alive(child)


def test_a_store_that_thaws_serves_again(daemon: DaemonProcess) -> None:
    child = daemon.store_pid()
    assert child is not None
    lease_id = daemon.caller().acquire().body["lease"]["id"]
    os.kill(child, signal.SIGSTOP)
    assert daemon.anonymous().call("GET", "/readyz").status == 503
    os.kill(child, signal.SIGCONT)
    wait_until(
        lambda: daemon.anonymous().call("GET", "/readyz").status == 200, what="the store to thaw"
    )
    assert daemon.caller().renew(lease_id).body["renewed"] == [lease_id]


def test_a_full_disk_refuses_calls_and_the_daemon_goes_on_when_there_is_room(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon()
    daemon.start()
    caller = daemon.caller()
    lease_id = caller.acquire().body["lease"]["id"]
    child = daemon.store_pid()
    assert child is not None
    _limit_file_size(child, 1)
    refusal = wait_until(
        lambda: (answer := caller.acquire(id=_OTHER_ID)).status == 503 and answer,
        what="the disk to be full",
    )
    assert refusal
    assert refusal.code == "store_unavailable"
    # The next child has no such limit: the disk has room again.
    wait_until(lambda: caller.renew(lease_id).status == 200, what="the store to come back")
    assert caller.renew(lease_id).body["renewed"] == [lease_id]
    assert caller.acquire(id=_OTHER_ID).status in (200, 201)
    (license,) = caller.call("GET", "/v1/orgs/acme/licenses").body["items"]
    assert license["leases"] == 2


_OTHER_ID = "0b0e7c0e-6f0f-4a57-9a55-2d9f3f7c1a11"


async def _differs(store: EmbeddedStore, pid: int) -> bool:
    return store.child_pid not in (None, pid)


def _limit_file_size(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
