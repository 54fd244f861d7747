"""The ``lessor`` command as a person or a script runs it against a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from .daemon import clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from .daemon import DaemonProcess


class Shell:
    """Runs commands with a home directory of their own. ``key`` names whose key they show."""

    def __init__(self, home: Path, daemon: DaemonProcess | None = None, key: str = "owner") -> None:
        self.home = home
        self.environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TZ": "UTC"}
        self._daemon = daemon
        self._key = key

    def with_key(self, key: str) -> Shell:
        """The same for somebody else."""
        return Shell(self.home, self._daemon, key)

    def environment(self, **extra: str) -> dict[str, str]:
        """What a command sees."""
        settings = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_STATE_HOME"), "") | self.environ
        if self._daemon is not None:
            settings["LESSOR_URL"] = self._daemon.url
            settings["LESSOR_API_KEY"] = self._daemon.key(self._key)
        return clean_environ(settings | extra)

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end. ``extra`` is put into its environment."""
        return self._run([sys.executable, "-m", "lessor", *arguments], extra)

    def script(self, script: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """A script of bash in which ``$lessor`` is the command.

        Python keeps back what it writes, as it usually does, also where the tests' own does not.
        """
        settings = {"lessor": f"{sys.executable} -m lessor", "PYTHONUNBUFFERED": ""}
        return self._run(["bash", "-c", script], settings | extra)

    def _run(self, command: list[str], extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment(**extra),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def text(self, *arguments: str) -> str:
        """The standard output of a command that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command says
        """The same with ``--json``, read."""
        return json.loads(self.text(*arguments, "--json"))

    def refused(self, code: int, *arguments: str) -> str:
        """What a command says that must end with this code; it prints nothing."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), f"{arguments}: {done}"
        return done.stderr
