"""The demo's tests: they take a while, and they have a child process, as browser tests do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEATS = Path(os.environ["DEMO_BEATS"])
SECONDS = float(os.environ["DEMO_SECONDS"])


def beat(name):
    """Note that this very process is alive now. The clock is the same for all processes."""
    with BEATS.joinpath(f"{os.environ['DEMO_RUN']}.{name}.{os.getpid()}").open("a") as file:
        file.write(f"{time.monotonic()}\n")


@pytest.fixture(scope="session", autouse=True)
def browser():
    """Stands for the browser that a real test starts: a process of its own that stays alive."""
    beat("pytest")
    child = subprocess.Popen([sys.executable, "-c", CHILD])
    yield child
    child.kill()
    child.wait()
    beat("pytest")


CHILD = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_checkout import beat
while True:
    beat("browser")
    time.sleep(0.01)
"""


@pytest.mark.parametrize("step", ["cart", "address", "payment", "receipt"])
def test_checkout(step):
    until = time.monotonic() + SECONDS / 4
    while time.monotonic() < until:
        beat("pytest")
        time.sleep(0.01)
