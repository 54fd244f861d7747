"""Daemons on Sentinel and Cluster, with durations so short that a failover takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .calls import Caller
from .redis_server import available_servers
from .topologies import ClusterGroup, SentinelGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .daemon import DaemonProcess

BOOTSTRAP = """
[[organization]]
slug = "{org}"
[[organization.license]]
name = "kre"
seats = 1
machines = "unlimited"
ttl = "{ttl}"
[[organization.key]]
name = "{org}"
scopes = ["run", "read"]
secret = "{key}"
"""


class Daemons:
    """Starts daemons on external stores that share their secret and their keys.

    X is 2 s and the fixed margin 1 s, so after a failover nothing is granted for ttl + 5 s.
    """

    def __init__(self, make_daemon: Callable[..., DaemonProcess], directory: Path) -> None:
        self._make_daemon = make_daemon
        self._secret_file = directory / "secret"

    def start(self, url: str, *orgs: str, ttl: str = "2s", until: str = "ready") -> DaemonProcess:
        """One that serves ``orgs``, each with one seat of ``kre``, once it has logged ``until``."""
        entries = [BOOTSTRAP.format(org=org, ttl=ttl, key=key_of(org)) for org in orgs or ("acme",)]
        return self.start_with("".join(entries), url, ttl, until=until)

    def start_with(
        self, bootstrap: str, url: str, ttl: str, *, until: str = "ready"
    ) -> DaemonProcess:
        """One with a bootstrap file of the test's own."""
        made = self._make_daemon(
            *("--store", url, "--new-store", "--max-ttl", ttl),
            *("--secret-file", str(self._secret_file)),
            bootstrap=bootstrap,
            LESSOR_TEST="1",
            LESSOR_TEST_MIN_TTL="1s",
            LESSOR_TEST_MARGIN="1s",
            LESSOR_TEST_FAILOVER="2s",
        )
        made.start(until=until)
        return made

    def caller(self, daemon: DaemonProcess, org: str = "acme") -> Caller:
        """Calls with the organization's key."""
        return Caller(daemon.url, key_of(org), timeout=5)


def key_of(org: str) -> str:
    """The same for every daemon, so that each may apply its bootstrap."""
    return f"lsr_{org.replace('-', '')}key_{'s' * 32}"


@pytest.fixture
def daemons(make_daemon: Callable[..., DaemonProcess], tmp_path: Path) -> Daemons:
    """Ends with the test what it starts."""
    return Daemons(make_daemon, tmp_path)


@pytest.fixture(params=["valkey"])
def sentinel_group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SentinelGroup]:
    """One master, two replicas and three sentinels, running. The parameter is the server's name."""
    group = SentinelGroup(available_servers()[request.param], tmp_path)
    try:
        group.start()
        yield group
    finally:
        group.end()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterGroup]:
    """Three masters with a replica each, running."""
    group = ClusterGroup(available_servers()["valkey"], tmp_path)
    try:
        group.start()
        yield group
    finally:
        group.end()
