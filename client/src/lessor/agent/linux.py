"""What only the Linux kernel can promise: adoption of orphans, and death with the parent."""

from __future__ import annotations

import ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IS_LINUX = sys.platform.startswith("linux")

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9

WEAKER_ELSEWHERE = (
    "outside Linux the promise is weaker: a descendant that leaves the command's process group "
    "can outlive the seat, the death of lessor may be noticed only at the deadline, and time spent "
    "suspended is not counted"
)


def _find_prctl() -> Callable[..., int] | None:
    if not IS_LINUX:
        return None
    try:
        found: Callable[..., int] = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    return found


_prctl = _find_prctl()
# Looked up at import, before any fork: a child between fork and exec should load nothing.


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends. Whether the kernel can."""
    return _prctl is not None and _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent ends; at once if it has ended already.

    Kept over exec, not over a set-uid exec.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), _SIGKILL)


def set_name(name: str) -> None:
    """The name that ``ps`` and ``top`` show for this process (at most 15 bytes)."""
    if _prctl is not None:
        _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)
