"""The commands of the README, run as they stand, with another port and shorter waits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.daemon import clean_environ
from support.documents import ROOT, blocks
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "README.md"
BIN = Path(sys.executable).parent
SECONDS = 30


def make_target(name: str) -> str:
    """The last command of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    match = re.search(rf"^{name}:.*\n((?:\t.+\n)+)", text, re.MULTILINE)
    assert match is not None, f"make {name} is not there"
    return match[1].splitlines()[-1].strip().removeprefix("@").replace("$(BIN)/", "")


@pytest.fixture
def url(tmp_path: Path, free_port: int) -> Iterator[str]:
    """What ``make serve`` starts, in a directory of its own and on another port."""
    command = make_target("serve").split()
    log = tmp_path / "log"
    with log.open("wb") as file:
        serving = subprocess.Popen(
            [BIN / command[0], *command[1:], "--listen", f"127.0.0.1:{free_port}"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=clean_environ({}),
        )
    try:
        wait_until(
            lambda: "lessor run -- sleep 5" in log.read_text() or serving.poll() is not None,
            SECONDS,
            "the first steps",
        )
        assert serving.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{free_port}"
    finally:
        serving.terminate()
        serving.wait(SECONDS)


def run_block(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A block of the README in a shell that stops at the first failure."""
    text = text.replace(".venv/bin/lessor", "lessor").replace("sleep 5", "sleep 0.1")
    environ = clean_environ({}) | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-eu", "-c", text],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_first_block_names_targets_of_the_makefile() -> None:
    block = blocks(README, "sh")[0]
    targets = re.findall(r"^make (\w+)", block.text, re.MULTILINE)
    assert targets == ["demo", "serve"]
    assert make_target("demo") == "python deploy/demo/demo.py"


def test_a_first_command_runs_against_the_server_to_keep(tmp_path: Path, url: str) -> None:
    block = blocks(README, "sh")[1]
    done = run_block(block.text.replace("http://127.0.0.1:7420", url), tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^kre +floating +5 ", done.stdout, re.MULTILINE), done.stdout


def test_a_ci_job_gets_the_exit_code_of_its_tests(tmp_path: Path, url: str) -> None:
    job = tmp_path / "run-tests.sh"
    job.write_text("#!/bin/sh\nexit 3\n")
    job.chmod(0o700)
    block = blocks(README, "sh")[2]
    text = block.text.replace("https://lessor.example.com", url)
    text = text.replace("/run/secrets/lessor-key", str(tmp_path / ".lessor" / "owner.key"))
    done = run_block(text, tmp_path)
    assert (done.returncode, done.stderr) == (3, "")


def test_the_demo_that_is_shown_ends_with_no_more_runs_than_seats() -> None:
    (block,) = blocks(README, "text")
    shown = re.search(r"by their own records: (\d+) \(seats: (\d+)\)", block.text)
    assert shown is not None
    assert int(shown[1]) <= int(shown[2])
