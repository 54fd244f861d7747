"""A store outside the daemon that can lose its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .redis_server import start_redis

if TYPE_CHECKING:
    from pathlib import Path

    from .redis_server import RedisServer

DURABLE_OPTIONS = ("--appendonly", "yes", "--appendfsync", "always")


class ExternalStore:
    """A Redis that can be killed and come back with its data, an older state, or none."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self.directory = directory
        self.server: RedisServer | None = None

    def start(self) -> str:
        """The URL, once it answers."""
        self.server = start_redis(self._binary, self.directory, *DURABLE_OPTIONS)
        return self.server.url

    def kill(self) -> None:
        """SIGKILL."""
        if self.server is not None:
            self.server.stop()

    def forget(self) -> None:
        """Delete what is on disk."""
        for path in sorted(self.directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def log_size(self) -> int:
        """Bytes of the log of writes so far."""
        return self._log.stat().st_size

    def cut_log(self, size: int) -> None:
        """Lose the tail of the log: what a crash does to writes that were not on disk yet."""
        with self._log.open("r+b") as file:
            file.truncate(size)

    @property
    def _log(self) -> Path:
        (found,) = self.directory.rglob("*.incr.aof")
        return found

    def copy(self) -> dict[Path, bytes]:
        """What is on disk; each write is, as soon as it is answered."""
        return {path: path.read_bytes() for path in self.directory.rglob("*") if path.is_file()}

    def put_back(self, copy: dict[Path, bytes]) -> None:
        """Come back as it was when the copy was made."""
        self.kill()
        self.forget()
        for path, content in copy.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.start()
