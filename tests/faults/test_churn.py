"""64 clients in 4 processes fight for 7 seats on 3 machines, and agents die: nobody overshoots.

Judged from what the clients and their processes wrote down themselves, never from what the server
says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.daemon import clean_environ
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.daemon import DaemonProcess

SEATS = 7
MACHINES = 3
PROCESSES = 4
CLIENTS = 16
ROUNDS = int(os.environ.get("CHURN_ROUNDS", "32"))
SEED = int(os.environ.get("SEED", "1"))

BOOTSTRAP = f"""
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = {SEATS}
machines = {MACHINES}
ttl = "5s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""


class Ran(NamedTuple):
    """Something that held a seat, as it wrote down itself."""

    began: float
    ended: float
    machine: str
    how: str


def read_records(records: Path) -> list[Ran]:
    found = []
    for file in records.glob("runs-*"):
        for line in file.read_text().splitlines():
            began, ended, machine, how, *_ = line.split()
            found.append(Ran(float(began), float(ended), machine, how))
    return found


def most_at_once(intervals: Iterable[tuple[float, float]]) -> int:
    """The most intervals that overlap; those that only touch do not."""
    edges = sorted(edge for began, ended in intervals for edge in ((began, 1), (ended, -1)))
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


def most_machines_at_once(ran: list[Ran]) -> int:
    """The most machines that had something running at one time."""
    edges = sorted(
        edge for one in ran for edge in ((one.began, 1, one.machine), (one.ended, -1, one.machine))
    )
    running: Counter[str] = Counter()
    most = 0
    for _, step, machine in edges:
        running[machine] += step
        most = max(most, sum(1 for count in running.values() if count > 0))
    return most


@pytest.mark.slow
def test_thousands_of_rounds_with_killed_agents_never_overshoot_and_leak_nothing(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    records = tmp_path / "records"
    records.mkdir()
    environ = clean_environ(
        {"LESSOR_URL": daemon.url, "LESSOR_API_KEY_FILE": str(daemon.directory / "ci.key")}
    )
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, Path(__file__).with_name("churn_worker.py")),
                *(str(records), str(CLIENTS), str(ROUNDS), str(SEED + number)),
            ],
            env=environ,
        )
        for number in range(PROCESSES)
    ]
    assert [worker.wait(60 + 2 * ROUNDS) for worker in workers] == [0] * PROCESSES

    ran = read_records(records)
    hows = Counter(one.how for one in ran)
    assert hows["lost"] == 0
    assert hows["agent"] > 10
    assert len(ran) >= PROCESSES * CLIENTS * ROUNDS * 0.95
    assert most_at_once((one.began, one.ended) for one in ran) <= SEATS
    assert most_machines_at_once(ran) <= MACHINES

    ci = daemon.caller("ci")

    def at_rest() -> bool:
        (license,) = ci.call("GET", "/v1/orgs/acme/licenses").body["items"]
        return (license["leases"], license["machines"], license["queue_length"]) == (0, 0, 0)

    # The leash of a killed agent gives the seat back at once: none has to wait for its deadline.
    wait_until(at_rest, 3, "all seats, machines and places to be free")
    print(f"\n{len(ran)} runs, {hows['agent']} with a killed agent")
