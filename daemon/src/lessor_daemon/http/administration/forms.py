"""Reading what administration is asked for: bodies, queries, and what a ``null`` means.

Only fields that are named here or in the handlers are ever read, so nothing else of a body can
reach the store.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lessor_protocol.fields import MAX_NAME, Reader, invalid, is_plain_text

from lessor_daemon import values
from lessor_daemon.http.auth import authorize
from lessor_daemon.http.bodies import read_message

if TYPE_CHECKING:
    from aiohttp import web

FIRST_WALL_SECONDS, LAST_WALL_SECONDS = 0, 253_402_300_799


class Form:
    """A body that is an object."""

    def __init__(self, value: object, path: str = "") -> None:
        self.fields = Reader(value, path)
        self._value: dict[object, object] = value if isinstance(value, dict) else {}

    def is_null(self, name: str) -> bool:
        """Whether the field is there and null: take the setting away."""
        return name in self._value and self._value[name] is None

    def is_given(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.has(name)

    def is_text(self, name: str) -> bool:
        """Whether the field is a string."""
        return isinstance(self._value.get(name), str)

    def optional_flag(self, name: str) -> bool | None:
        """A boolean; None when absent."""
        return self.fields.flag(name, default=False) if self.is_given(name) else None

    def texts(self, name: str, *, most: int) -> frozenset[str] | None:
        """A list of names; None when absent."""
        if not self.is_given(name):
            return None
        found = set()
        for path, item in self.fields.array(name, most=most):
            is_name = isinstance(item, str) and 0 < len(item) <= MAX_NAME and is_plain_text(item)
            if not is_name:
                raise invalid(path, f"must be 1 to {MAX_NAME} printable characters")
            found.add(str(item))
        return frozenset(found)

    def lines(self, name: str, *, longest: int) -> str:
        """Text of several lines. What it may hold is for its reader to say."""
        value = self._value.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise invalid(name, f"must be a text of at most {longest} characters")
        return value

    def moment(self, name: str) -> int | None:
        """A moment as wall clock seconds; 0 for null, None when absent."""
        if self.is_null(name):
            return 0
        return moment(self.fields.text(name), name) if self.is_given(name) else None

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of ``choices``."""
        value = self.fields.text(name, default=default)
        if value not in choices:
            raise invalid(name, f"must be one of {', '.join(choices)}")
        return value

    def choices(self, name: str, known: tuple[str, ...]) -> frozenset[str] | None:
        """A list of at least one of ``known``; None when absent."""
        if not self.is_given(name):
            return None
        items = self.fields.array(name, most=len(known))
        if not items:
            raise invalid(name, "must not be empty")
        for path, item in items:
            if item not in known:
                raise invalid(path, f"must be one of {', '.join(known)}")
        found = frozenset(str(item) for _, item in items)
        if len(found) != len(items):
            raise invalid(name, "must not hold one thing twice")
        return found


async def read_form(request: web.Request) -> Form:
    """The body. Raises ``Problem``: ``invalid`` if it is no object, or as ``authorize``.

    A body takes its time, in which the key may be revoked: so who sends it is looked at anew.
    """
    form = Form(await read_message(request))
    await authorize(request)
    return form


async def read_optional_form(request: web.Request) -> Form:
    """The body, or an empty one where there is none."""
    return await read_form(request) if request.body_exists else Form({})


def moment(text: str, field: str) -> int:
    """RFC 3339 with an offset as wall clock seconds."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(field, "must be a date and time such as 2030-01-01T00:00:00Z") from None
    if found.tzinfo is None:
        raise invalid(field, "needs an offset, such as the Z of 2030-01-01T00:00:00Z")
    seconds = int(found.timestamp())
    if not FIRST_WALL_SECONDS < seconds <= LAST_WALL_SECONDS:
        raise invalid(field, "must be a moment after 1970")
    return seconds


def query_text(request: web.Request, name: str) -> str | None:
    """A parameter of the query; None when it is absent or empty."""
    text = request.query.get(name)
    if not text:
        return None
    if len(text) > 256 or not is_plain_text(text):
        raise invalid(name, "must be at most 256 printable characters")
    return text


def query_license(request: web.Request) -> str | None:
    """The name of a license; None when absent."""
    text = request.query.get("license")
    return None if text is None else values.check_license_name(text, "license")


def query_flag(request: web.Request, name: str) -> bool | None:
    """``true`` or ``false``; None when absent."""
    text = request.query.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise invalid(name, "must be true or false")
    return text == "true"


def query_moment(request: web.Request, name: str) -> int | None:
    """A moment as wall clock seconds; None when absent."""
    text = request.query.get(name)
    # In a query a plain + means a space, and clients forget.
    return None if text is None else moment(text.replace(" ", "+"), name)


def query_seconds(request: web.Request, name: str) -> int | None:
    """A duration in whole seconds, rounded up; None when absent."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise invalid(name, "must be a number of seconds") from None
    if not 0 <= value <= 1e9:
        raise invalid(name, "must be from 0 to 1000000000 seconds")
    return -int(-value // 1)


def dry_run(request: web.Request) -> bool:
    """Whether only to say what would happen."""
    return query_flag(request, "dry_run") or False


def if_match(request: web.Request) -> str | None:
    """The tag of what the caller saw."""
    return request.headers.get("If-Match")
