"""Signals: what the user had set, what we take for ourselves, what the command gets back."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
    signal.SIGTSTP,
)
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Those that end ``lessor run`` while it waits for a seat."""

_CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)


class Inherited:
    """The dispositions and the mask that this process was started with.

    Python ignores SIGPIPE and SIGXFSZ before we can look; a command gets their defaults.
    """

    def __init__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        looked_at = (*FORWARDED, *_TERMINAL, signal.SIGCHLD)
        self.ignored = frozenset(s for s in looked_at if signal.getsignal(s) == signal.SIG_IGN)

    def restore(self) -> None:
        """For the child between fork and exec."""
        for signum in (*FORWARDED, *_TERMINAL, signal.SIGCHLD, *_CHANGED_BY_PYTHON):
            ignored = signum in self.ignored
            signal.signal(signum, signal.SIG_IGN if ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


class Inbox:
    """Signals that have arrived, read as data through a descriptor that ``poll`` can watch."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for end in (self._reading, self._writing):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """For ``poll``."""
        return self._reading

    def accept(self, signums: Iterable[int]) -> None:
        """Take these signals from now on; also when they were blocked by whoever started us."""
        for signum in signums:
            signal.signal(signum, _noted)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signum,))

    def take(self) -> list[int]:
        """What arrived since the last call, oldest first."""
        try:
            return list(os.read(self._reading, 512))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop listening: for a forked child that has an inbox of its own."""
        signal.set_wakeup_fd(-1)
        os.close(self._reading)
        os.close(self._writing)


def ignore(signums: Iterable[int]) -> None:
    """Be deaf to these."""
    for signum in signums:
        signal.signal(signum, signal.SIG_IGN)


def _noted(_signum: int, _frame: object) -> None:
    """The wake-up descriptor has carried the number already."""


def parse_signal(text: str) -> int:
    """``TERM``, ``SIGTERM`` or ``15``. Raises ``ValueError``."""
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        name = text.upper()
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a signal such as TERM, INT or 15") from None


def signal_name(signum: int) -> str:
    """``SIGTERM`` for 15."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
