"""Doing what the plan says, and undoing it. Each step runs in a thread of its own."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING

from support.calls import Caller
from support.waiting import wait_until

from .history import Fault, Limit, now
from .plan import STORE, WALL_JUMPS
from .proxy import DOWN, UP, WELL, Trouble
from .site import KEYS, MACHINES, ORGANIZATION, SEATS
from .store_faults import StoreFaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from .agents import Agents, Live
    from .plan import Step
    from .proxy import FaultProxy
    from .site import RiggedDaemon, Site

LONGEST_DELAY_SECONDS = 3.0
SHUFFLE_SECONDS = 1.0
NOBODY = "nobody was running"
DRIFT = 0.001
"""What clocks of machines may differ by: see docs/guarantees.md."""
REPEATED_SHARE = 0.5
ADMIN_SECONDS = 2.0
START_SECONDS = 120.0
"""For a daemon to be ready again: its store may be away at the same time."""
ADMIN_PATIENCE_SECONDS = 120.0


USUAL = {name: Limit(name, 0.0, seats, MACHINES[name]) for name, seats in SEATS.items()}


class Faults:
    """The hands of the rig. What they did is in ``done``, what they set in ``limits``."""

    def __init__(self, site: Site, agents: Agents) -> None:
        self.done: list[Fault] = []
        self.limits = [replace(one, since=now()) for one in USUAL.values()]
        self._site = site
        self._agents = agents
        self._stores = StoreFaults(site)
        self._quota_locks = {name: threading.Lock() for name in SEATS}
        self._settings_lock = threading.Lock()
        """Held by who changes what licenses allow, so that it is known which word was the last.

        Only while it is said: to say it takes a daemon, which may be about to start.
        """
        self._changes = itertools.count(1)

    def do(self, step: Step) -> None:
        """One step, until it is undone."""
        began = now()
        hands = self._stores if step.target == STORE else self
        deed: Callable[[Step], str] = getattr(hands, "do_" + step.kind.replace("-", "_"))
        note = deed(step)
        self.done.append(Fault(step.kind, step.target, began, now(), note))

    # Runs ----------------------------------------------------------------------------------------

    def do_agent_kill(self, step: Step) -> str:
        return self._hit_run(step, "agent", signal.SIGKILL)

    def do_leash_kill(self, step: Step) -> str:
        return self._hit_run(step, "leash", signal.SIGKILL)

    def do_agent_freeze(self, step: Step) -> str:
        return self._hit_run(step, "agent", signal.SIGSTOP)

    def do_leash_freeze(self, step: Step) -> str:
        return self._hit_run(step, "leash", signal.SIGSTOP)

    def do_child_freeze(self, step: Step) -> str:
        return self._hit_run(step, "child", signal.SIGSTOP)

    def do_both_kill(self, step: Step) -> str:
        """Nobody is left to stop the tree: measured, and no invariant holds for it."""
        return self._hit_run(step, "agent+leash", signal.SIGKILL)

    def do_tree_freeze(self, step: Step) -> str:
        """As a container engine pauses all of it."""
        return self._hit_run(step, "whole tree", signal.SIGSTOP)

    def _hit_run(self, step: Step, who: str, number: signal.Signals) -> str:
        live: Live | None = self._agents.pick(step.number)
        if live is None:
            return NOBODY
        live.touched.append(f"{who} {number.name}")
        hit = live.signal(who, number)
        if number == signal.SIGSTOP:
            time.sleep(step.seconds)
            live.wake(hit)
        return live.lease

    # Daemons -------------------------------------------------------------------------------------

    def _one_daemon(self, step: Step) -> tuple[int, RiggedDaemon]:
        number = int(step.number * len(self._site.daemons))
        return number, self._site.daemons[number]

    def do_daemon_kill(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        with daemon.lock:
            daemon.process.kill()
            time.sleep(step.seconds)
            self._start(daemon)
        return f"daemon {number}"

    def do_daemon_freeze(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        with daemon.lock:
            daemon.process.signal(signal.SIGSTOP)
            time.sleep(step.seconds)
            daemon.process.signal(signal.SIGCONT)
        return f"daemon {number}"

    def do_daemon_restart(self, _step: Step) -> str:
        """One after the other, as an upgrade does it."""
        for daemon in self._site.daemons:
            with daemon.lock:
                daemon.process.stop()
                self._start(daemon)
        return "all, one after the other"

    def _start(self, daemon: RiggedDaemon) -> None:
        """It applies its bootstrap file, whose values win over less that was set at run time."""
        with self._settings_lock:
            limits_now = {limit.license: limit for limit in self.limits}
            self.limits += [
                replace(usual, since=now())
                for name, usual in USUAL.items()
                if _allows_more(usual, limits_now[name])
            ]
            daemon.process.start(seconds=START_SECONDS)

    def do_wall_jump(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        jump = WALL_JUMPS[int(step.number * 100) % len(WALL_JUMPS)]
        daemon.jump_wall(jump)
        time.sleep(step.seconds)
        daemon.jump_wall(0)
        return f"daemon {number} by {jump:+.0f} s"

    def do_clock_drift(self, step: Step) -> str:
        number, daemon = self._one_daemon(step)
        rate = 1 + (DRIFT if int(step.number * 100) % 2 else -DRIFT)
        daemon.drift(rate)
        time.sleep(step.seconds)
        daemon.drift(1)
        return f"daemon {number} at {rate:g} of the true rate"

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

    def do_path_cut(self, step: Step) -> str:
        return self._trouble(
            self._one_path(step), Trouble(lose=frozenset({UP, DOWN})), step.seconds
        )

    def do_path_deaf(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(lose=frozenset({UP})), step.seconds)

    def do_path_mute(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(lose=frozenset({DOWN})), step.seconds)

    def do_path_slow(self, step: Step) -> str:
        return self._trouble(self._one_path(step), self._slowness(step), step.seconds)

    def do_path_shuffle(self, step: Step) -> str:
        """Each message is late by a time of its own, so that later ones overtake."""
        both = frozenset({UP, DOWN})
        trouble = Trouble(slow=both, delay=SHUFFLE_SECONDS, is_uneven=True)
        return self._trouble(self._one_path(step), trouble, step.seconds)

    def do_path_repeat(self, step: Step) -> str:
        return self._trouble(self._one_path(step), Trouble(repeat=REPEATED_SHARE), step.seconds)

    def do_path_reset(self, step: Step) -> str:
        proxy = self._one_path(step)
        self._site.proxies.reset(proxy)
        return f"port {proxy.port}"

    def do_store_cut(self, step: Step) -> str:
        trouble = Trouble(lose=frozenset({UP, DOWN}))
        return self._trouble(self._one_store_path(step), trouble, step.seconds)

    def do_store_mute(self, step: Step) -> str:
        return self._trouble(
            self._one_store_path(step), Trouble(lose=frozenset({DOWN})), step.seconds
        )

    def do_store_slow(self, step: Step) -> str:
        return self._trouble(self._one_store_path(step), self._slowness(step), step.seconds)

    def _slowness(self, step: Step) -> Trouble:
        slow = (frozenset({UP}), frozenset({DOWN}), frozenset({UP, DOWN}))
        number = int(step.number * 1000)
        return Trouble(slow=slow[number % 3], delay=number % 10 / 9 * LONGEST_DELAY_SECONDS)

    # Administration ------------------------------------------------------------------------------

    def _caller(self, step: Step, tries: int = 0) -> Caller:
        """Of one daemon; after each try in vain of the next one."""
        urls = self._site.urls.split(",")
        url = urls[(int(step.number * len(urls)) + tries) % len(urls)]
        return Caller(url, KEYS["admin"], timeout=ADMIN_SECONDS)

    def do_quota(self, step: Step) -> str:
        """Fewer or more seats for a while; below use is allowed, and lets the running finish."""
        usual = USUAL["kre" if int(step.number * 100) % 2 else "line"]
        seats = usual.seats + _change(step)
        self._set_for_a_while(step, replace(usual, seats=seats), usual)
        return f"{usual.license}: {seats} instead of {usual.seats} seats"

    def do_machine_quota(self, step: Step) -> str:
        """Likewise of machines, of which more are registered then than may be."""
        usual = USUAL["kre"]
        assert usual.machines is not None
        machines = usual.machines + _change(step)
        self._set_for_a_while(step, replace(usual, machines=machines), usual)
        return f"{usual.license}: {machines} instead of {usual.machines} machines"

    def _set_for_a_while(self, step: Step, changed: Limit, usual: Limit) -> None:
        with self._quota_locks[usual.license]:
            self._set_limit(step, changed, usual)
            time.sleep(step.seconds)
            self._set_limit(step, usual, changed)

    def _set_limit(self, step: Step, limit: Limit, before: Limit) -> None:
        """Until it is seen to be set: the quota in force must be known.

        Each change has a mark, so that no state comes twice, and is made to the state that was
        read: one that the network keeps back or repeats comes too late for good.
        """
        path = f"/v1/orgs/{ORGANIZATION}/licenses/{limit.license}"
        mark = f"change {next(self._changes)}"
        wanted = {
            "seats": limit.seats,
            "machines": limit.machines or "unlimited",
            "product": mark,
            "force": True,
        }
        is_raise = _allows_more(limit, before)
        if is_raise:
            self.limits.append(replace(limit, since=now()))

        tries = itertools.count()

        def is_set() -> bool:
            caller = self._caller(step, next(tries))
            with self._settings_lock:
                try:
                    found = caller.call("GET", path)
                    if found.status != 200:
                        return False
                    seen = {"If-Match": found.headers["ETag"]}
                    # Also where it is set already: only this answer says that it is not forgotten.
                    if caller.call("PATCH", path, wanted, headers=seen).status != 200:
                        return False
                except (OSError, ValueError, HTTPException):
                    return False
                if not is_raise:
                    self.limits.append(replace(limit, since=now()))
                return True

        wait_until(is_set, ADMIN_PATIENCE_SECONDS, f"{limit.license} to have {limit}")

    def do_end_session(self, step: Step) -> str:
        caller = self._caller(step)
        sessions = f"/v1/orgs/{ORGANIZATION}/sessions"
        license = ("kre", "line", "teams")[int(step.number * 1000) % 3]
        try:
            items = caller.call("GET", f"{sessions}?license={license}").body.get("items", [])
            if not items:
                return "nobody was there"
            chosen = items[int(step.number * len(items))]["id"]
            why = {"reason": "ended by an admin of the rig"}
            answer = caller.call("POST", f"{sessions}/{chosen}/end", why)
        except (OSError, AttributeError, ValueError):
            return "nobody answered"
        return f"lease {chosen[:8]}: {answer.status}"


def _change(step: Step) -> int:
    return (-1, 1, -2, 2)[int(step.number * 1000) % 4]


def _allows_more(one: Limit, other: Limit) -> bool:
    return one.seats > other.seats or (one.machines or 0) > (other.machines or 0)
