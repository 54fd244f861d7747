"""What ``lessor run`` costs beside a bare Python: wall time, and memory that nobody shares."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from . import servers
from .arithmetic import REPETITIONS, alternately, at_most, figure_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .arithmetic import Figure

LESSOR = str(Path(sys.executable).with_name("lessor"))
STARTS = 4 * REPETITIONS
"""A start takes some ten milliseconds: more of them cost little."""


def wall(directory: Path, *, over_tls: bool) -> Figure:
    """``lessor run -- true`` from start to end beside ``python -c pass``."""
    with _environment(directory, over_tls=over_tls) as environ:

        def seconds(*command: str) -> float:
            began = time.perf_counter()
            subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, check=True)
            return time.perf_counter() - began

        ours, theirs = alternately(
            STARTS,
            lambda: seconds(LESSOR, "run", "-l", "kre", "--", "true"),
            lambda: seconds(sys.executable, "-c", "pass"),
        )
    reach = at_most(9 if over_tls else 6)
    return figure_of(_name("wall", over_tls), "python -c pass", ours, theirs, reach, "s")


def memory(directory: Path, *, over_tls: bool) -> Figure:
    """Private memory of agent and leash, while the command sleeps, beside that of a bare Python."""
    with _environment(directory, over_tls=over_tls) as environ:
        ours, theirs = alternately(REPETITIONS, lambda: _of_run(environ), lambda: _of_bare(environ))
    reach = at_most(5 if over_tls else 3.5)
    return figure_of(_name("private memory", over_tls), "a bare python", ours, theirs, reach, "kB")


def _name(what: str, over_tls: bool) -> str:
    return f"lessor run over {'https' if over_tls else 'http'}, {what}"


def _of_run(environ: dict[str, str]) -> float:
    events, writer = os.pipe()
    command = [LESSOR, "run", "-l", "kre", "--events-fd", str(writer), "--", "sleep", "60"]
    with subprocess.Popen(
        command, env=environ, pass_fds=[writer], stdin=subprocess.DEVNULL
    ) as process:
        os.close(writer)
        with os.fdopen(events) as lines:
            told = (json.loads(line) for line in lines)
            started = next(one for one in told if one["event"] == "started")
            used = sum(_private_kb(started[f"{who}_pid"]) for who in ("agent", "leash"))
            process.terminate()
            process.wait()
    return used


def _of_bare(environ: dict[str, str]) -> float:
    waiting = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(
        waiting, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdout is not None:
            process.stdout.readline()
        used = _private_kb(process.pid)
        process.communicate(b"\n")
    return used


def _private_kb(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))


@contextlib.contextmanager
def _environment(directory: Path, *, over_tls: bool) -> Iterator[dict[str, str]]:
    """The variables of a client of a running daemon."""
    with contextlib.ExitStack() as stack:
        _, store_socket = stack.enter_context(servers.store(directory / "store"))
        daemon = stack.enter_context(servers.daemon(directory / "daemon", store_socket))
        environ = os.environ | {
            "LESSOR_URL": f"http://127.0.0.1:{daemon.port}",
            "LESSOR_API_KEY": daemon.key(),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(directory / "compiled"),
        }
        if over_tls:
            authority, certificate = trustme.CA(), directory / "server.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
                str(certificate)
            )
            authority.cert_pem.write_to_path(str(directory / "ca.pem"))
            port = stack.enter_context(servers.tls_relay(directory, daemon.port, certificate))
            environ |= {
                "LESSOR_URL": f"https://127.0.0.1:{port}",
                "SSL_CERT_FILE": str(directory / "ca.pem"),
            }
        yield environ
