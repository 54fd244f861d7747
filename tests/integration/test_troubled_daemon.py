"""What happens around a daemon that serves, and ends it not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.memory import Memory
from lessor_daemon.store import keys
from redis import Redis
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import DaemonProcess


@pytest.fixture
def daemon(own_daemon: DaemonProcess) -> DaemonProcess:
    """One for each test, which brings it into trouble."""
    return own_daemon


@pytest.fixture
def raw(daemon: DaemonProcess) -> Iterator[Redis]:
    """The daemon's store, as anybody with its socket may change it."""
    socket = daemon.store_socket()
    assert socket is not None
    with contextlib.closing(Redis(unix_socket_path=str(socket))) as client:
        yield client


def remembered(daemon: DaemonProcess) -> Path:
    """The file, once something is in it."""
    path = daemon.data_dir / "administration.sqlite"
    wait_until(path.exists, what="the daemon to remember")
    return path


def empty(raw: Redis, daemon: DaemonProcess) -> None:
    """Have the daemon prepare its store anew, which takes all that is remembered into account."""
    raw.flushall()
    wait_until(lambda: daemon.events("store_was_emptied"), what="the loss to be noticed")


def is_served(daemon: DaemonProcess) -> bool:
    return daemon.caller().call("GET", "/v1/whoami").status == 200


def lower_seats(daemon: DaemonProcess) -> None:
    path = "/v1/orgs/acme/licenses/kre"
    wait_until(
        lambda: (
            daemon.caller("admin").call("PATCH", path, {"seats": 1, "force": True}).status == 200
        ),
        what="the seats to be lowered",
    )


@pytest.mark.parametrize("is_serving", [True, False])
@pytest.mark.parametrize("damaged", [b"no database" * 1000, None])
def test_what_was_remembered_is_damaged_and_the_daemon_goes_on_without(
    daemon: DaemonProcess, raw: Redis, damaged: bytes | None, *, is_serving: bool
) -> None:
    lower_seats(daemon)
    path = remembered(daemon)
    if not is_serving:
        daemon.kill()
    if damaged is None:
        os.truncate(path, 5000)
    else:
        path.write_bytes(damaged)
    if is_serving:
        empty(raw, daemon)
    else:
        daemon.start()
    (line,) = wait_until(lambda: daemon.events("remembered_changes_damaged"), what="the line")
    assert line["level"] == "error"
    wait_until(lambda: is_served(daemon), what="the daemon to serve")
    lower_seats(daemon)
    wait_until(lambda: "seats kre" in {one.name for one in Memory(path).facts("acme")})
    assert daemon.stop() == 0


@pytest.mark.parametrize("is_serving", [True, False])
def test_what_was_remembered_is_locked_for_a_while_and_holds_again_afterwards(
    daemon: DaemonProcess, raw: Redis, *, is_serving: bool
) -> None:
    lower_seats(daemon)
    with contextlib.closing(sqlite3.connect(remembered(daemon), isolation_level=None)) as other:
        other.execute("begin exclusive")
        if is_serving:
            empty(raw, daemon)
        else:
            raw.flushall()
            daemon.kill()
            daemon.start()
        wait_until(lambda: daemon.events("changes_not_remembered"), 30, "the line")
        wait_until(lambda: is_served(daemon), 30, "the daemon to serve")
    wait_until(lambda: daemon.events("changes_reasserted"), 30, "the seats to be lowered again")
    assert daemon.stop() == 0


def test_what_does_not_belong_into_the_store_ends_no_daemon(
    daemon: DaemonProcess, raw: Redis
) -> None:
    lease = daemon.caller().acquire().body["lease"]
    organizations = raw.smembers(keys.ORGANIZATIONS)
    raw.delete(keys.ORGANIZATIONS)
    raw.set(keys.ORGANIZATIONS, "none")
    # Of the upkeep and of who looks for lease clocks.
    wait_until(
        lambda: (
            {one["reason"] for one in daemon.events("task_failed")}
            == {"sweep_failed", "organizations_unknown"}
        ),
        30,
        "both tasks to have failed",
    )
    raw.hset(keys.STORE, "schema", "many")
    wait_until(lambda: daemon.events("store_not_prepared"), what="the look at the store to fail")
    assert daemon.caller().renew(lease["id"]).body["renewed"] == [lease["id"]]
    raw.hdel(keys.STORE, "schema")
    raw.delete(keys.ORGANIZATIONS)
    raw.sadd(keys.ORGANIZATIONS, *organizations)
    wait_until(lambda: is_served(daemon), what="the daemon to serve")
    assert daemon.stop() == 0


def test_a_key_file_that_cannot_be_made_again_ends_no_daemon(
    daemon: DaemonProcess, raw: Redis
) -> None:
    path = daemon.data_dir / "operator.key"
    path.unlink(missing_ok=True)
    path.mkdir()
    empty(raw, daemon)
    wait_until(lambda: daemon.events("store_not_prepared"), what="the line")
    assert is_served(daemon)
    path.rmdir()
    wait_until(path.exists, what="the key file to be made")
    assert daemon.stop() == 0
