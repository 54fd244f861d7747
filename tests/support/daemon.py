"""A real ``lessor serve`` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .calls import Caller
from .forked import ForkedDaemon
from .waiting import wait_until

READY_SECONDS = 60.0
_FOR_INTERPRETERS = re.compile("LD_|PYTHON")

BOOTSTRAP = """
[[organization]]
slug = "acme"
name = "Acme Testing"
members = [
  { email = "ada@example.com", role = "owner" },
  { email = "bob@example.com", role = "member" },
]
[[organization.license]]
name = "kre"
seats = 2
ttl = "30s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "ci.key"
[[organization.key]]
name = "admin"
scopes = ["run", "read", "admin"]
member = "ada@example.com"
secret_file = "admin.key"
[[organization.key]]
name = "reader"
scopes = ["read"]
secret_file = "reader.key"
[[organization.key]]
name = "old"
scopes = ["run"]
secret_file = "old.key"
expires = 2020-01-01T00:00:00Z
[[organization.key]]
name = "gone"
scopes = ["run"]
secret_file = "gone.key"
revoked = true

[[organization]]
slug = "other"
[[organization.license]]
name = "kre"
seats = 1
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret_file = "other.key"
"""


class DaemonProcess:
    """Starts, kills, stops and restarts one daemon on one directory.

    Key files of the bootstrap lie in ``directory``, its data in ``directory/data``. A restart keeps
    the port. Everything it wrote is in ``log_path``. It has an interpreter of its own unless
    ``is_forked``, or where ``environ`` has what only an interpreter reads.
    """

    is_forked = True

    def __init__(
        self, directory: Path, *options: str, bootstrap: str | None = BOOTSTRAP, **environ: str
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.log_path = directory / "log"
        self.url = ""
        self._options = options
        self._environ = environ
        self._port = "0"
        self._process: subprocess.Popen[bytes] | ForkedDaemon | None = None
        self._bootstrap = None
        if bootstrap is not None:
            self._bootstrap = directory / "bootstrap.toml"
            self._bootstrap.write_text(bootstrap)

    @property
    def pid(self) -> int:
        """Of the daemon, not of its store."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._running().poll()

    def start(self, *more: str, until: str = "ready", seconds: float = READY_SECONDS) -> None:
        """Start it, this time with ``more`` options, and wait for the log line ``until``."""
        options = ["--listen", f"127.0.0.1:{self._port}", "--data-dir", str(self.data_dir)]
        options += ["--log-format", "json"]
        if self._bootstrap is not None:
            options += ["--bootstrap", str(self._bootstrap)]
        seen = len(self.log_lines())
        process = self._process = self._begin([*options, *self._options, *more])

        def line() -> dict[str, Any] | None:
            for one in self.log_lines()[seen:]:
                if one["event"] == until:
                    return one
            if process.poll() is not None:
                raise AssertionError(f"the daemon ended: {self.log_lines()[seen:]}")
            return None

        found = wait_until(line, seconds, f"the daemon to log {until!r}")
        if found and "url" in found:
            self.url = found["url"]
            self._port = self.url.rpartition(":")[2]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        self._running().send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        """Its exit code."""
        return self._running().wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self) -> None:
        """SIGKILL and a new start on the same port and data."""
        self.kill()
        self.start()

    def end(self) -> None:
        """Leave nothing running, whatever the state."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def key(self, name: str = "ci") -> str:
        """An API key of the bootstrap file, or ``owner`` and ``operator`` of the first start."""
        for path in (self.directory / f"{name}.key", self.data_dir / f"{name}.key"):
            if path.exists():
                return path.read_text().strip()
        raise AssertionError(f"no key file for {name!r}")

    def caller(self, key: str = "ci") -> Caller:
        """Calls this daemon with a key, by its name."""
        return Caller(self.url, self.key(key))

    def script_calls(self, script: str) -> float:
        """How often the daemon has asked its store this, as its metrics say."""
        text = self.anonymous().call("GET", "/metrics").body
        counted = rf'^lessor_store_seconds_count{{script="{script}"}} (.+)$'
        return sum(map(float, re.findall(counted, text, re.MULTILINE)))

    def anonymous(self) -> Caller:
        """Calls this daemon without a key."""
        return Caller(self.url)

    def log_lines(self) -> list[dict[str, Any]]:
        """Every whole line it has written; each must be a JSON object."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        found = [json.loads(line) for line in lines]
        assert all(isinstance(one, dict) for one in found)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.log_lines() if line["event"] == name]

    def store_pid(self) -> int | None:
        """The pid of the embedded store's child."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        pids = [int(one) for one in children.split()]
        return pids[0] if pids else None

    def store_socket(self) -> Path | None:
        """Where the embedded store listens, as its process' title says; None while it is away."""
        pid = self.store_pid()
        title = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") if pid else ""
        _, word, path = title.rstrip("\0 ").partition("unixsocket:")
        return Path(path) if word else None

    def _begin(self, arguments: list[str]) -> subprocess.Popen[bytes] | ForkedDaemon:
        environ = clean_environ(self._environ)
        if self.is_forked and not any(map(_FOR_INTERPRETERS.match, self._environ)):
            return ForkedDaemon(arguments, self.log_path, environ)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "lessor_daemon", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )

    def _running(self) -> subprocess.Popen[bytes] | ForkedDaemon:
        assert self._process is not None, "the daemon was not started"
        return self._process


MakeDaemon = Callable[..., DaemonProcess]
"""The fixture ``make_daemon``: options, then environment by keyword."""


def clean_environ(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Our environment without any setting of Lessor's, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LESSOR_")}
    return {**kept, **(extra or {})}
