"""The controlling terminal and who may use it: job control as a shell does it.

The command has a process group of its own, so the terminal must be handed to it, or Ctrl-C would
not reach it and reading would stop it. ``setsid`` would be simpler and wrong: a new session has no
terminal at all.

Handed over at the start when standard input and output are the terminal. Otherwise
(``lessor run … | less``, ``… < file``) our group may hold others who use it, so it is handed over
only when the command is stopped for wanting it.
"""

from __future__ import annotations

import os
import signal
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WANTS_TERMINAL = frozenset({signal.SIGTTIN, signal.SIGTTOU})


class Terminal:
    """The terminal of this session, if there is one; otherwise every call does nothing.

    Whoever calls ``give`` or ``take_back`` must ignore or block SIGTTOU.
    """

    def __init__(self, fd: int | None, group: int, *, hand_over: bool = False) -> None:
        self._fd = fd
        self._group = group
        self._attributes: list[Any] | None = None
        self.hand_over = hand_over

    @classmethod
    def find(cls) -> Terminal:
        """Look for it. The descriptor is closed by exec."""
        group = os.getpgrp()
        try:
            fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return cls(None, group)
        terminal = cls(fd, group)
        terminal.hand_over = terminal.is_ours() and os.isatty(0) and os.isatty(1)
        terminal.remember()
        return terminal

    @property
    def exists(self) -> bool:
        """Whether this session has a terminal."""
        return self._fd is not None

    def foreground(self) -> int:
        """The process group that has the terminal now; 0 for none."""
        if self._fd is None:
            return 0
        try:
            return os.tcgetpgrp(self._fd)
        except OSError:
            return 0

    def is_ours(self) -> bool:
        """Whether the group of ``lessor run`` has it."""
        return self.foreground() == self._group

    def give(self, group: int) -> bool:
        """Let ``group`` have it, if it is ours to give."""
        return self.is_ours() and self._set(group)

    def take_back(self, group: int) -> bool:
        """Take it from ``group``; from nobody else: a shell may have given it away since."""
        return group != 0 and self.foreground() == group and self._set(self._group)

    def remember(self) -> None:
        """Keep the modes (echo, line editing …) as they are, for ``repair``."""
        if self._fd is not None:
            try:
                self._attributes = termios.tcgetattr(self._fd)
            except termios.error:
                self._attributes = None

    def repair(self) -> None:
        """Set the modes again that were remembered: a killed command cannot do it itself."""
        if self._fd is not None and self._attributes is not None and self.is_ours():
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._attributes)
            except termios.error:
                return

    def _set(self, group: int) -> bool:
        if self._fd is None:
            return False
        try:
            os.tcsetpgrp(self._fd, group)
        except OSError:
            return False
        return True
