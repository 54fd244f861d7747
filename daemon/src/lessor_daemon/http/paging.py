"""Lists in pages: ``{items, next?}``, with ``limit`` and ``cursor``."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid

from lessor_daemon.directory.pages import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

DEFAULT_PAGE = 100
LONGEST_PAGE = 500
LONGEST_CURSOR = 1_024


def limit_of(request: web.Request) -> int:
    """How many items the caller wants. Raises ``Problem`` ``invalid``."""
    text = request.query.get("limit", str(DEFAULT_PAGE))
    is_number = text.isascii() and text.isdigit() and len(text) <= 4
    if not is_number or not 1 <= int(text) <= LONGEST_PAGE:
        raise invalid("limit", f"must be a whole number from 1 to {LONGEST_PAGE}")
    return int(text)


def page(
    request: web.Request,
    items: list[dict[str, object]],
    mark: Callable[[dict[str, object]], str],
) -> dict[str, object]:
    """One page of a list that is at hand as a whole, in the order of ``mark``.

    No two items have the same mark. The cursor is that of the last item shown, so what comes and
    goes meanwhile neither repeats an item nor leaves one out.
    """
    after = cursor_of(request)
    # In no other order than that of the cursors, however the list was sorted before.
    left = sorted((item for item in items if after is None or mark(item) > after), key=mark)
    found = Page(limit_of(request))
    shown: dict[str, object] = {"items": found.items}
    for item in left:
        if not found.add(item):
            shown["next"] = cursor_text(mark(found.items[-1]))
            break
    return shown


def cursor_text(mark: str) -> str:
    """A mark as a cursor, which is nobody's business to read."""
    return urlsafe_b64encode(mark.encode()).decode().rstrip("=")


def cursor_of(request: web.Request) -> str | None:
    """The mark behind the caller's cursor; None on the first page."""
    text = request.query.get("cursor")
    if not text:
        return None
    try:
        if len(text) > LONGEST_CURSOR:
            raise ValueError(text)
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode()
    except ValueError:
        raise invalid("cursor", "must be the `next` of an earlier page") from None
