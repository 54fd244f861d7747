"""One of several processes full of clients that want seats: run by ``test_churn.py``.

Usage: churn_worker.py RECORDS CLIENTS ROUNDS SEED. Each client is a thread that acquires, holds and
releases through the Python API; now and then it runs a real ``lessor run`` instead, and kills its
agent. Everything that ran writes one line ``began ended machine how`` to a file of its own in
RECORDS, times in seconds of the clock that all processes share.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lessor

MACHINES = [f"container-{number}" for number in range(5)]
LONGEST_HOLD_SECONDS = 0.02
AGENT_EVERY = 25
"""One round in so many is a process under ``lessor run``."""
LESSOR = Path(sys.executable).parent / "lessor"

STAMP = """
import sys, time
with open(sys.argv[1], "a") as file:
    while True:
        file.write(f"{time.monotonic()}\\n")
        file.flush()
        time.sleep(0.002)
"""


class Client(threading.Thread):
    """One client's rounds."""

    def __init__(self, records: Path, number: int, rounds: int, seed: int) -> None:
        super().__init__()
        self.random = random.Random(f"{seed}/{number}")
        self.records = records
        self.number = number
        self.rounds = rounds
        self.lines: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for turn in range(self.rounds):
                machine = self.random.choice(MACHINES)
                if self.random.randrange(AGENT_EVERY) == 0:
                    self.run_agent(machine, turn)
                else:
                    self.hold(machine)
        except BaseException as error:  # noqa: BLE001  # a thread's failure must reach the process
            self.failure = error

    def hold(self, machine: str) -> None:
        with lessor.acquire("kre", wait=120, machine=machine, ephemeral=True) as lease:
            began = time.monotonic()
            time.sleep(self.random.uniform(0, LONGEST_HOLD_SECONDS))
            held = not lease.lost.is_set()
            self.lines.append(f"{began} {time.monotonic()} {machine} {'api' if held else 'lost'}")

    def run_agent(self, machine: str, turn: int) -> None:
        """Start a real process, kill its agent in the middle, and note when it was last alive."""
        stamps = self.records / f"stamps-{self.number}-{turn}"
        events, writer = os.pipe()
        agent = subprocess.Popen(
            [
                *(LESSOR, "run", "-q", "-l", "kre", "-m", machine, "--ephemeral"),
                *("-k", "0.1s", "--events-fd", str(writer), "--"),
                *(sys.executable, "-S", "-c", STAMP, str(stamps)),
            ],
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        with os.fdopen(events) as lines:
            for line in lines:
                if json.loads(line)["event"] == "started":
                    time.sleep(self.random.uniform(0.02, 0.1))
                    agent.send_signal(signal.SIGKILL)
                    killed = time.monotonic()
        agent.wait()
        times = [float(one) for one in stamps.read_text().split()] if stamps.exists() else []
        if times:
            self.lines.append(f"{times[0]} {times[-1]} {machine} agent {killed}")


def main() -> int:
    records, clients, rounds, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    threads = [Client(records, seed * 1000 + n, rounds, seed) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for thread in threads for line in thread.lines]
    (records / f"runs-{os.getpid()}").write_text("\n".join(lines) + "\n")
    failures = [thread.failure for thread in threads if thread.failure]
    for failure in failures:
        print(repr(failure), file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
