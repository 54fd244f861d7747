"""What a run is made of: a store, daemons on it, and a proxy in front of each.

Every daemon has the same secret, keys and licenses. Durations are so short that a ttl of the seed's
plan passes in seconds.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from support.daemon import DaemonProcess, clean_environ
from support.redis_server import available_servers
from support.topologies import ClusterGroup, Node, SentinelGroup, free_ports

from . import plan

if TYPE_CHECKING:
    from pathlib import Path

    from .proxy import FaultProxy, Proxies

ORGANIZATION = "acme"
SEATS = {"kre": 4, "line": 3, "probe": 4}
MACHINES: dict[str, int | None] = {"kre": 3, "line": None, "probe": None}
KEYS = {name: f"lsr_{name}key_{'s' * 32}" for name in ("ci", "admin")}

BOOTSTRAP = """
[[organization]]
slug = "acme"
members = [{{ email = "ada@example.com", role = "owner" }}]
{licenses}
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret = "{ci}"
[[organization.key]]
name = "admin"
member = "ada@example.com"
scopes = ["run", "read", "admin"]
secret = "{admin}"
"""

LICENSE = """
[[organization.license]]
name = "{name}"
seats = {seats}
machines = {machines}
ttl = "{ttl}s"
"""

WALL_CLOCK = """
# Loaded by Python at its start, because it is called so and on the path. Moves the wall clock of
# this process by the seconds that stand in a file; no other clock.
import os
import time

_real, _real_ns, _path = time.time, time.time_ns, os.environ["RIG_WALL_OFFSET"]


def _offset():
    try:
        with open(_path) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0


time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + int(_offset() * 1e9)
"""


def bootstrap() -> str:
    """The licenses and keys of every site."""
    licenses = "".join(
        LICENSE.format(
            name=name,
            seats=seats,
            machines='"unlimited"' if MACHINES[name] is None else MACHINES[name],
            ttl=plan.TTL_SECONDS,
        )
        for name, seats in SEATS.items()
    )
    return BOOTSTRAP.format(licenses=licenses, **KEYS)


class RiggedDaemon:
    """A daemon that several faults may want at once: one after the other."""

    def __init__(self, process: DaemonProcess, offset: Path) -> None:
        self.process = process
        self.lock = threading.Lock()
        self._offset = offset

    def jump_wall(self, seconds: float) -> None:
        """Move its wall clock away from the true one."""
        self._offset.write_text(str(seconds))


class Site:
    """Starts everything, and ends it. ``urls`` are those of the proxies."""

    def __init__(
        self,
        directory: Path,
        topology: str,
        proxies: Proxies,
        *,
        daemons: int,
        sources: tuple[Path, ...] = (),
        seed: int = 0,
    ) -> None:
        self.directory = directory
        self.topology = topology
        self.proxies = proxies
        self.daemons: list[RiggedDaemon] = []
        self.paths: list[FaultProxy] = []
        self.store_paths: list[FaultProxy] = []
        self.nodes: list[Node] = []
        self.group: SentinelGroup | ClusterGroup | None = None
        self.store_lock = threading.Lock()
        self.python_path = os.pathsep.join(map(str, sources))
        self._seed = seed
        self._daemon_count = 1 if topology == plan.EMBEDDED else daemons

    @property
    def failover(self) -> float:
        """X, in seconds."""
        return 0.0 if self.topology == plan.EMBEDDED else plan.FAILOVER_SECONDS

    @property
    def margin(self) -> float:
        """M, in seconds."""
        return plan.MARGIN_SECONDS + plan.TTL_SECONDS / 500 + self.failover

    @property
    def recovery(self) -> float:
        """G, in seconds."""
        return plan.TTL_SECONDS + self.margin + self.failover

    @property
    def urls(self) -> str:
        """For ``LESSOR_URL``."""
        return ",".join(f"http://127.0.0.1:{path.port}" for path in self.paths)

    def environ(self, *, only: int | None = None) -> dict[str, str]:
        """What a client needs; ``only`` one daemon if one is named."""
        urls = self.urls if only is None else self.urls.split(",")[only]
        extra = {"LESSOR_URL": urls, "LESSOR_API_KEY": KEYS["ci"]}
        if self.python_path:
            extra["PYTHONPATH"] = self.python_path
        return clean_environ(extra)

    def start(self) -> None:
        """Store, daemons, proxies."""
        urls = self._start_store()
        hook = self.directory / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(WALL_CLOCK)
        for number in range(self._daemon_count):
            directory = self.directory / f"daemon-{number}"
            directory.mkdir()
            offset = directory / "wall-offset"
            options = ["--max-ttl", f"{plan.TTL_SECONDS}s"]
            options += ["--secret-file", str(self.directory / "secret")]
            if urls:
                options += ["--store", urls[number], "--new-store"]
            process = DaemonProcess(
                directory,
                *options,
                bootstrap=bootstrap(),
                LESSOR_TEST="1",
                LESSOR_TEST_MIN_TTL="1s",
                LESSOR_TEST_MARGIN=f"{plan.MARGIN_SECONDS}s",
                LESSOR_TEST_FAILOVER=f"{plan.FAILOVER_SECONDS}s",
                RIG_WALL_OFFSET=str(offset),
                PYTHONPATH=os.pathsep.join(filter(None, (str(hook), self.python_path))),
            )
            daemon = RiggedDaemon(process, offset)
            self.daemons.append(daemon)
            process.start()
            port = int(process.url.rpartition(":")[2])
            path = self.proxies.open("127.0.0.1", port, client=f"path-{number}", seed=self._seed)
            self.paths.append(path)

    def _start_store(self) -> list[str]:
        """The URL for each daemon; none for the embedded store."""
        binary = available_servers()["valkey"]
        if self.topology == plan.EMBEDDED:
            return []
        if self.topology == plan.SENTINEL:
            group = SentinelGroup(binary, self.directory)
            self.nodes, self.group = [*group.servers, *group.sentinels], group
            group.start()
            return [group.url] * self._daemon_count
        if self.topology == plan.CLUSTER:
            cluster = ClusterGroup(binary, self.directory)
            self.nodes, self.group = cluster.nodes, cluster
            cluster.start()
            return [cluster.url] * self._daemon_count
        (port,) = free_ports(1)
        config = ["appendonly yes", "appendfsync always", "enable-debug-command local"]
        self.nodes = [Node(binary, self.directory / "store", port, config)]
        self.nodes[0].start()
        self.store_paths = [self.proxies.open("127.0.0.1", port) for _ in range(self._daemon_count)]
        return [f"redis://127.0.0.1:{path.port}" for path in self.store_paths]

    def end(self) -> None:
        """Leave nothing running, whatever the state."""
        for daemon in self.daemons:
            with suppress(AssertionError, ProcessLookupError):  # never started, or gone
                daemon.process.signal(signal.SIGCONT)
            daemon.process.end()
        for node in self.nodes:
            node.end()
