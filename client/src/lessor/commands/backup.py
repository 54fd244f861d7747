"""``lessor backup``: the whole directory of a store in one file (operator)."""

from __future__ import annotations

import json
from collections import Counter

from lessor_protocol.errors import Problem

from lessor.admin import actions, files
from lessor.arguments import Parser
from lessor.text import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from lessor.admin.actions import Desk

    Item = dict[str, Any]

_MOST_ATTEMPTS = 20
"""As often an organization may change while it is read; each time it is read from its start."""


def make_parser() -> Parser:
    """The options."""
    parser = Parser(
        "backup",
        "Writes all organizations with their members, licenses, keys (hashes, no secrets) and\n"
        "offline licenses to a new file. It takes the operator's key.",
    )
    parser.add_argument("file", metavar="FILE", help="a new file, that only you can read")
    parser.add_argument("--json", action="store_true", help="what was written, as JSON")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.once("backup", make_parser(), argv, _backup, by_operator=True)


def _backup(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.file)
    document = _read(desk)
    # Written once all is here: there is a whole file or none.
    files.write_private(options.file, json.dumps(document) + "\n")
    slugs = list(dict.fromkeys(one["slug"] for one in document["organizations"]))
    desk.out.done(
        {"file": options.file, "organizations": slugs},
        f"wrote {counted(len(slugs), 'organization')} to {options.file}",
    )


def _read(desk: Desk) -> dict[str, Any]:
    """All pages as one document. An organization that changed meanwhile is read anew."""
    whole: dict[str, Any] = {}
    items: list[Item] = []
    cursor: object = None
    attempts = 0
    while True:
        try:
            page = desk.api.get("/v1/backup", {"cursor": str(cursor) if cursor else None}).value
        except Problem as problem:
            cursor, slug = problem.data.get("cursor"), problem.data.get("organization")
            attempts += 1
            if problem.code != "conflict" or not cursor or attempts > _MOST_ATTEMPTS:
                raise
            items = [one for one in items if one["slug"] != slug]
            continue
        found = page.pop("organizations", None)
        items += [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        desk.progress.say(f"{len(items)} parts read …")
        cursor = page.pop("next", None)
        whole = whole or page
        if not cursor:
            desk.progress.clear()
            return {**whole, "organizations": _complete(items)}


def _complete(items: list[Item]) -> list[Item]:
    """Without an organization that was removed before its last part was read."""
    found = Counter(str(one.get("slug")) for one in items)
    return [one for one in items if one.get("parts", 1) == found[str(one.get("slug"))]]
