"""Long lists that also come as CSV and JSON lines, written by the server."""

from __future__ import annotations

from . import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from .actions import Desk
    from .api import Query
    from .table import Column


def add_options(parser: ArgumentParser) -> None:
    """``--since``, ``--until``, ``--csv`` and ``--jsonl``."""
    parser.add_argument(
        "--since", type=times.earlier, metavar="WHEN", help="from then on: a date, or 7d ago"
    )
    parser.add_argument("--until", type=times.earlier, metavar="WHEN", help="up to then")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument(
        "--csv", dest="format", action="store_const", const="csv", help="as CSV, all of them"
    )
    formats.add_argument(
        "--jsonl", dest="format", action="store_const", const="jsonl", help="as JSON lines"
    )


def show(
    desk: Desk,
    name: str,
    options: Namespace,
    *,
    query: Query,
    columns: Sequence[Column],
    nothing: str,
) -> None:
    """A list below the organization, in the format that was asked for."""
    path = desk.path(name)
    if options.format:
        for text in desk.api.export(path, query, options.format, limit=options.limit):
            desk.progress.clear()
            desk.out.raw(text)
        return
    limit = options.limit + 1 if options.limit else 0
    items = list(desk.api.items(path, query, limit=limit))
    desk.progress.clear()
    desk.out.list(columns, items, nothing=nothing, limit=options.limit)
