"""What a run is made of: a store, daemons on it, and a proxy in front of each.

Every daemon has the same secret, keys and licenses.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from support.daemon import DaemonProcess, clean_environ
from support.redis_server import available_servers
from support.store_clock import StoreClock
from support.topologies import ClusterGroup, Node, SentinelGroup, free_ports

from . import plan

if TYPE_CHECKING:
    from .plan import Durations
    from .proxy import FaultProxy, Proxies

ORGANIZATION = "acme"
SEATS = {"kre": 6, "line": 4, "teams": 4, "fleet": 4_000, "probe": 4}
MACHINES: dict[str, int | None] = {**dict.fromkeys(SEATS), "kre": 4}
TEAMS = ("payments", "batch", "")
CAPS = {"teams": ("batch", 1)}
"""By license: the team whose group has a cap, and the cap."""
KEYS = {name: f"lsr_{name}key_{'s' * 32}" for name in ("ci", "admin")}

LAST_LINES = 20
"""Of the log of a daemon that ended."""

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

POLICY = """
[[organization.license.group]]
name = "payments"
label = { team = "payments" }
head_start = "2s"
reserve = 1
[[organization.license.group]]
name = "batch"
label = { team = "batch" }
cap = 1
"""


def bootstrap(ttl: float) -> str:
    """The licenses and keys of every site."""
    licenses = "".join(
        LICENSE.format(
            name=name,
            seats=seats,
            machines='"unlimited"' if MACHINES[name] is None else MACHINES[name],
            ttl=ttl,
        )
        + (POLICY if name in CAPS else "")
        for name, seats in SEATS.items()
    )
    return BOOTSTRAP.format(licenses=licenses, **KEYS)


class RiggedDaemon:
    """A daemon that several faults may want at once: one after the other."""

    def __init__(self, process: DaemonProcess, times: Path) -> None:
        self.process = process
        self.lock = threading.Lock()
        self._times = times
        self._offset, self._rate = 0.0, 1.0

    def jump_wall(self, seconds: float) -> None:
        """Move its wall clock away from the true one."""
        self._offset = seconds
        self._tell()

    def drift(self, rate: float) -> None:
        """Let its clock since boot run at this rate from now on."""
        self._rate = rate
        self._tell()

    def _tell(self) -> None:
        self._times.write_text(f"{self._offset} {self._rate}")


class Site:
    """Starts everything, and ends it. ``urls`` are those of the proxies."""

    def __init__(
        self,
        directory: Path,
        topology: str,
        proxies: Proxies,
        *,
        durations: Durations,
        daemons: int,
        sources: tuple[Path, ...] = (),
        seed: int = 0,
        store_clocks: bool = False,
    ) -> None:
        self.directory = directory
        self.topology = topology
        self.durations = durations
        self.proxies = proxies
        self.daemons: list[RiggedDaemon] = []
        self.paths: list[FaultProxy] = []
        self.store_paths: list[FaultProxy] = []
        self.nodes: list[Node] = []
        self.group: SentinelGroup | ClusterGroup | None = None
        self.store_lock = threading.Lock()
        self.store_clocks: dict[Node, StoreClock] = {}
        """Of servers that hold data, where these can be moved."""
        self.python_path = os.pathsep.join(map(str, sources))
        self._seed = seed
        self._moves_store_clocks = store_clocks
        self._daemon_count = 1 if topology == plan.EMBEDDED else daemons

    @property
    def failover(self) -> float:
        """X, in seconds."""
        return 0.0 if self.topology == plan.EMBEDDED else self.durations.failover

    @property
    def margin(self) -> float:
        """M, in seconds."""
        return self.durations.margin + self.durations.ttl / 500 + self.failover

    @property
    def recovery(self) -> float:
        """G, in seconds."""
        longest = self.durations.max_ttl
        return longest + self.durations.margin + longest / 500 + 2 * self.failover

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
        shutil.copy(Path(__file__).with_name("clocks.py"), hook / "sitecustomize.py")
        for number in range(self._daemon_count):
            directory = self.directory / f"daemon-{number}"
            directory.mkdir()
            times = directory / "times"
            options = ["--max-ttl", f"{self.durations.max_ttl}s"]
            options += ["--secret-file", str(self.directory / "secret")]
            if urls:
                options += ["--store", urls[number], "--new-store"]
            process = DaemonProcess(
                directory,
                *options,
                bootstrap=bootstrap(self.durations.ttl),
                LESSOR_TEST="1",
                LESSOR_TEST_MIN_TTL="1s",
                LESSOR_TEST_MARGIN=f"{self.durations.margin}s",
                LESSOR_TEST_FAILOVER=f"{self.durations.failover}s",
                RIG_TIMES=str(times),
                PYTHONPATH=os.pathsep.join(filter(None, (str(hook), self.python_path))),
            )
            daemon = RiggedDaemon(process, times)
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
            down_after_ms = round(max(1000, self.durations.failover * 1000 / 2))
            group = SentinelGroup(binary, self.directory, down_after_ms=down_after_ms)
            self.nodes, self.group = [*group.servers, *group.sentinels], group
            self._give_clocks(group.servers)
            group.start()
            return [group.url] * self._daemon_count
        if self.topology == plan.CLUSTER:
            node_timeout_ms = round(max(1000, self.durations.failover * 1000 / 4))
            cluster = ClusterGroup(binary, self.directory, node_timeout_ms=node_timeout_ms)
            self.nodes, self.group = cluster.nodes, cluster
            self._give_clocks(cluster.nodes)
            cluster.start()
            return [cluster.url] * self._daemon_count
        (port,) = free_ports(1)
        config = ["appendonly yes", "appendfsync always", "enable-debug-command local"]
        self.nodes = [Node(binary, self.directory / "store", port, config)]
        self._give_clocks(self.nodes)
        self.nodes[0].start()
        self.store_paths = [self.proxies.open("127.0.0.1", port) for _ in range(self._daemon_count)]
        return [f"redis://127.0.0.1:{path.port}" for path in self.store_paths]

    def _give_clocks(self, nodes: list[Node]) -> None:
        for node in nodes if self._moves_store_clocks else ():
            clock = self.store_clocks[node] = StoreClock(node.directory / "clock")
            node.environ |= clock.environ

    def check(self) -> None:
        """Raises ``AssertionError`` if a daemon has ended that nobody told to."""
        for number, daemon in enumerate(self.daemons):
            code = daemon.process.exit_code
            last = daemon.process.log_path.read_text("utf-8").splitlines()[-LAST_LINES:]
            assert code is None, "\n".join([f"daemon {number} ended by itself: {code}", *last])

    def end(self) -> None:
        """Leave nothing running, whatever the state."""
        for daemon in self.daemons:
            with suppress(AssertionError, ProcessLookupError):  # never started, or gone
                daemon.process.signal(signal.SIGCONT)
            daemon.process.end()
        for node in self.nodes:
            node.end()
