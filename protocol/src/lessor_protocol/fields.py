"""Read typed fields out of a decoded message and name the exact place of what is wrong.

Unknown fields are ignored: an older reader accepts a newer writer.
"""

from __future__ import annotations

from .errors import Problem

MAX_NAME = 128
MAX_TEXT = 1_024

_MISSING = object()


def is_plain_text(text: str) -> bool:
    """Whether ``text`` holds no control characters and no half of a surrogate pair.

    Such text is safe to show on a terminal and to write as UTF-8. U+2028 and the bidirectional
    overrides count as control characters: they reorder what a person reads.
    """
    return text.isprintable() or all(char.isprintable() or char == "\u3000" for char in text)


class Reader:
    """One object of a message. ``path`` names it in errors: ``machine``, ``leases[3]``."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise invalid(path or "the message", "must be an object")
        self._fields: dict[object, object] = value
        self._path = path

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def has_object(self, name: str) -> bool:
        """Whether the field holds an object rather than a plain value."""
        return isinstance(self._fields.get(name), dict)

    def text(
        self, name: str, *, default: str | None = None, longest: int = MAX_NAME, empty: bool = False
    ) -> str:
        """Printable text of 1 (0 when ``empty``) to ``longest`` characters."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._invalid(name, "must be a string")
        if len(value) > longest:
            raise self._invalid(name, f"has {len(value)} characters, at most {longest} are allowed")
        if not value and not empty:
            raise self._invalid(name, "must not be empty")
        if not is_plain_text(value):
            raise self._invalid(name, "must not contain control characters")
        return value

    def integer(
        self, name: str, *, default: int | None = None, least: int = 0, most: int = 2**53 - 1
    ) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self._get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._invalid(name, "must be a whole number")
        if not least <= value <= most:
            raise self._invalid(name, f"must be from {least} to {most}")
        return value

    def seconds_as_ms(self, name: str, *, default: float | None = None, most: float = 1e9) -> int:
        """A duration in seconds, as whole milliseconds."""
        value = self._get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._invalid(name, "must be a number of seconds")
        if not 0 <= value <= most:
            raise self._invalid(name, f"must be from 0 to {most:.0f} seconds")
        return round(value * 1000)

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._invalid(name, "must be true or false")
        return value

    def nested(self, name: str) -> Reader:
        """A nested object."""
        return Reader(self._get(name, None), self._at(name))

    def array(self, name: str, *, most: int) -> list[tuple[str, object]]:
        """The items of a list, each with its path."""
        value = self._get(name, None)
        if not isinstance(value, list):
            raise self._invalid(name, "must be a list")
        if len(value) > most:
            raise self._invalid(name, f"has {len(value)} items, at most {most} are allowed")
        return [(f"{self._at(name)}[{i}]", item) for i, item in enumerate(value)]

    def labels(self, name: str, *, most: int, longest: int) -> dict[str, str]:
        """A mapping of short names to short texts; empty when absent."""
        if not self.has(name):
            return {}
        entries = self.nested(name)
        if len(entries._fields) > most:
            raise self._invalid(name, f"has {len(entries._fields)} entries, at most {most}")
        found = {}
        for key in entries._fields:
            if not isinstance(key, str) or not 0 < len(key) <= 64 or not is_plain_text(key):
                raise self._invalid(name, "names must be plain text of 1 to 64 characters")
            found[key] = entries.text(key, longest=longest, empty=True)
        return found

    def _get(self, name: str, default: object) -> object:
        value = self._fields.get(name, _MISSING)
        if value is _MISSING or value is None:
            if default is None:
                raise self._invalid(name, "is required")
            return default
        return value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _invalid(self, name: str, why: str) -> Problem:
        return invalid(self._at(name), why)


def invalid(field: str, why: str) -> Problem:
    """The ``invalid`` problem for one field."""
    return Problem("invalid", f"{field} {why}", data={"field": field})
