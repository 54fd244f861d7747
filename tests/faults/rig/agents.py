"""Real ``lessor run`` processes, one after another in each of several threads."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .history import Ran
from .site import CAPS, MACHINES, TEAMS
from .stamping import SIZE, TIMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAMPING = Path(__file__).with_name("stamping.py")
MODES = ("plain", "plain", "plain", "stubborn", "forking")
KILL_AFTER_TTLS = 0.1
WAIT_TTLS = 20
SEATS = ("1", "1", "1", "2", "1..2")
"""What runs of the license with the machine quota ask for."""
LOST_EXIT = 79


@dataclass
class Live:
    """One run under way, for those who would do something to it."""

    agent: int
    leash: int
    child: int
    lease: str
    touched: list[str] = field(default_factory=list)
    gone: bool = False

    def signal(self, who: str, number: signal.Signals) -> list[int]:
        """The pids that got it. One that has gone meanwhile is left alone.

        ``who`` is agent, leash, child, ``agent+leash`` or ``whole tree``.
        """
        if self.gone or _parent_of(self.leash) is None:
            return []
        pids = {
            "agent": [self.agent],
            "leash": [self.leash],
            "child": [self.child],
            # The leash first: its parent could still see it die, and would then do its work.
            "agent+leash": [self.leash, self.agent],
        }.get(who) or [self.leash, self.agent, *descendants(self.leash)]
        hit = []
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                hit.append(pid)
        return hit

    def wake(self, pids: list[int]) -> None:
        """Let those run on that were stopped, also one that had said its last word."""
        if _parent_of(self.leash) is None:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@dataclass
class Outcome:
    """How one run ended. ``lost`` is why its lease was lost, as its agent said."""

    machine: str
    team: str
    exit: int
    lost: str
    lease: str
    touched: tuple[str, ...]


class Agents:
    """Keeps ``count`` threads busy with runs until it is told to finish."""

    def __init__(
        self,
        directory: Path,
        environ: Mapping[str, str],
        *,
        count: int,
        licenses: Sequence[str],
        machines: Sequence[str],
        ttl: float,
        longest_seconds: float,
        seed: int,
    ) -> None:
        self.directory = directory
        self.live: list[Live] = []
        self.outcomes: list[Outcome] = []
        self._environ = dict(environ)
        self._licenses = licenses
        self._machines = machines
        self._ttl = ttl
        self._longest_seconds = longest_seconds
        self._over = threading.Event()
        self._lock = threading.Lock()
        directory.mkdir()
        self._threads = [
            threading.Thread(target=self._play, args=(random.Random(f"{seed}/agent/{n}"),))
            for n in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin no more runs, and wait until those under way have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def pick(self, number: float) -> Live | None:
        """One of those running now; ``number`` in [0, 1) says which."""
        with self._lock:
            living = [one for one in self.live if not one.touched]
            return living[int(number * len(living))] if living else None

    def _play(self, chance: random.Random) -> None:
        while not self._over.is_set():
            self._run(chance)

    def _run(self, chance: random.Random) -> None:
        machine, license = chance.choice(self._machines), chance.choice(self._licenses)
        team = chance.choice(TEAMS) if license in CAPS else ""
        seconds = round(chance.uniform(0.1, self._longest_seconds), 2)
        command = [sys.executable, "-I", "-S", str(STAMPING), str(self.directory)]
        command += [str(seconds), chance.choice(MODES)]
        options = ["-l", license, "-m", machine, "--ephemeral", "-w", f"{WAIT_TTLS * self._ttl}s"]
        options += ["-k", f"{KILL_AFTER_TTLS * self._ttl}s"]
        options += ["--label", f"team={team}"] if team else []
        options += ["-N", chance.choice(SEATS)] if MACHINES[license] else []
        reading, writing = os.pipe()
        with (self.directory.parent / "agents.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "lessor", "run", "-q", "--events-fd", str(writing)),
                    *(*options, "--", *command),
                ],
                env=self._environ,
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(writing)
        live: Live | None = None
        lost = lease = ""
        with os.fdopen(reading) as events:
            for line in events:
                event = json.loads(line)
                if event["event"] == "granted":
                    lease = event["lease_id"]
                elif event["event"] == "started":
                    agent, leash = event["agent_pid"], event["leash_pid"]
                    live = Live(agent, leash, event["child_pid"], lease)
                    with self._lock:
                        self.live.append(live)
                elif event["event"] == "lost":
                    lost = event["reason"] or event["code"]
                elif event["event"] == "stopped" and live is not None:
                    live.gone = True
        # The leash holds the pipe too, so by now both have ended.
        code = process.wait()
        if live is not None:
            with self._lock:
                self.live.remove(live)
        touched = tuple(live.touched) if live else ()
        self.outcomes.append(Outcome(machine, team, code, lost, lease, touched))

    def ran(self) -> list[Ran]:
        """Every run as its processes stamped it, with how its agent said it ended."""
        outcomes = {one.lease: one for one in self.outcomes}
        found: dict[str, Ran] = {}
        for path in self.directory.iterdir():
            slot = path.read_bytes()
            if len(slot) < SIZE:
                continue
            began, ended = TIMES.unpack_from(slot)
            who = slot[TIMES.size :].rstrip(b"\0").decode().split()
            if not began or len(who) != 4:
                continue
            lease, token, license, count = who
            outcome = outcomes.get(lease)
            earlier = found.get(lease)
            found[lease] = Ran(
                lease,
                license,
                outcome.machine if outcome else "?",
                int(token),
                min(began, earlier.began) if earlier else began,
                max(ended, earlier.ended) if earlier else ended,
                how=_how(outcome),
                touched=outcome.touched if outcome else (),
                seats=int(count),
                team=outcome.team if outcome else "",
            )
        return list(found.values())


def _how(outcome: Outcome | None) -> str:
    if outcome is None:
        return "unknown"
    if outcome.exit == LOST_EXIT:
        return "ended" if "admin" in outcome.lost else "lost"
    return "done" if outcome.exit == 0 else f"exit {outcome.exit}"


def living_processes(directory: Path) -> int:
    """How many commands of runs that stamp into ``directory`` are alive."""
    wanted = os.fsencode(directory)
    count = 0
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                count += wanted in words and os.fsencode(STAMPING) in words[:4]
    return count


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found = []
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for child in map(int, children):
            found += [child, *descendants(child)]
    return found


def _parent_of(pid: int) -> int | None:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat[stat.rindex(b")") + 2 :].split()[1])
    return None
