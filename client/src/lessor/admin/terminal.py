"""The terminal: how wide it is, whether it shows colour, and whom one can ask."""

from __future__ import annotations

import os
import sys

from lessor.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BOLD, RED, GREEN, YELLOW, DIM = "1", "31", "32", "33", "2"

_NARROWEST = 40

_STATES = {
    "active": GREEN,
    "valid": GREEN,
    "live": GREEN,
    "ending": YELLOW,
    "finishing": YELLOW,
    "revoked": RED,
    "expired": RED,
}


class Style:
    """Colour, or none."""

    def __init__(self, *, has_colour: bool) -> None:
        self._has_colour = has_colour

    @classmethod
    def of_stdout(cls, environ: Mapping[str, str]) -> Style:
        """Colour only on a terminal that can show it, and never against ``NO_COLOR``."""
        wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        return cls(has_colour=wanted and sys.stdout.isatty())

    def paint(self, text: str, colour: str) -> str:
        """``text`` in ``colour``."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colour and colour else text

    def state(self, text: str) -> str:
        """A word such as ``active`` or ``revoked`` in its colour; padding stays as it is."""
        return self.paint(text, _STATES.get(text.strip(), ""))


def width() -> int | None:
    """Columns of the terminal on stdout; None where there is none, and nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        return max(os.get_terminal_size(1).columns, _NARROWEST)
    except OSError:
        return None


def confirm(question: str) -> bool:
    """Ask on the terminal. Raises ``UsageError`` where nobody can be asked."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(f"{question} Nobody can be asked here: say --yes, or --dry-run first")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Progress:
    """How far a long list has come, on stderr, and only where somebody watches."""

    def __init__(self) -> None:
        self._is_shown = False

    def __call__(self, count: int) -> None:
        """``count`` items have come."""
        if count >= 500:
            self.say(f"{count} so far …")

    def say(self, text: str) -> None:
        """``text`` in the place of what stood there before."""
        if sys.stderr.isatty():
            self._is_shown = True
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Wipe the line."""
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
