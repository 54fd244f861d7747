"""Real ``lessor run`` processes in one line, a hundred or, with ``make faults``, a thousand.

None is lost, they are served in order, and they are light. ``WAITERS=`` asks for another number.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from bisect import bisect_right
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.daemon import clean_environ
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.calls import Caller
    from support.daemon import DaemonProcess, MakeDaemon

WAITERS = int(os.environ.get("WAITERS", "100"))
WAVE = 50
SEATS = 20
MOST_MIB_EACH = 12
"""Of agent and leash together, shared pages divided among those who share them."""

BOOTSTRAP = f"""
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = {SEATS}
machines = "unlimited"
ttl = "60s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""


def line_of(daemon: DaemonProcess) -> int:
    """How many wait."""
    (license,) = daemon.caller().call("GET", "/v1/orgs/acme/licenses").body["items"]
    return int(license["queue_length"])


def is_line_of(daemon: DaemonProcess, length: int, holder: str) -> bool:
    """Whether all have joined, while ``holder`` holds on: on a slow machine it takes long."""
    assert daemon.caller().renew(holder).body["renewed"] == [holder]
    return line_of(daemon) == length


def ids_in_line(caller: Caller) -> list[str]:
    """All who wait, by place."""
    found: list[str] = []
    cursor = ""
    while True:
        path = f"/v1/orgs/acme/licenses/kre/queue?limit=100{cursor}"
        page = caller.call("GET", path).body
        found += [one["id"] for one in page["items"]]
        if not page.get("next"):
            return found
        cursor = f"&cursor={page['next']}"


def pss_mib(pid: int) -> float:
    """A process' share of memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))
    return int(kib) / 1024


def family(pid: int) -> list[int]:
    """The agent and its leash."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *(int(one) for one in children.split())]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_line_of_real_runs_is_light_and_served_in_order(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    holder = str(uuid.uuid4())
    ci = daemon.caller()
    assert ci.acquire(id=holder, seats=SEATS).status == 201
    served = tmp_path / "served"
    environ = clean_environ({"LESSOR_URL": daemon.url, "LESSOR_API_KEY": daemon.key()})
    # Fifty start at a time: on a busy machine the first answer may take long.
    patient = ("--connect-timeout", "5m")
    command = [sys.executable, "-m", "lessor", "run", "-q", *patient, "--"]
    began = time.monotonic()
    with ExitStack() as stack:
        runs: list[subprocess.Popen[bytes]] = []

        def start_one() -> subprocess.Popen[bytes]:
            script = f'echo "$LESSOR_LEASE_ID $LESSOR_FENCING_TOKEN" >> {served}'
            run = subprocess.Popen(
                [*command, "sh", "-c", script], env=environ, stdin=subprocess.DEVNULL
            )
            stack.enter_context(run)
            stack.callback(run.kill)
            return run

        while len(runs) < WAITERS:
            wave = min(WAVE, WAITERS - len(runs))
            runs += [start_one() for _ in range(wave)]
            joined = partial(is_line_of, daemon, len(runs), holder)
            wait_until(joined, 240, f"{len(runs)} in line")
        started = time.monotonic()
        each = [sum(pss_mib(pid) for pid in family(run.pid)) for run in runs[::20]]
        mib = sum(each) / len(each)
        before = cpu_seconds(daemon.pid)
        time.sleep(5)  # not to be right: an idle line is looked at for so long
        idle = (cpu_seconds(daemon.pid) - before) / 5
        line = ids_in_line(ci)
        assert len(line) == WAITERS, "none has left while the line stood still"
        ci.release(holder)
        freed = time.monotonic()
        assert [run.wait(600) for run in runs] == [0] * WAITERS
        ended = time.monotonic()
    lines = [one.split() for one in served.read_text().splitlines()]
    missed = sum(one.get("reason") == "unclaimed" for one in daemon.events("lease_ended"))
    print(
        f"{WAITERS} waiters: started in {started - began:.0f} s, {mib:.1f} MiB each, the daemon "
        f"at {idle:.0%} of a core meanwhile, all served in {ended - freed:.0f} s, {missed} offers "
        "missed"
    )
    assert len(lines) == WAITERS
    # By their tokens all came in the order of the line, but for those who missed an offer: the
    # machine had no time for them within three seconds.
    turns = [line.index(lease_id) for lease_id, _ in sorted(lines, key=lambda one: int(one[1]))]
    assert out_of_order(turns) <= missed
    assert mib <= MOST_MIB_EACH


def out_of_order(numbers: list[int]) -> int:
    """How many must go, at least, for the rest to be in order."""
    ends: list[int] = []  # of the rising rows found so far, by their length
    for number in numbers:
        at = bisect_right(ends, number)
        ends[at : at + 1] = [number]
    return len(numbers) - len(ends)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
