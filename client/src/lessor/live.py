"""A view that is drawn again and again: on a terminal over itself, elsewhere line below line.

Plain ANSI, no curses: the view lives on the terminal's alternate screen, so whatever stood there
before is there again afterwards, also after Ctrl-C, SIGTERM and an error.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager

from . import streams
from .clock import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType
    from typing import NoReturn

_ENTER = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, and no cursor on it."""
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
_CLEAR_LINE = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"

_FALLBACK = (80, 24)
_SLICE_MS = 250


class Stopped(Exception):
    """SIGTERM or SIGHUP came."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def fit(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """What of ``lines`` fits a screen; the last row says how many do not."""
    shown = [line if len(line) <= columns else f"{line[: columns - 1]}…" for line in lines]
    if len(shown) <= rows:
        return shown
    hidden = len(shown) - rows + 1
    return [*shown[: rows - 1], f"… {hidden} more lines; a higher window shows them"[:columns]]


def frame(lines: Sequence[str], columns: int, rows: int) -> str:
    """The bytes that draw ``lines`` over what was there, without a flicker."""
    # No line end after the last one: on the lowest row it would scroll.
    drawn = f"{_CLEAR_LINE}\r\n".join(fit(lines, columns, rows))
    return f"{_HOME}{drawn}{_CLEAR_LINE}{_CLEAR_BELOW}"


def show(look: Callable[[], Sequence[str]], every_ms: int) -> NoReturn:
    """Show what ``look`` answers, for ever.

    Ends by ``KeyboardInterrupt``, ``Stopped`` or what ``look`` raises, the terminal as it was.
    """
    with _raising_on_signals():
        if not sys.stdout.isatty():
            _repeat(look, every_ms)
        with _alternate_screen():
            _draw(look, every_ms)


def _draw(look: Callable[[], Sequence[str]], every_ms: int) -> NoReturn:
    lines: Sequence[str] = ()
    due_ms = now_ms()
    size = _size()
    while True:
        if now_ms() >= due_ms:
            lines = look()
            due_ms = now_ms() + every_ms
        size = _size()
        _write(frame(lines, *size))
        while now_ms() < due_ms and _size() == size:
            select.select([], [], [], min(_SLICE_MS, max(0, due_ms - now_ms())) / 1000)


def _repeat(look: Callable[[], Sequence[str]], every_ms: int) -> NoReturn:
    """Where nobody can go back up: the whole view again, but only when it has changed."""
    before: list[str] = []
    while True:
        lines = list(look())
        if lines != before:
            _write("\n".join([*lines, "", ""]))
        before = lines
        select.select([], [], [], every_ms / 1000)


@contextmanager
def _alternate_screen() -> Iterator[None]:
    _write(_ENTER)
    try:
        yield
    finally:
        _write(_LEAVE)


@contextmanager
def _raising_on_signals() -> Iterator[None]:
    """End by an exception, so that the terminal is put right on the way out."""

    def stop(signum: int, _frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _size() -> tuple[int, int]:
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return _FALLBACK
    return (found.columns or _FALLBACK[0], found.lines or _FALLBACK[1])


def _write(text: str) -> None:
    streams.write(text)
