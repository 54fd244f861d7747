"""The store's machine has its wall clock set while leases are held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.holding import Holder
from support.redis_server import available_servers
from support.store_clock import StoreClock, find_library
from support.topologies import Node, free_ports
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.daemon import DaemonProcess

pytestmark = pytest.mark.skipif(
    find_library() is None, reason="libfaketime is not installed, which moves the store's clock"
)

DAY_SECONDS = 86_400.0
TTL_SECONDS = 2.0
LAPSE_SECONDS = TTL_SECONDS + 1.5
"""With the margin that the daemon is given here, and the half second for the sweep."""
BOOTSTRAP = f"""
[[organization]]
slug = "acme"
members = [{{ email = "ada@example.com", role = "owner" }}]
[[organization.license]]
name = "kre"
seats = 2
machines = "unlimited"
ttl = "{TTL_SECONDS}s"
[[organization.key]]
name = "ci"
scopes = ["run"]
secret_file = "ci.key"
[[organization.key]]
name = "admin"
scopes = ["run", "read", "admin"]
member = "ada@example.com"
secret_file = "admin.key"
"""


class ClockedStore:
    """A Valkey whose wall clock the test sets."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        config = ["appendonly yes", "appendfsync always"]
        self.node = Node(available_servers()["valkey"], directory / "store", port, config)
        self._clock = StoreClock(directory / "clock")
        self.node.environ |= self._clock.environ
        self.node.start()

    def set(self, offset_seconds: float) -> None:
        """Return once the store takes it for the time."""
        self._clock.set(offset_seconds)
        wait_until(lambda: abs(self.offset() - offset_seconds) < 10, 10, "the store to notice")

    def offset(self) -> float:
        """How far it is off now, in seconds."""
        seconds, _ = self.node.client.time()
        return float(seconds - time.time())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ClockedStore]:
    made = ClockedStore(tmp_path)
    yield made
    made.node.end()


@pytest.fixture
def daemon(store: ClockedStore, make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    made = make_daemon(
        *("--store", f"redis://{store.node.address}", "--new-store", "--store-durable"),
        *("--max-ttl", f"{TTL_SECONDS}s"),
        bootstrap=BOOTSTRAP,
        LESSOR_TEST="1",
        LESSOR_TEST_MIN_TTL="1s",
        LESSOR_TEST_MARGIN="1s",
    )
    made.start()
    return made


@pytest.mark.parametrize("jump", [DAY_SECONDS, -DAY_SECONDS])
def test_a_stores_clock_that_is_set_ends_no_lease_and_frees_no_seat_early_or_late(
    daemon: DaemonProcess, store: ClockedStore, jump: float
) -> None:
    holder, dead = Holder(daemon.caller()), Holder(daemon.caller())
    assert holder.acquire().status == 201
    assert dead.acquire().status == 201
    other = Holder(daemon.caller())

    def has_a_seat() -> bool:
        return other.acquire().status == 201

    store.set(jump)
    dead.renew()
    holder.hold_until(has_a_seat, 3 * LAPSE_SECONDS, "the seat of a dead holder")
    late = time.monotonic() - dead.deadline
    assert late > 0, "it was granted before its holder's deadline"
    assert late < LAPSE_SECONDS
    store.set(0)
    until = time.monotonic() + 2 * TTL_SECONDS
    holder.hold_until(lambda: time.monotonic() > until, 3 * TTL_SECONDS, "two ttls to pass")
    assert other.token > holder.token


def test_a_stores_clock_that_is_ahead_frees_no_offline_seat(
    daemon: DaemonProcess, store: ClockedStore
) -> None:
    wanted = {"license": "kre", "machine": "island", "seats": 2, "duration": 3600}
    issued = daemon.caller("admin").call("POST", "/v1/orgs/acme/offline", wanted)
    assert issued.status == 201, issued.body
    store.set(DAY_SECONDS)
    assert daemon.caller().acquire().code == "seats_exhausted"
