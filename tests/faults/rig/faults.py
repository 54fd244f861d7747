"""Doing what the plan says, and undoing it. Each step runs in a thread of its own."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from support.calls import Caller
from support.topologies import ClusterGroup, SentinelGroup
from support.waiting import wait_until

from .history import Fault, Limit, now
from .proxy import DOWN, UP, WELL, Trouble
from .site import KEYS, MACHINES, ORGANIZATION, SEATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.topologies import Node

    from .agents import Agents
    from .plan import Step
    from .proxy import FaultProxy
    from .site import RiggedDaemon, Site

LONGEST_DELAY_SECONDS = 3.0
WALL_JUMPS = (-86_400.0, -60.0, 60.0, 86_400.0)
REPEATED_SHARE = 0.5
ADMIN_SECONDS = 2.0


class Faults:
    """The hands of the rig. What they did is in ``done``, what they set in ``limits``."""

    def __init__(self, site: Site, agents: Agents) -> None:
        self.done: list[Fault] = []
        self.limits = [Limit(name, now(), seats, MACHINES[name]) for name, seats in SEATS.items()]
        self._site = site
        self._agents = agents
        self._copy: Path | None = None

    def do(self, step: Step) -> None:
        """One step, until it is undone."""
        began = now()
        deed: Callable[[Step], str] = getattr(self, "_" + step.kind.replace("-", "_"))
        note = deed(step)
        self.done.append(Fault(step.kind, step.target, began, now(), note))

    # Runs ----------------------------------------------------------------------------------------

    def _agent_kill(self, step: Step) -> str:
        return self._hit_run(step, "agent", signal.SIGKILL)

    def _leash_kill(self, step: Step) -> str:
        return self._hit_run(step, "leash", signal.SIGKILL)

    def _agent_freeze(self, step: Step) -> str:
        return self._hit_run(step, "agent", signal.SIGSTOP)

    def _leash_freeze(self, step: Step) -> str:
        return self._hit_run(step, "leash", signal.SIGSTOP)

    def _child_freeze(self, step: Step) -> str:
        return self._hit_run(step, "child", signal.SIGSTOP)

    def _hit_run(self, step: Step, who: str, number: signal.Signals) -> str:
        live = self._agents.pick(step.number)
        if live is None:
            return "nobody was running"
        live.touched.append(f"{who} {number.name}")
        live.signal(who, number)
        if number == signal.SIGSTOP:
            time.sleep(step.seconds)
            live.signal(who, signal.SIGCONT)
        return f"run of pid {live.child}"

    # Daemons -------------------------------------------------------------------------------------

    def _one_daemon(self, step: Step) -> tuple[int, RiggedDaemon]:
        number = int(step.number * len(self._site.daemons))
        return number, self._site.daemons[number]

    def _daemon_kill(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        with daemon.lock:
            daemon.process.kill()
            time.sleep(step.seconds)
            daemon.process.start()
        return f"daemon {number}"

    def _daemon_freeze(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        with daemon.lock:
            daemon.process.signal(signal.SIGSTOP)
            time.sleep(step.seconds)
            daemon.process.signal(signal.SIGCONT)
        return f"daemon {number}"

    def _daemon_restart(self, _step: Step) -> str:
        """One after the other, as an upgrade does it."""
        for daemon in self._site.daemons:
            with daemon.lock:
                daemon.process.stop()
                daemon.process.start()
        return "all, one after the other"

    def _wall_jump(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        jump = WALL_JUMPS[int(step.number * 100) % len(WALL_JUMPS)]
        daemon.jump_wall(jump)
        time.sleep(step.seconds)
        daemon.jump_wall(0)
        return f"daemon {number} by {jump:+.0f} s"

    # Networks ------------------------------------------------------------------------------------

    def _one_path(self, step: Step) -> FaultProxy:
        return self._site.paths[int(step.number * len(self._site.paths))]

    def _one_store_path(self, step: Step) -> FaultProxy:
        return self._site.store_paths[int(step.number * len(self._site.store_paths))]

    def _trouble(self, proxy: FaultProxy, trouble: Trouble, seconds: float) -> str:
        proxy.trouble = trouble
        time.sleep(seconds)
        proxy.trouble = WELL
        self._site.proxies.reset(proxy)
        return f"port {proxy.port}"

    def _path_cut(self, step: Step) -> str:
        return self._trouble(
            self._one_path(step), Trouble(lose=frozenset({UP, DOWN})), step.seconds
        )

    def _path_deaf(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(lose=frozenset({UP})), step.seconds)

    def _path_mute(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(lose=frozenset({DOWN})), step.seconds)

    def _path_slow(self, step: Step) -> str:
        return self._trouble(self._one_path(step), self._slowness(step), step.seconds)

    def _path_repeat(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(repeat=REPEATED_SHARE), step.seconds)

    def _path_reset(self, step: Step) -> str:
        proxy = self._one_path(step)
        self._site.proxies.reset(proxy)
        return f"port {proxy.port}"

    def _store_cut(self, step: Step) -> str:
        trouble = Trouble(lose=frozenset({UP, DOWN}))
        return self._trouble(self._one_store_path(step), trouble, step.seconds)

    def _store_mute(self, step: Step) -> str:
        return self._trouble(
            self._one_store_path(step), Trouble(lose=frozenset({DOWN})), step.seconds
        )

    def _store_slow(self, step: Step) -> str:
        return self._trouble(self._one_store_path(step), self._slowness(step), step.seconds)

    def _slowness(self, step: Step) -> Trouble:
        slow = (frozenset({UP}), frozenset({DOWN}), frozenset({UP, DOWN}))
        number = int(step.number * 1000)
        return Trouble(slow=slow[number % 3], delay=number % 10 / 9 * LONGEST_DELAY_SECONDS)

    # Administration ------------------------------------------------------------------------------

    def _caller(self, step: Step) -> Caller:
        urls = self._site.urls.split(",")
        return Caller(urls[int(step.number * len(urls))], KEYS["admin"], timeout=ADMIN_SECONDS)

    def _quota(self, step: Step) -> str:
        """Fewer or more seats for a while; below use is allowed, and lets the running finish."""
        name = "kre" if int(step.number * 100) % 2 else "line"
        usual = SEATS[name]
        changed = usual + (-1, 1, -2, 2)[int(step.number * 1000) % 4]
        self._set_seats(step, name, changed, usual)
        time.sleep(step.seconds)
        self._set_seats(step, name, usual, changed)
        return f"{name}: {changed} instead of {usual} seats"

    def _set_seats(self, step: Step, name: str, seats: int, before: int) -> None:
        """Until it is answered: the quota in force must be known."""
        path = f"/v1/orgs/{ORGANIZATION}/licenses/{name}"
        if seats > before:
            self.limits.append(Limit(name, now(), seats, MACHINES[name]))

        def is_set() -> bool:
            try:
                body = {"seats": seats, "machines": MACHINES[name] or "unlimited", "force": True}
                return self._caller(step).call("PATCH", path, body).status == 200
            except (OSError, ValueError):
                return False

        wait_until(is_set, 60, f"{name} to have {seats} seats")
        if seats < before:
            self.limits.append(Limit(name, now(), seats, MACHINES[name]))

    def _end_session(self, step: Step) -> str:
        caller = self._caller(step)
        sessions = f"/v1/orgs/{ORGANIZATION}/sessions"
        try:
            items = caller.call("GET", sessions).body.get("items", [])
            others = [one for one in items if one["license"] != "probe"]
            if not others:
                return "nobody was there"
            chosen = others[int(step.number * len(others))]["id"]
            why = {"reason": "ended by an admin of the rig"}
            answer = caller.call("POST", f"{sessions}/{chosen}/end", why)
        except (OSError, AttributeError, ValueError):
            return "nobody answered"
        return f"lease {chosen[:8]}: {answer.status}"

    # Stores --------------------------------------------------------------------------------------

    def _store_kill(self, step: Step) -> str:
        site = self._site
        if site.group is not None:
            return self._kill_node(self._master(), step.seconds)
        if not site.nodes:
            return self._signal_child(signal.SIGKILL)
        return self._kill_node(site.nodes[0], step.seconds)

    def _store_freeze(self, step: Step) -> str:
        if not self._site.nodes:
            note = self._signal_child(signal.SIGSTOP)
            time.sleep(step.seconds)
            self._signal_child(signal.SIGCONT)
            return note
        return self._freeze_node(self._master(), step.seconds)

    def _signal_child(self, number: signal.Signals) -> str:
        daemon = self._site.daemons[0]
        with daemon.lock:
            pid = daemon.process.store_pid()
            if pid is None:
                return "it was not there"
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return "it had gone"
        return f"pid {pid}"

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

    def _forget(self, step: Step) -> str:
        """It comes back empty."""
        return self._kill_node(self._site.nodes[0], step.seconds, forget=True)

    def _rollback(self, step: Step) -> str:
        """It comes back as it was a while ago: at the last of these faults, or a second ago."""
        node = self._site.nodes[0]
        data, copy = node.directory / "appendonlydir", node.directory.with_name("copy")
        with self._site.store_lock:
            node.kill()
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(data, copy)
            node.start()
            time.sleep(1 + step.seconds)
            node.kill()
            shutil.rmtree(data)
            shutil.copytree(copy, data)
            node.start()
        return f"by {1 + step.seconds:.1f} s"

    def _script_flush(self, _step: Step) -> str:
        return self._command("SCRIPT", "FLUSH")

    def _client_kill(self, _step: Step) -> str:
        return self._command("CLIENT", "KILL", "TYPE", "normal")

    def _maxmemory(self, step: Step) -> str:
        note = self._command("CONFIG", "SET", "maxmemory", "1")
        time.sleep(step.seconds)
        self._command("CONFIG", "SET", "maxmemory", "0")
        return note

    def _command(self, *words: str) -> str:
        told = []
        for node in self._data_nodes():
            try:
                node.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis'
                told.append(node.directory.name)
            except RedisError:
                continue
        return ", ".join(told) or "nobody answered"

    def _disk_full(self, step: Step) -> str:
        """No file of its store can grow. A server that must have each write on disk gives up."""
        site = self._site
        with site.store_lock:
            node = site.nodes[0] if site.nodes else None
            pid = site.daemons[0].process.store_pid() if node is None else node.pid
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
            owner = group.owner_of(f"{{{ORGANIZATION}}}:clock")
            replica = group.replica_of(owner)
            return replica if replica.role == "master" else owner
        return self._site.nodes[0]

    def _replica(self, step: Step) -> Node:
        master = self._master()
        others = [node for node in self._data_nodes() if node is not master]
        return others[int(step.number * len(others))]

    def _replica_kill(self, step: Step) -> str:
        return self._kill_node(self._replica(step), step.seconds)

    def _replica_freeze(self, step: Step) -> str:
        return self._freeze_node(self._replica(step), step.seconds)

    def _sentinel(self, step: Step) -> Node:
        sentinels = self._site.nodes[3:]
        return sentinels[int(step.number * len(sentinels))]

    def _sentinel_kill(self, step: Step) -> str:
        return self._kill_node(self._sentinel(step), step.seconds)

    def _sentinel_freeze(self, step: Step) -> str:
        return self._freeze_node(self._sentinel(step), step.seconds)

    def _failover(self, _step: Step) -> str:
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

    def _stale_master(self, step: Step) -> str:
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
