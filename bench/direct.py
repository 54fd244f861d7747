"""The scripts as Redis sees them: called directly, without a daemon. The limits of the store."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import hiredis
import msgpack
from lessor_daemon.leasing.holders import pack_holder
from lessor_daemon.store import keys, scripts
from lessor_protocol.messages import AcquireRequest, Machine, Process

from .wire import lease_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lessor_daemon.store.lua import Script

MARGIN_MS = 3_000
CONTEXT = scripts.Context(
    claim_ms=None,
    seen_ms=0,
    epoch=0,
    replid="",
    highest_epoch=0,
    epoch_floor=0,
    recovery_ms=63_000,
    trust="durable",
)
"""Of a caller without an anchor: it never moves the lease clock."""
LABELS = {"job": "https://ci.example.com/acme/checkout/1234567", "branch": "main", "run": "x" * 36}
"""About 100 bytes, as a CI job has them."""
OWNER = "key:bench"
REQUEST = AcquireRequest(
    bytes(16), "kre", Machine("machine-1"), Process(4711, "pytest -q", "ada"), labels=LABELS
)
AT_ONCE = 200
"""Commands in one round trip while leases are made."""


class _Stopped(Exception):
    pass


class _Recorder:
    """In place of a store: keeps what a typed script function would have sent."""

    def __init__(self) -> None:
        self.sent: tuple[Script, str, list[bytes | str | int]] | None = None

    async def call(self, script: Script, org: str, args: list[bytes | str | int]) -> list[Any]:
        self.sent = (script, org, args)
        raise _Stopped


def command_of(call: Any) -> tuple[Script, list[Any]]:  # noqa: ANN401  # any of ``scripts``' functions
    """The script and the whole EVALSHA that ``call(store)`` sends."""
    recorder = _Recorder()

    async def record() -> None:
        with contextlib.suppress(_Stopped):
            await call(recorder)

    asyncio.run(record())
    if recorder.sent is None:
        raise RuntimeError("no script was called")
    script, org, args = recorder.sent
    return script, ["EVALSHA", script.sha, 1, keys.clock(org), *args]


class Commands:
    """Packed commands of one organization and license."""

    def __init__(
        self,
        org: str,
        license: str = "kre",
        *,
        machines: int = 1_000,
        may_wait: bool = False,
    ) -> None:
        self._org = org
        self._machines = machines
        acquire, self._acquire = command_of(
            lambda store: scripts.acquire(
                store,
                org,
                CONTEXT,
                lease_id=b"",
                license=license,
                machine="",
                ephemeral=False,
                fingerprint=bytes(8),
                owner=OWNER,
                holder=pack_holder(REQUEST, "abcdefgh"),
                labels=msgpack.packb(LABELS),
                least_seats=1,
                most_seats=1,
                may_wait=may_wait,
                margin_ms=MARGIN_MS,
                wall_ms=1_800_000_000_000,
            )
        )
        release, self._release = command_of(
            lambda store: scripts.release(
                store, org, CONTEXT, b"", asker=OWNER, may_end_others=False
            )
        )
        renew, self._renew = command_of(
            lambda store: scripts.renew(store, org, CONTEXT, [], margin_ms=MARGIN_MS)
        )
        self.sources = [acquire.source, release.source, renew.source]

    def load(self, sock: socket.socket) -> None:
        """Make the server know the scripts."""
        call(sock, [pack("SCRIPT", "LOAD", source) for source in self.sources])

    def acquire(self, number: int) -> bytes:
        """Acquire the lease of this number."""
        command = list(self._acquire)
        command[5] = lease_id(number)
        command[7] = f"machine-{number % self._machines}"
        return pack(*command)

    def release(self, number: int) -> bytes:
        """Release it."""
        command = list(self._release)
        command[5] = lease_id(number)
        return pack(*command)

    def renew(self, numbers: range) -> bytes:
        """Renew them in one call."""
        return pack(*self._renew, *(lease_id(number) for number in numbers))


def grant(store_socket: Path, numbers: range, *, org: str = "bench", machines: int = 1_000) -> None:
    """Grant the leases of these numbers of license ``kre``, by the script itself."""
    commands = Commands(org, machines=machines)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(store_socket))
        commands.load(sock)
        for start in range(numbers.start, numbers.stop, AT_ONCE):
            stop = min(start + AT_ONCE, numbers.stop)
            call(sock, [commands.acquire(number) for number in range(start, stop)])


def call(sock: socket.socket, commands: Sequence[bytes]) -> list[Any]:
    """Send all of ``commands``, which should be some hundreds at most, and take their replies."""
    sock.sendall(b"".join(commands))
    reader = hiredis.Reader()
    replies: list[Any] = []
    while len(replies) < len(commands):
        reader.feed(sock.recv(256 * 1024))
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            replies.append(reply)
    return replies


def pack(*words: bytes | str | int) -> bytes:
    """A Redis command."""
    texts = tuple(str(one) if isinstance(one, int) else one for one in words)
    packed: bytes = hiredis.pack_command(texts)  # type: ignore[arg-type]  # its own type means a tuple of one
    return packed
