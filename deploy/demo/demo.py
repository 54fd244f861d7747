"""Six pytest runs want two seats: who gets one, who waits, and what happens when things die.

Starts a daemon on the embedded store, runs real pytest processes under ``lessor run``, kills one
holder's agent and the daemon itself with SIGKILL, and counts from the test processes' own records
how many runs were ever alive at once. Exits 0 only if that never passed the seats.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
LESSOR = Path(sys.executable).parent / "lessor"
SEATS = 2
MACHINES = 2
RUNS = 6
TEST_SECONDS = 2.4
KILL_AGENT_AT = 1.2
KILL_DAEMON_AT = 3.6
GIVE_UP_SECONDS = 55.0

BOOTSTRAP = f"""
[[organization]]
slug = "demo"

[[organization.license]]
name = "kre"
seats = {SEATS}
machines = {MACHINES}

[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
"""


class Daemon:
    """``lessor serve`` on a free port, which it keeps over a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = "127.0.0.1:0"
        self.process: subprocess.Popen[str] | None = None
        (directory / "bootstrap.toml").write_text(BOOTSTRAP)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        """Return when it is ready."""
        log = self.directory / "daemon.log"
        with log.open("a") as file:
            seen = file.tell()
            self.process = subprocess.Popen(
                [
                    *(LESSOR, "serve", "--listen", self.address, "--log-format", "json"),
                    *("--data-dir", self.directory / "data"),
                    *("--bootstrap", self.directory / "bootstrap.toml"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        while self.process.poll() is None:
            for line in log.read_text()[seen:].splitlines():
                record = json.loads(line)
                if record.get("event") == "ready":
                    self.address = record["url"].removeprefix("http://")
                    return
            time.sleep(0.02)
        raise SystemExit(f"the daemon did not start:\n{log.read_text()}")

    def kill(self) -> None:
        """SIGKILL: no good-bye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


class Story:
    """What happened, told line by line."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def tell(self, who: str, what: str) -> None:
        print(f"  {self.seconds:5.1f}s  {who:<8} {what}", flush=True)


class Run:
    """One ``lessor run -- pytest``."""

    def __init__(self, number: int, daemon: Daemon, beats: Path) -> None:
        self.name = f"run {number}"
        self.was_waiting = False
        self.agent_pid: int | None = None
        self.holds_a_seat = False
        events, writer = os.pipe()
        environ = os.environ | {
            "LESSOR_URL": daemon.url,
            "LESSOR_API_KEY_FILE": str(daemon.directory / "ci.key"),
            "DEMO_BEATS": str(beats),
            "DEMO_RUN": str(number),
            "DEMO_SECONDS": str(TEST_SECONDS),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "suite"]
        self.process = subprocess.Popen(
            [
                *(LESSOR, "run", "--quiet", "--license", "kre", "--events-fd", str(writer)),
                *("--machine", f"bench-{number % MACHINES + 1}", "--kill-after", "2s"),
                *("--", *command, f"--rootdir={HERE / 'suite'}", "-c", "/dev/null"),
            ],
            env=environ,
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(writer)
        self.events = os.fdopen(events)

    def follow(self, line: str, story: Story) -> None:
        """Tell one event."""
        event = json.loads(line)
        kind = event["event"]
        if kind == "waiting" and not self.was_waiting:
            self.was_waiting = True
            story.tell(self.name, f"waits for a seat, place {event.get('position', '?')}")
        elif kind == "granted":
            story.tell(self.name, "got a seat")
        elif kind == "started":
            self.agent_pid = event["agent_pid"]
            self.holds_a_seat = True
        elif kind == "lost":
            story.tell(self.name, "lost its seat")
        elif kind == "released":
            self.holds_a_seat = False
            story.tell(self.name, "returned its seat")


def most_at_once(beats: Path) -> tuple[int, int]:
    """The most runs that were alive at one time, and how many runs there were.

    Each process of a run wrote down the times at which it was alive. A run lives from the first of
    them to the last, over all its processes.
    """
    alive: dict[str, list[float]] = {}
    for file in beats.iterdir():
        run = file.name.partition(".")[0]
        alive.setdefault(run, []).extend(float(line) for line in file.read_text().split())
    edges = [(min(times), 1) for times in alive.values()]
    edges += [(max(times), -1) for times in alive.values()]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most, len(alive)


def play(daemon: Daemon, beats: Path, story: Story) -> list[int]:
    """Run everything; the exit codes of the runs, in order."""
    runs = [Run(number, daemon, beats) for number in range(1, RUNS + 1)]
    selector = selectors.DefaultSelector()
    for run in runs:
        selector.register(run.events, selectors.EVENT_READ, run)
    victim: Run | None = None
    daemon_died = False
    while selector.get_map():
        if story.seconds > GIVE_UP_SECONDS:
            raise SystemExit("the runs did not end in time")
        for key, _ in selector.select(timeout=0.05):
            line = key.data.events.readline()
            if line:
                key.data.follow(line, story)
            else:
                selector.unregister(key.fileobj)
                key.data.events.close()
        if victim is None and story.seconds > KILL_AGENT_AT:
            victim = next((run for run in runs if run.holds_a_seat and run.agent_pid), None)
            if victim is not None and victim.agent_pid is not None:
                story.tell(victim.name, "its agent dies of SIGKILL; its leash stops the tests")
                os.kill(victim.agent_pid, signal.SIGKILL)
        if not daemon_died and story.seconds > KILL_DAEMON_AT:
            daemon_died = True
            story.tell("daemon", "dies of SIGKILL; the tests go on")
            daemon.kill()
            daemon.start()
            story.tell("daemon", "is back")
    return [run.process.wait() for run in runs]


def main() -> int:
    """The demo's exit code."""
    with tempfile.TemporaryDirectory(prefix="lessor-demo-") as name:
        directory = Path(name)
        beats = directory / "beats"
        beats.mkdir()
        daemon = Daemon(directory)
        daemon.start()
        print(
            f"{RUNS} pytest runs want the {SEATS} seats of license kre, on {MACHINES} machines:\n"
        )
        story = Story()
        try:
            codes = play(daemon, beats, story)
        finally:
            daemon.stop()
        most, ran = most_at_once(beats)
    passed = codes.count(0)
    killed = codes.count(-signal.SIGKILL)
    print(f"\n{passed} runs passed, {killed} was killed, {ran} of {RUNS} ran at all.")
    print(f"Most runs alive at once, by their own records: {most} (seats: {SEATS})")
    if most > SEATS or passed != RUNS - 1 or killed != 1:
        print("That is not what Lessor promises.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
