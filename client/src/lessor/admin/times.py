"""Times as people read and write them. The server's are RFC 3339 in UTC."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

from lessor_protocol.duration import parse_duration_ms

_WRITTEN = "2027-12-31, 2027-12-31T18:00, or a duration such as 30d"
_NEAR = timedelta(hours=1)


def shown(text: object) -> str:
    """A moment of the server's in this machine's time zone, to the minute; ``-`` for none."""
    moment = _parse(text) if isinstance(text, str) else None
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else "-"


def exact(text: object) -> str:
    """The same to the second."""
    moment = _parse(text) if isinstance(text, str) else None
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "-"


def near(text: object) -> str:
    """The same, and to the second where it is less than an hour from now: there they count."""
    moment = _parse(text) if isinstance(text, str) else None
    is_near = moment is not None and abs(moment - datetime.now(UTC)) < _NEAR
    return exact(text) if is_near else shown(text)


def age(text: object, now: datetime) -> str:
    """How long ago a moment was, as ``brief`` has it."""
    moment = _parse(text) if isinstance(text, str) else None
    return brief((now - moment).total_seconds()) if moment else "-"


def brief(seconds: object) -> str:
    """A duration in its two largest units at most: ``8s``, ``12m``, ``3h05m``, ``5d``."""
    if not isinstance(seconds, (int, float)):
        return "-"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86_400}d"


def later(text: str) -> str:
    """An option's moment in the future: a date, a time, or how long from now."""
    return _moment(text, 1, datetime.now(UTC))


def earlier(text: str) -> str:
    """An option's moment in the past: a date, a time, or how long ago."""
    return _moment(text, -1, datetime.now(UTC))


def seconds(text: str) -> float:
    """An option's DURATION, in seconds."""
    try:
        return parse_duration_ms(text) / 1000
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _moment(text: str, direction: int, now: datetime) -> str:
    moment = _parse(text)
    if moment is None:
        try:
            moment = now + direction * timedelta(milliseconds=parse_duration_ms(text))
        except (ValueError, OverflowError):
            raise ArgumentTypeError(f"{text!r} is no moment such as {_WRITTEN}") from None
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _parse(text: str) -> datetime | None:
    """A moment; without a time zone it means this machine's."""
    if "-" not in text:
        return None  # fromisoformat takes 20271231, and so would take the duration 1000
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None
