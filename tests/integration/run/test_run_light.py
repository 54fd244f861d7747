"""``lessor run`` costs little: what it loads, how long it takes, how much memory stays private."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.fake_server import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

MOST_WALL = 6.0
MOST_MEMORY = 3.5

SLOW = frozenset(
    {
        "aiohttp",
        "argparse",
        "asyncio",
        "dataclasses",
        "email",
        "http",
        "inspect",
        "json",
        "logging",
        "pathlib",
        "re",
        "redis",
        "ssl",
        "structlog",
        "subprocess",
        "tempfile",
        "tomllib",
        "typing",
        "urllib",
        "uuid",
    }
)
"""Each of these costs milliseconds that every start of a test process would pay."""

LESSOR = Path(sys.executable).with_name("lessor")


def environ(server: FakeServer, home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LESSOR_")}
    # Installed packages are compiled; a checkout must be too, or each start would compile it.
    kept |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(home / "compiled")}
    return kept | {"LESSOR_URL": server.url, "LESSOR_API_KEY": KEY, "HOME": str(home)} | more


def test_nothing_heavy_is_loaded(server: FakeServer, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(LESSOR), "run", "-l", "kre", "--", "true"]
    done = subprocess.run(
        command,
        env=environ(server, tmp_path),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert "lessor.agent.leash" in loaded
    assert "lessor.agent.agent" in loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & SLOW
    assert "lessor_daemon" not in packages
    print(f"{len(loaded)} modules")


@pytest.mark.timeout(180)
def test_a_run_takes_a_few_times_a_bare_python(server: FakeServer, tmp_path: Path) -> None:
    """Interleaved, and the fastest of each: what else the machine does must not decide."""
    variables = environ(server, tmp_path)

    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    bare, run = [], []
    for _ in range(25):
        bare.append(seconds(sys.executable, "-c", "pass"))
        run.append(seconds(str(LESSOR), "run", "-l", "kre", "--", "true"))
    ratio = min(run) / min(bare)
    print(
        f"lessor run -- true: {min(run) * 1000:.0f} ms, {ratio:.1f} times a bare python; "
        f"medians: {statistics.median(run) / statistics.median(bare):.1f} times"
    )
    assert ratio <= MOST_WALL


def private_kb(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))


def test_agent_and_leash_have_little_memory_of_their_own(
    start: Callable[..., Run], server: FakeServer, tmp_path: Path
) -> None:
    variables = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    for _ in range(2):  # the first one compiles
        run = start("-l", "kre", "--", "sleep", "1000", environ=variables)
        run.event("started")
        agent, leash = private_kb(run.agent), private_kb(run.leash)
        os.kill(run.agent, signal.SIGTERM)
        run.wait()
    waiting = [sys.executable, "-c", "print(flush=True); import sys; sys.stdin.read()"]
    with subprocess.Popen(
        waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ(server, tmp_path)
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        bare = private_kb(process.pid)
        process.communicate()
    ratio = (agent + leash) / bare
    print(f"agent {agent} kB + leash {leash} kB private, {ratio:.2f} times a bare python")
    assert ratio <= MOST_MEMORY
