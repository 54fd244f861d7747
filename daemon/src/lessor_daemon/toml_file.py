"""TOML files that are checked to the last field. Errors name the place in the file."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from typing import TYPE_CHECKING

from lessor_protocol.duration import parse_duration_ms
from lessor_protocol.fields import is_plain_text

from .errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> dict[str, object]:
    """The document. Raises ``ConfigurationError``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"is not TOML: {error}") from None


class Table:
    """One TOML table. It remembers which fields were asked for, so that the rest can be refused."""

    def __init__(self, path: Path, place: str, values: dict[str, object]) -> None:
        self.place = place
        self._path = path
        self._values = values
        self._known: set[str] = set()

    def error(self, name: str, why: str) -> ConfigurationError:
        at = f"{self.place}.{name}" if self.place else name
        return ConfigurationError(f"{self._path}: {at}", why)

    def refuse_unknown(self) -> None:
        for name in self._values:
            if name not in self._known:
                known = ", ".join(sorted(self._known))
                raise self.error(name, f"is not a field here (known: {known})")

    def has(self, name: str) -> bool:
        self._known.add(name)
        return name in self._values

    def tables(self, name: str) -> list[Table]:
        values = self._take(name, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise self.error(name, "must be a list of tables")
        at = f"{self.place}.{name}" if self.place else name
        return [Table(self._path, f"{at}[{i}]", one) for i, one in enumerate(values)]

    def text(self, name: str, default: str | None = None, *, longest: int = 128) -> str:
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self.error(name, "must be a string")
        if name in self._values and not value:
            raise self.error(name, "must not be empty")
        if len(value) > longest or not is_plain_text(value):
            raise self.error(name, f"must be at most {longest} printable characters")
        return value

    def matching(self, name: str, pattern: str, rule: str) -> str:
        value = self.text(name, longest=255)
        if not re.fullmatch(pattern, value):
            raise self.error(name, rule)
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self._take(name, default)
        if value not in choices:
            raise self.error(name, f"must be one of {', '.join(choices)}")
        return str(value)

    def label(self, name: str) -> tuple[str, str]:
        found = self._take(name, None)
        if not isinstance(found, dict) or len(found) != 1:
            raise self.error(name, 'must be one label, as { team = "payments" }')
        ((label, value),) = found.items()
        is_text = isinstance(value, str) and is_plain_text(value) and len(value) <= 256
        if not is_text or not 0 < len(label) <= 64 or not is_plain_text(label):
            raise self.error(name, "must be printable text: 64 characters, and 256 of value")
        return label, value

    def integer(self, name: str, most: int, *, default: int | None = None) -> int:
        if default is not None and name not in self._values:
            self._known.add(name)
            return default
        value = self._take(name, None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.error(name, f"must be a whole number from 0 to {most}")
        return value

    def integer_or_unlimited(self, name: str, most: int, default: int) -> int | None:
        if self._values.get(name) == "unlimited":
            self._known.add(name)
            return None
        if name not in self._values:
            self._known.add(name)
            return default
        try:
            return self.integer(name, most)
        except ConfigurationError as error:
            raise self.error(name, f'{error.why}, or "unlimited"') from None

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def duration_ms(self, name: str, default_ms: int) -> int:
        value = self._take(name, default_ms / 1000)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.error(name, "must be a duration such as 30s")
        try:
            return parse_duration_ms(str(value))
        except ValueError as error:
            raise self.error(name, str(error)) from None

    def moment(self, name: str) -> datetime | None:
        if name not in self._values:
            self._known.add(name)
            return None
        value = self._take(name, None)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.error(name, "must be a date and time with an offset: 2030-01-01T00:00:00Z")
        return value

    def some_of(self, name: str, choices: tuple[str, ...], default: str) -> frozenset[str]:
        value = self._take(name, [default])
        if not isinstance(value, list) or not value or not all(one in choices for one in value):
            raise self.error(name, f"must be a list of some of {', '.join(choices)}")
        return frozenset(str(one) for one in value)

    def _take(self, name: str, default: object) -> object:
        self._known.add(name)
        value = self._values.get(name, default)
        if value is None:
            raise self.error(name, "is required")
        return value
