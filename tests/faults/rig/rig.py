"""One run of the rig: everything is started, faults are done, everybody finishes, it is judged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from support.calls import Caller
from support.waiting import wait_until

from . import plan
from . import sources as sources_now
from .agents import Agents, living_processes
from .clients import HABITS
from .faults import Faults
from .history import Asked, History, Ran, Rest
from .metronome import Metronome
from .proxy import Proxies
from .site import CAPS, KEYS, ORGANIZATION, SEATS, Site
from .store_watch import StoreWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan import Durations, Step

TESTS = Path(__file__).parents[2]
MACHINES = [f"container-{number}" for number in range(6)]
LICENSES = ["kre", "line", "teams"]
FINISH_SECONDS = 120
REST_SECONDS = 12.0
"""Beyond ttl, margin and recovery: by then whatever was left behind must have come back."""
THREADS = 32


@dataclass(frozen=True)
class Load:
    """How many want seats: real runs at a time, and virtual clients in so many processes.

    Beside these, ``fleets`` processes hold ``fleet`` leases each. Real runs last up to
    ``longest_ttls``. Twice as many runs keep two cores busy for good, and then the figures tell of
    the machine.
    """

    agents: int = 12
    workers: int = 2
    clients: int = 20
    fleets: int = 2
    fleet: int = 1000
    daemons: int = 2
    habits: tuple[str, ...] = HABITS
    longest_ttls: float = 4 / 3


class Rig:
    """``run`` does everything, and gives the history."""

    def __init__(
        self,
        directory: Path,
        topology: str,
        steps: Sequence[Step],
        *,
        seconds: float,
        seed: int,
        load: Load | None = None,
        durations: Durations = plan.SHORT,
        sources: tuple[Path, ...] = (),
    ) -> None:
        self.directory = directory
        self._topology = topology
        self._steps = steps
        self._seconds = seconds
        self._seed = seed
        self._load = load or Load()
        self._durations = durations
        self._sources = sources or sources_now.copy(directory / "sources")
        self._workers: list[subprocess.Popen[bytes]] = []

    def run(self) -> History:
        """Raises ``AssertionError`` when a part of the rig itself failed."""
        with ExitStack() as stack:
            proxies = stack.enter_context(Proxies())
            site = Site(
                self.directory,
                self._topology,
                proxies,
                durations=self._durations,
                daemons=self._load.daemons,
                sources=self._sources,
                seed=self._seed,
                store_clocks=any(step.kind in plan.STORE_CLOCKS for step in self._steps),
            )
            stack.callback(site.end)
            site.start()
            agents = Agents(
                self.directory / "stamps",
                site.environ(),
                count=self._load.agents,
                licenses=LICENSES,
                machines=MACHINES,
                ttl=self._durations.ttl,
                longest_seconds=self._load.longest_ttls * self._durations.ttl,
                seed=self._seed,
            )
            faults = Faults(site, agents)
            self._start_workers(site)
            stack.callback(self._end_workers)
            watch = StoreWatch(site)
            stack.callback(watch.finish)
            watch.start()
            metronome = Metronome(self.directory / "stalls")
            stack.callback(metronome.finish)
            agents.start()
            stack.callback(agents.finish)
            self._do(faults)
            agents.finish()
            self._finish_workers()
            site.check()
            rest = self._come_to_rest(site)
            watch.finish()
            metronome.finish()
            history = History(self._durations.ttl, site.margin, rest=rest, caps=CAPS)
            history.recovery, history.topology = site.recovery, self._topology
            history.outages, history.readings = watch.outages, watch.readings
            history.stalls = metronome.stalls()
            history.faults, history.limits = faults.done, faults.limits
            self._collect(history, agents, proxies.records)
        return history

    def _start_workers(self, site: Site) -> None:
        """Those with clients, those with a fleet, and for each path one that watches it."""
        load = self._load
        specs: list[tuple[int, int, int, int | None]] = [
            *((number, load.clients, 0, None) for number in range(load.workers)),
            *((100 + number, 0, load.fleet, None) for number in range(load.fleets)),
            *((200 + path, 0, 0, path) for path in range(len(site.paths))),
        ]
        for number, count, fleet, path in specs:
            spec = {
                "name": f"worker-{number}",
                "count": count,
                "fleet": fleet,
                "seed": f"{self._seed}/{number}",
                "licenses": LICENSES,
                "machines": MACHINES,
                "habits": load.habits,
                "ttl": self._durations.ttl,
                "probe": path is not None,
            }
            environ = site.environ(only=path)
            paths = [str(TESTS), environ.get("PYTHONPATH", "")]
            environ["PYTHONPATH"] = ":".join(filter(None, paths))
            self._workers.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "faults.rig.worker"),
                        *(str(self.directory / f"notes-{number}"), json.dumps(spec)),
                    ],
                    env=environ,
                    stdin=subprocess.PIPE,
                )
            )

    def _finish_workers(self) -> None:
        for worker in self._workers:
            if worker.stdin is not None:
                worker.stdin.close()
        longest = FINISH_SECONDS * self._durations.scale
        codes = [worker.wait(longest) for worker in self._workers]
        assert not any(codes), f"virtual clients failed: {codes}"

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.kill()
            worker.wait()

    def _do(self, faults: Faults) -> None:
        """Each step at its time, in a thread of its own, until the last is undone."""
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            under_way = []
            for step in self._steps:
                time.sleep(max(0.0, began + step.at - time.monotonic()))
                under_way.append(pool.submit(faults.do, step))
            time.sleep(max(0.0, began + self._seconds - time.monotonic()))
            for one in under_way:
                one.result()

    def _come_to_rest(self, site: Site) -> list[Rest]:
        seconds = site.recovery + site.margin + self._durations.ttl + REST_SECONDS
        caller = Caller(site.daemons[0].process.url, KEYS["admin"])
        found: list[Rest] = []

        def at_rest() -> bool:
            nonlocal found
            answer = caller.call("GET", f"/v1/orgs/{ORGANIZATION}/licenses")
            if answer.status != 200:
                return False
            living = living_processes(self.directory / "stamps")
            found = [
                Rest(one["name"], one["leases"], one["machines"], one["queue_length"], living)
                for one in answer.body["items"]
            ]
            return not any(r.leases or r.machines or r.queue or r.living_processes for r in found)

        try:
            wait_until(at_rest, seconds, "rest")
        except AssertionError:
            if not found:
                found = [Rest(name, -1, -1, -1, -1) for name in SEATS]
        return found

    def _collect(self, history: History, agents: Agents, records: list[Asked]) -> None:
        for path in self.directory.glob("notes-*"):
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                if "asked" in entry:
                    history.asked.append(Asked(**entry["asked"]))
                else:
                    history.ran.append(Ran(**{**entry["ran"], "touched": ()}))
        virtual = {one.lease for one in history.asked}
        history.asked += [one for one in records if one.late or one.lease not in virtual]
        machines = {one.lease: one.machine for one in history.asked if one.machine}
        for run in agents.ran():
            machine = machines.get(run.lease, run.machine)
            history.ran.append(replace(run, machine=machine))
        history.ran.sort(key=lambda run: run.began)
