"""A real ``lessor run`` against a server, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from .fake_server import KEY
from .waiting import wait_until

_MARK = "LESSOR_TEST_MARK"

_UNMOUNT = (
    "for point in $(awk '/ - cgroup2 / {print $5}' /proc/self/mountinfo); do umount $point; done; "
    'exec "$@"'
)
WITHOUT_CGROUP = ("unshare", "-m", "sh", "-c", _UNMOUNT, "sh") if os.geteuid() == 0 else ()
"""A wrapper that hides the control groups. Who is not root can rarely make one anyway."""


class Run:
    """One ``lessor run``. Every process of it carries a mark in its environment.

    ``survivors`` are the living processes of the command's tree: all that carry the mark but the
    agent and the leash.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *arguments: str,
        environ: dict[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
        pass_fds: tuple[int, ...] = (),
        **popen: Any,  # noqa: ANN401 - subprocess' own
    ) -> None:
        self.mark = uuid.uuid4().hex
        self._events_path = directory / f"events-{self.mark}"
        self.stderr_path = directory / f"stderr-{self.mark}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LESSOR_")}
        kept |= {"LESSOR_URL": url, "LESSOR_API_KEY": KEY, _MARK: self.mark, "HOME": str(directory)}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **popen}
        with self._events_path.open("wb") as events, self.stderr_path.open("wb") as stderr:
            command = [sys.executable, "-m", "lessor", "run", "--events-fd", str(events.fileno())]
            self.process = subprocess.Popen(
                [*wrapper, *command, *arguments],
                **{"stderr": stderr, **options},
                env=kept | (environ or {}),
                pass_fds=(events.fileno(), *pass_fds),
            )

    @property
    def stderr(self) -> str:
        """What it said so far."""
        return self.stderr_path.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events so far."""
        lines = self._events_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def event(self, name: str, seconds: float = 10.0) -> dict[str, Any]:
        """The first event of this name; waited for."""

        def find() -> dict[str, Any] | None:
            return next((one for one in self.events if one["event"] == name), None)

        return wait_until(find, seconds, f"the event {name!r}; stderr: {self.stderr}") or {}

    @property
    def agent(self) -> int:
        """The agent's pid."""
        return self.process.pid

    @property
    def leash(self) -> int:
        """The leash's pid; waits for the start."""
        return int(self.event("started")["leash_pid"])

    @property
    def child(self) -> int:
        """The command's pid; waits for the start."""
        return int(self.event("started")["child_pid"])

    def marked(self) -> set[int]:
        """All living processes of this run, agent and leash included. Zombies are not alive."""
        mark = f"{_MARK}={self.mark}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mark in (entry / "environ").read_bytes():
                        found.add(int(entry.name))
                except OSError:
                    continue
        return found

    def survivors(self) -> set[int]:
        """Living processes of the command's tree."""
        started = next((one for one in self.events if one["event"] == "started"), None)
        own = {self.agent} | ({started["leash_pid"]} if started else set())
        return self.marked() - own

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def output(self, seconds: float = 20.0) -> bytes:
        """Its standard output, until the end."""
        output: bytes = self.process.communicate(timeout=seconds)[0]
        return output

    def wait_for_tree(self, size: int) -> None:
        """Until the command's tree has ``size`` living processes, and the agent knows of it."""
        self.event("started")
        wait_until(lambda: len(self.survivors()) >= size, 20.0, f"{size} processes in the tree")

    def dead_after(self, seconds: float = 20.0) -> float:
        """Waits until nothing of the tree lives; the monotonic time when that was seen.

        To look at all processes of a machine takes a while. So those that are known are watched,
        and only once they are dead all are looked at, for any that came since.
        """
        give_up = time.monotonic() + seconds
        known = self.survivors()
        while True:
            _wait_for_death(known, give_up - time.monotonic())
            dead = time.monotonic()
            known = self.survivors()
            if not known:
                return dead

    def end(self) -> None:
        """Kill whatever is left, by pid."""
        for pid in self.marked():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


def _wait_for_death(pids: set[int], seconds: float) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), seconds, "the tree to be dead")


def is_alive(pid: int) -> bool:
    """Whether ``pid`` exists and is no zombie."""
    return _state(pid) not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether a SIGSTOP has arrived at ``pid``."""
    return _state(pid) == "T"


def _state(pid: int) -> str:
    """The letter that ``/proc`` shows, or none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    begin = stat.rfind(b")") + 2
    return stat[begin : begin + 1].decode()
