"""What the store's callers have to expect."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.errors import TRANSIENT, Problem

from lessor_daemon.errors import DaemonError

if TYPE_CHECKING:
    from collections.abc import Iterator

STUCK_SECONDS = 0.25
"""A call that has taken so long may hang for seconds, its answer lost, though the store is there
again for all others: who comes next makes a call of their own."""

_log = structlog.get_logger(__name__)


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot write now; the same call may succeed later.

    ``reason`` is for the log. ``told`` is what callers hear where that is not for them: a library's
    text may say where the store is.
    """

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(reason)
        self.told = told or reason


class Unconfirmed(StoreUnavailable):
    """It was done, and may be lost: neither a disk nor a replica is known to have it."""


class NewerStore(DaemonError):
    """The data was written by a newer Lessor. Reading it wrongly could break the promise."""

    exit_code = 78


RECOVERING = "recovering"
"""The status of scripts, and the code of the problem."""


def recovering(so: str = "nothing is granted") -> Problem:
    """What a caller gets whose call would have to know all that is in use; ``so`` says it."""
    text = f"the store lost its memory; {so} until old leases have lapsed"
    return Problem(RECOVERING, text, retry_after=1)


def is_unavailable(error: Exception) -> bool:
    """Whether it says no more than that the same call may succeed later."""
    return isinstance(error, StoreUnavailable) or (
        isinstance(error, Problem) and error.code in TRANSIENT
    )


@contextmanager
def store_problems() -> Iterator[None]:
    """Turn ``StoreUnavailable`` into the ``Problem`` that a caller on the wire gets."""
    try:
        yield
    except StoreUnavailable as error:
        _log.info("store_call_failed", reason=str(error))
        raise Problem(
            "store_unavailable", f"the store cannot be used now: {error.told}", retry_after=1
        ) from error
