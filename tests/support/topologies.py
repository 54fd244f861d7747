"""Real Redis processes in company: a master with replicas under Sentinel, and a Cluster.

What the servers would find out about each other in their first seconds is written into their
configuration, so that they are there at once.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import RedisError

from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SERVICE = "lessor"
PASSWORD = "hunter2"
"""Without one, who is refused as ``sentinel`` would be let in as nobody in particular."""
READY_SECONDS = 60.0
SLOTS = 16384


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Node:
    """One server process, with a directory and a configuration file of its own."""

    def __init__(
        self, binary: str, directory: Path, port: int, config: Iterable[str], password: str = ""
    ) -> None:
        self.port = port
        self.directory = directory
        self.client = Redis(
            port=port,
            password=password or None,
            socket_timeout=2,
            decode_responses=True,
            encoding_errors="surrogateescape",
            protocol=2,
        )
        self.environ = dict(os.environ)
        """Of the process that ``start`` makes."""
        self._binary = binary
        self._config = directory / "server.conf"
        self._is_sentinel = False
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        lines = (f"port {port}", "bind 127.0.0.1", f"dir {directory}", 'save ""', *config)
        self._config.write_text("\n".join(lines) + "\n")
        self._is_sentinel = any(line.startswith("sentinel ") for line in lines)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def role(self) -> str:
        """``master``, ``slave`` or ``sentinel``; empty while it does not answer."""
        try:
            return str(self.client.role()[0])
        except RedisError:
            return ""

    @property
    def pid(self) -> int | None:
        """Of the process; None before the start."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether its process is there, answering or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers."""
        more = ["--sentinel"] if self._is_sentinel else []
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, str(self._config), *more],
                stdout=log,
                stderr=log,
                env=self.environ,
            )
        wait_until(self.answers, READY_SECONDS, f"{self.directory.name} to answer")

    def answers(self) -> bool:
        """Whether it answers a PING."""
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Leave nothing running, whatever the state."""
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def shut_out(self, *users: str) -> None:
        """Cut it off from those who log in by these names, as a broken network would."""
        for user in users:
            self.client.acl_setuser(user, enabled=False)
            self.client.client_kill_filter(user=user)

    def let_in(self, *users: str) -> None:
        """Undo ``shut_out``."""
        for user in users:
            self.client.acl_setuser(user, enabled=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the node was not started"
        self._process.send_signal(number)


class SentinelGroup:
    """A master, two replicas and three sentinels.

    Sentinels log in to servers as ``sentinel``, and replica number n as ``replica-n``, so that a
    test can cut a server off from some of them and leave it to its clients.
    """

    def __init__(
        self,
        binary: str,
        directory: Path,
        *,
        down_after_ms: int = 1000,
        failover_timeout_ms: int = 2000,
    ) -> None:
        ports = free_ports(6)
        everyone = [
            f"user {name} on nopass ~* &* +@all"
            for name in ("sentinel", "replica-0", "replica-1", "replica-2")
        ]
        self.servers: list[Node] = []
        for i, port in enumerate(ports[:3]):
            config = ["appendonly yes", f"masteruser replica-{i}", "masterauth x", *everyone]
            config += ["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
            config.append("enable-debug-command local")
            config.append(f"requirepass {PASSWORD}")
            if i:
                config.append(f"replicaof 127.0.0.1 {ports[0]}")
            self.servers.append(Node(binary, directory / f"server-{i}", port, config, PASSWORD))
        self.sentinels: list[Node] = []
        for i, port in enumerate(ports[3:]):
            config = [
                f"sentinel myid {_node_id(f'sentinel-{i}')}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} 2",
                f"sentinel auth-user {SERVICE} sentinel",
                f"sentinel auth-pass {SERVICE} x",
                f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
                f"sentinel failover-timeout {SERVICE} {failover_timeout_ms}",
                *(f"sentinel known-replica {SERVICE} 127.0.0.1 {other}" for other in ports[1:3]),
                *(
                    f"sentinel known-sentinel {SERVICE} 127.0.0.1 {other} "
                    f"{_node_id(f'sentinel-{j}')}"
                    for j, other in enumerate(ports[3:])
                    if j != i
                ),
            ]
            self.sentinels.append(Node(binary, directory / f"sentinel-{i}", port, config))

    @property
    def url(self) -> str:
        """For ``--store``."""
        return self.url_through([sentinel.address for sentinel in self.sentinels])

    def url_through(self, addresses: Iterable[str]) -> str:
        """For ``--store``, with the sentinels at other addresses."""
        return f"redis+sentinel://:{PASSWORD}@{','.join(addresses)}/{SERVICE}"

    def start(self) -> None:
        """Start all and wait until they have found each other."""
        for node in (*self.servers, *self.sentinels):
            node.start()
        master, *replicas = self.servers
        wait_until(
            lambda: int(master.client.info("replication")["connected_slaves"]) == len(replicas),
            READY_SECONDS,
            "the replicas to follow",
        )
        wait_until(self._can_fail_over, READY_SECONDS, "the sentinels to know all")

    def end(self) -> None:
        """Leave nothing running."""
        for node in (*self.servers, *self.sentinels):
            node.end()

    def named(self) -> Node | None:
        """The server that a majority of the sentinels names."""
        ports = []
        for sentinel in self.sentinels:
            try:
                named: Any = sentinel.client.sentinel_get_master_addr_by_name(SERVICE)
            except RedisError:
                continue
            ports.append(int(named[1]))
        return next((node for node in self.servers if ports.count(node.port) >= 2), None)

    def wait_for_another_than(self, old: Node) -> Node:
        """The master after a failover."""

        def found() -> Node | None:
            node = self.named()
            return node if node and node is not old and node.role == "master" else None

        new = wait_until(found, 30, "the failover")
        assert new is not None
        return new

    def _can_fail_over(self) -> bool:
        """Sentinels elect a replica only once they have heard from it."""
        for sentinel in self.sentinels:
            replicas = sentinel.client.sentinel_slaves(SERVICE)
            healthy = [one for one in replicas if one["master-link-status"] == "ok"]
            if len(healthy) < 2 or any(one["is_disconnected"] for one in replicas):
                return False
        return True


class ClusterGroup:
    """Three masters with a third of the slots each, and a replica for each."""

    def __init__(self, binary: str, directory: Path, *, node_timeout_ms: int = 1000) -> None:
        ports = free_ports(12)
        self.nodes: list[Node] = []
        for i in range(6):
            config = [
                "cluster-enabled yes",
                f"cluster-port {ports[6 + i]}",
                f"cluster-node-timeout {node_timeout_ms}",
                "appendonly yes",
                "repl-diskless-sync-delay 0",
                "enable-debug-command local",
            ]
            node = Node(binary, directory / f"node-{i}", ports[i], config)
            lines = [self._line(j, i, ports) for j in range(6)]
            lines.append("vars currentEpoch 3 lastVoteEpoch 0")
            (node.directory / "nodes.conf").write_text("\n".join(lines) + "\n")
            self.nodes.append(node)

    @property
    def url(self) -> str:
        """For ``--store``; three of the nodes are enough to find the rest."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes[:3])

    @property
    def masters(self) -> list[Node]:
        """Those of the start."""
        return self.nodes[:3]

    def replica_of(self, master: Node) -> Node:
        """The replica of the start."""
        return self.nodes[self.nodes.index(master) + 3]

    def owner_of(self, key: str) -> Node:
        """The master of the start that has the key's slot."""
        slot = int(self.nodes[0].client.cluster("KEYSLOT", key))
        return self.nodes[next(i for i in range(3) if slot <= _last_slot(i))]

    def owner_now(self, key: str) -> Node:
        """The master that has the key's slot now, as the first who knows says.

        Raises ``RedisError`` when nobody does.
        """
        for node in self.nodes:
            try:
                slot = int(node.client.cluster("KEYSLOT", key))
                ranges: Any = node.client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # redis'
            except RedisError:
                continue
            ports = [
                int(owner[1])
                for first, last, owner, *_ in ranges
                if int(first) <= slot <= int(last)
            ]
            found = next((one for one in self.nodes if one.port in ports), None)
            if found is not None and found.role == "master":
                return found
        raise RedisError("nobody knows the slot's owner")

    def move_slot(self, key: str, source: Node, target: Node, *, torn_seconds: float = 0) -> None:
        """Move the key's slot, key by key. First, for ``torn_seconds``, it belongs to both.

        Raises ``RedisError`` when a node does not answer; then the slot has gone back.
        """
        slot = int(source.client.cluster("KEYSLOT", key))
        try:
            target.client.cluster("SETSLOT", slot, "IMPORTING", self.id_of(source))
            source.client.cluster("SETSLOT", slot, "MIGRATING", self.id_of(target))
            time.sleep(torn_seconds)
            _migrate(slot, source, target)
        except RedisError:
            wait_until(lambda: _is_migrated(slot, target, source), READY_SECONDS, "its return")
            self._assign(slot, source, target)
            raise
        self._assign(slot, target, source)

    def _assign(self, slot: int, owner: Node, other: Node) -> None:
        """The owner is told first: else for a moment nobody has the slot."""
        for node in (owner, other):
            node.client.cluster("SETSLOT", slot, "NODE", self.id_of(owner))

    def start(self) -> None:
        """Start all and wait until every node serves."""
        for node in self.nodes:
            node.start()
        wait_until(self.is_whole, READY_SECONDS, "the Cluster to be whole")

    def end(self) -> None:
        """Leave nothing running."""
        for node in self.nodes:
            node.end()

    def is_whole(self) -> bool:
        """Whether every slot is served and every replica follows."""
        if any(node.client.cluster("INFO")["cluster_state"] != "ok" for node in self.nodes):
            return False
        return all(
            int(node.client.info("replication")["connected_slaves"]) == 1 for node in self.masters
        )

    def _line(self, number: int, writer: int, ports: list[int]) -> str:
        flags = "master" if number < 3 else "slave"
        master = "-" if number < 3 else _node_id(f"node-{number - 3}")
        me = "myself," if number == writer else ""
        slots = f" {_last_slot(number - 1) + 1}-{_last_slot(number)}" if number < 3 else ""
        return (
            f"{_node_id(f'node-{number}')} 127.0.0.1:{ports[number]}@{ports[6 + number]} "
            f"{me}{flags} {master} 0 0 {number % 3 + 1} connected{slots}"
        )

    def id_of(self, node: Node) -> str:
        """Its name among the nodes."""
        return _node_id(f"node-{self.nodes.index(node)}")


def _migrate(slot: int, source: Node, target: Node) -> None:
    """Key by key, as scripts of the tools do it."""
    while keys := source.client.cluster("GETKEYSINSLOT", slot, 1000):
        for key in keys:
            source.client.migrate("127.0.0.1", target.port, key, 0, 5000)


def _is_migrated(slot: int, source: Node, target: Node) -> bool:
    try:
        _migrate(slot, source, target)
    except RedisError:
        return False
    return True


def _last_slot(number: int) -> int:
    return (number + 1) * SLOTS // 3 - 1


def _node_id(name: str) -> str:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
