"""The standard streams, as a caller may have left them: closed, full, or knowing few letters."""

from __future__ import annotations

import errno
import io
import os
import sys

from .errors import LessorError

_STANDARD_FDS = 3


class _Dead(io.StringIO):
    """In the place of a stream that cannot be written: each try ends as the first one did."""

    def __init__(self, trouble: OSError) -> None:
        super().__init__()
        self._trouble = trouble

    def write(self, _text: str) -> int:
        """Raises ``OSError``."""
        raise self._trouble


def mend() -> None:
    """Make them usable, before anything else is opened.

    What is closed becomes ``/dev/null``, or a pipe to a server could get its number and so be
    handed to a child as its standard stream. Python has no object for it either: input is then
    empty, errors go nowhere, and output fails when it is written, because somebody wanted it.
    """
    _open_missing()
    if sys.stdin is None:
        sys.stdin = io.StringIO()
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:
        sys.stdout = _Dead(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    for stream in (sys.stdin, sys.stdout):
        # A letter that the terminal does not know is no reason to fail. On stderr Python says so.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _open_missing() -> None:
    for fd in range(_STANDARD_FDS):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one, because those below are open by now.
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)


def write(text: str) -> None:
    """Text on stdout, at once.

    Raises ``BrokenPipeError`` when its reader has gone, ``LessorError`` for any other trouble.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in its buffer would be tried again, and complained about, at the very end.
        sys.stdout = _Dead(error)
        if isinstance(error, BrokenPipeError):
            raise
        raise LessorError(f"standard output cannot be written: {error.strerror}") from None
