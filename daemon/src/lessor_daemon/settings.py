"""How the value of each setting is read. Every function raises ``ValueError`` with a whole text.

A value from flag or variable is a string; TOML may also give a number or a boolean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lessor_protocol import timing
from lessor_protocol.duration import format_duration, parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("debug", "info", "warning")
LONGEST_DURATION_MS = 3_600_000
MOST_WORKERS = 64


@dataclass(frozen=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(raw: object) -> Address:
    """``HOST:PORT``, with an IPv6 host in brackets."""
    host, colon, port = str(raw).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{str(raw)!r} is not HOST:PORT such as 127.0.0.1:7420 or [::1]:7420")
    return Address(host, int(port))


def flag(raw: object) -> bool:
    """``true``/``false``, ``1``/``0``, ``yes``/``no``."""
    if isinstance(raw, bool):
        return raw
    text = str(raw).lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def path(raw: object) -> Path:
    """A path, with ``~`` filled in."""
    if not isinstance(raw, (str, Path)) or not str(raw) or "\0" in str(raw):
        raise ValueError("must be a path")
    return Path(raw).expanduser()


def duration_ms(raw: object) -> int:
    """A duration as text, or a number of seconds."""
    found = parse_duration_ms(str(raw))  # what TOML may hold besides does not parse as one
    if found > LONGEST_DURATION_MS:
        raise ValueError(f"must be at most {format_duration(LONGEST_DURATION_MS)}")
    return found


def max_ttl_ms(raw: object) -> int:
    """The longest ttl a license may have."""
    found = duration_ms(raw)
    if not 1_000 <= found <= timing.LONGEST_MAX_TTL_MS:
        high = format_duration(timing.LONGEST_MAX_TTL_MS)
        raise ValueError(f"must be from 1s to {high}")
    return found


def workers(raw: object) -> int:
    """The number of worker processes."""
    found = _whole_number(raw)
    if not 1 <= found <= MOST_WORKERS:
        raise ValueError(f"must be from 1 to {MOST_WORKERS}")
    return found


def connections(raw: object) -> int:
    """The most connections at one time."""
    found = _whole_number(raw)
    if not 1 <= found <= 1_000_000:
        raise ValueError("must be from 1 to 1000000")
    return found


def days(raw: object) -> int:
    """How long something is kept, in whole days."""
    found = _whole_number(raw)
    if not 1 <= found <= 3_660:
        raise ValueError("must be from 1 to 3660 days")
    return found


def log_format(raw: object) -> str:
    """``console`` or ``json``."""
    if raw not in LOG_FORMATS:
        raise ValueError(f"{str(raw)!r} is neither console nor json")
    return str(raw)


def log_level(raw: object) -> str:
    """``debug``, ``info`` or ``warning``."""
    if raw not in LOG_LEVELS:
        raise ValueError(f"{str(raw)!r} is none of {', '.join(LOG_LEVELS)}")
    return str(raw)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/lessor``, below ``~/.local/state`` unless set to an absolute path."""
    state = Path(environ.get("XDG_STATE_HOME") or "")
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "lessor"


def _whole_number(raw: object) -> int:
    text = str(raw)
    if isinstance(raw, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)
