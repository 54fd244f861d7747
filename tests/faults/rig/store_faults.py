"""What is done to stores: their processes, their disks, and who of them serves."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from support.topologies import ClusterGroup, SentinelGroup
from support.waiting import wait_until

from .plan import WALL_JUMPS
from .site import ORGANIZATION

if TYPE_CHECKING:
    from support.topologies import Node

    from .plan import Step
    from .site import Site

CLOCK_KEY = f"{{{ORGANIZATION}}}:clock"
SLOWEST_WRITE_SECONDS = 0.4
UNDO_SECONDS = 90
STORE_RATES = (0.5, 2.0)
"""No wall clock of a store is to decide anything, so it may be as wrong as it likes."""


class StoreFaults:
    """One method for each kind; each returns what it hit, once it is undone."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def do_store_kill(self, step: Step) -> str:
        site = self._site
        if site.group is not None:
            return self._kill_node(self._master(), step.seconds)
        if not site.nodes:
            return self._signal_child(signal.SIGKILL)
        return self._kill_node(site.nodes[0], step.seconds)

    def do_store_freeze(self, step: Step) -> str:
        if not self._site.nodes:
            note = self._signal_child(signal.SIGSTOP)
            time.sleep(step.seconds)
            self._signal_child(signal.SIGCONT)
            return note
        return self._freeze_node(self._master(), step.seconds)

    def _signal_child(self, number: signal.Signals) -> str:
        pid = self._child_pid()
        if pid is None:
            return "it was not there"
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return "it had gone"
        return f"pid {pid}"

    def _child_pid(self) -> int | None:
        """Of the embedded store. Its daemon may just be away: then it is waited for."""
        daemon = self._site.daemons[0]
        with daemon.lock:
            return daemon.process.store_pid()

    def _kill_node(self, node: Node, seconds: float, *, forget: bool = False) -> str:
        with self._site.store_lock:
            node.kill()
            if forget:
                shutil.rmtree(node.directory / "appendonlydir", ignore_errors=True)
            time.sleep(seconds)
            node.start()
        return node.directory.name

    def _freeze_node(self, node: Node, seconds: float) -> str:
        with self._site.store_lock:
            node.freeze()
            time.sleep(seconds)
            node.thaw()
        return node.directory.name

    def do_forget(self, step: Step) -> str:
        """It comes back empty."""
        return self._kill_node(self._site.nodes[0], step.seconds, forget=True)

    def do_rollback(self, step: Step) -> str:
        """It comes back as it was before the fault began: work has gone on since."""
        node = self._site.nodes[0]
        data, copy = node.directory / "appendonlydir", node.directory.with_name("copy")
        with self._site.store_lock:
            node.freeze()
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(data, copy)
            node.thaw()
            time.sleep(step.seconds)
            node.kill()
            shutil.rmtree(data)
            shutil.copytree(copy, data)
            node.start()
        return f"by {step.seconds:.1f} s"

    def do_script_flush(self, _step: Step) -> str:
        return _names(self._tell("SCRIPT", "FLUSH"))

    def do_client_kill(self, _step: Step) -> str:
        return _names(self._tell("CLIENT", "KILL", "TYPE", "normal"))

    def do_maxmemory(self, step: Step) -> str:
        """No write that could need memory is taken."""
        return self._for_a_while(step, ("CONFIG", "SET", "maxmemory"), "1", "0")

    def do_slow_disk(self, step: Step) -> str:
        """Before each write to its log, and so before each answer, a server stands still."""
        micros = round((0.05 + 0.95 * step.number) * SLOWEST_WRITE_SECONDS * 1e6)
        note = self._for_a_while(step, ("DEBUG", "AOF-FLUSH-SLEEP"), str(micros), "0")
        return f"{note} by {micros // 1000} ms"

    def do_store_jump(self, step: Step) -> str:
        """The wall clock of the master is set."""
        jump = WALL_JUMPS[int(step.number * 100) % len(WALL_JUMPS)]
        return f"{self._move_clock(step, jump)} by {jump:+.0f} s"

    def do_store_drift(self, step: Step) -> str:
        rate = STORE_RATES[int(step.number * 100) % len(STORE_RATES)]
        return f"{self._move_clock(step, 0, rate)} at {rate:g} of the true rate"

    def _move_clock(self, step: Step, offset: float, rate: float = 1) -> str:
        master = self._master()
        self._site.store_clocks[master].set(offset, rate)
        time.sleep(step.seconds)
        self._site.store_clocks[master].set(0)
        return master.directory.name

    def _for_a_while(self, step: Step, words: tuple[str, ...], value: str, usual: str) -> str:
        """Set something on all servers, and put it back on each that has not been replaced."""
        told = {node: node.pid for node in self._tell(*words, value)}
        time.sleep(step.seconds)

        def is_undone(node: Node) -> bool:
            if node.pid != told[node] or not node.is_running:
                return True
            try:
                node.client.execute_command(*words, usual)  # type: ignore[no-untyped-call]  # redis'
            except RedisError:
                return False
            return True

        for node in told:
            wait_until(lambda node=node: is_undone(node), UNDO_SECONDS, "the fault's end")  # type: ignore[misc]  # mypy cannot type a lambda's default
        return _names(list(told))

    def _tell(self, *words: str) -> list[Node]:
        told = []
        for node in self._data_nodes():
            try:
                node.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis'
                told.append(node)
            except RedisError:
                continue
        return told

    def do_disk_full(self, step: Step) -> str:
        """No file of its store can grow. A server that must have each write on disk gives up."""
        site = self._site
        with site.store_lock:
            node = site.nodes[0] if site.nodes else None
            pid = self._child_pid() if node is None else node.pid
            if pid is None:
                return "it was not there"
            try:
                limits = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
                time.sleep(step.seconds)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            except ProcessLookupError:
                pass  # it gave up
            if node is not None and not node.is_running:
                node.start()
        return f"pid {pid}"

    def _data_nodes(self) -> list[Node]:
        group = self._site.group
        return group.servers if isinstance(group, SentinelGroup) else self._site.nodes

    def _master(self) -> Node:
        group = self._site.group
        if isinstance(group, SentinelGroup):
            return group.named() or group.servers[0]
        if isinstance(group, ClusterGroup):
            return _owner(group)
        return self._site.nodes[0]

    def _replica(self, step: Step) -> Node:
        master = self._master()
        others = [node for node in self._data_nodes() if node is not master]
        return others[int(step.number * len(others))]

    def do_replica_kill(self, step: Step) -> str:
        return self._kill_node(self._replica(step), step.seconds)

    def do_replica_freeze(self, step: Step) -> str:
        return self._freeze_node(self._replica(step), step.seconds)

    def _sentinel(self, step: Step) -> Node:
        sentinels = self._site.nodes[3:]
        return sentinels[int(step.number * len(sentinels))]

    def do_sentinel_kill(self, step: Step) -> str:
        return self._kill_node(self._sentinel(step), step.seconds)

    def do_sentinel_freeze(self, step: Step) -> str:
        return self._freeze_node(self._sentinel(step), step.seconds)

    def do_failover(self, _step: Step) -> str:
        """The master dies and stays away until another has taken over."""
        with self._site.store_lock:
            old = self._master()
            old.kill()
            try:
                wait_until(lambda: self._has_another(old), 30, "the failover")
            finally:
                old.start()
        return old.directory.name

    def _has_another(self, old: Node) -> bool:
        try:
            master = self._master()
        except RedisError:
            return False
        return master is not old and master.role == "master"

    def do_slot_move(self, step: Step) -> str:
        """The organization moves to another master, key by key."""
        group = self._site.group
        if not isinstance(group, ClusterGroup):
            return "no Cluster"
        with self._site.store_lock:
            try:
                source = self._master()
                others = [node for node in group.nodes if node.role == "master"]
                others = [node for node in others if node is not source]
                target = others[int(step.number * len(others))]
                group.move_slot(CLOCK_KEY, source, target, torn_seconds=step.seconds)
            except RedisError as error:
                return f"nothing moved: {error}"
        return f"from {source.directory.name} to {target.directory.name}"

    def do_stale_master(self, step: Step) -> str:
        """The master and a replica are cut off from the sentinels, not from the daemons."""
        group = self._site.group
        if not isinstance(group, SentinelGroup):
            return "no sentinels"
        with self._site.store_lock:
            old = self._master()
            number = group.servers.index(old)
            companion, other = (i for i in range(3) if i != number)
            shut = ("sentinel", f"replica-{other}")
            try:
                old.shut_out(*shut)
                group.servers[companion].shut_out("sentinel")
                time.sleep(step.seconds)
            except RedisError as error:
                return str(error)
            finally:
                for node, users in ((old, shut), (group.servers[companion], ("sentinel",))):
                    node.let_in(*users)
        return old.directory.name


def _owner(group: ClusterGroup) -> Node:
    """Of the organization; while it is being replaced, that takes a moment to say."""

    def known() -> Node | None:
        try:
            return group.owner_now(CLOCK_KEY)
        except RedisError:
            return None

    found = wait_until(known, UNDO_SECONDS, "the organization to have a master")
    assert found is not None
    return found


def _names(nodes: list[Node]) -> str:
    return ", ".join(node.directory.name for node in nodes) or "nobody answered"
