"""``lessor`` on a Unix that is not Linux, as far as it can tell. Run as a program.

Gone is what macOS lacks: the platform's name, ``/proc``, ``CLOCK_BOOTTIME``, ``pipe2``, ``pidfd``
and socket pairs that keep the bounds of packets and show the death of a peer.
"""

from __future__ import annotations

import builtins
import os
import runpy
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WRAPPER = (sys.executable, __file__)
"""Goes before a ``lessor run``."""
_access = os.access


def _without_proc(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(path: Any, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - as the wrapped
        if str(path).startswith("/proc"):
            if call is _access:
                return False
            raise FileNotFoundError(path)
        return call(path, *arguments, **more)

    return wrapped


def _become_another_unix() -> None:
    sys.platform = "darwin"
    for module, name in (
        (os, "pipe2"),
        (os, "pidfd_open"),
        (time, "CLOCK_BOOTTIME"),
    ):
        delattr(module, name)
    for module, name in ((os, "open"), (os, "listdir"), (os, "access"), (builtins, "open")):
        setattr(module, name, _without_proc(getattr(module, name)))
    socketpair = socket.socketpair

    def pair(family: int, kind: int) -> tuple[socket.socket, socket.socket]:
        if kind == socket.SOCK_SEQPACKET:
            raise OSError("Protocol not supported")
        return socketpair(family, kind)

    socket.socketpair = pair  # type: ignore[assignment]  # ours to the end


if __name__ == "__main__":
    # elsewhere.py python -m lessor ARGUMENTS…
    sys.argv = ["lessor", *sys.argv[4:]]
    sys.path.pop(0)
    _become_another_unix()
    runpy.run_module("lessor", run_name="__main__")
