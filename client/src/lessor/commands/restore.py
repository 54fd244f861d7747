"""``lessor restore``: what ``lessor backup`` wrote, into another store (operator)."""

from __future__ import annotations

import json

from lessor.admin import actions, files
from lessor.arguments import Parser
from lessor.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

_LONGEST_FILE = 256 << 20


def make_parser() -> Parser:
    """The options."""
    parser = Parser(
        "restore",
        "Makes the organizations of a backup in this server's store, where none of the same name\n"
        "may be yet. Stop the old server first: of two that hold the same licenses, only one may\n"
        "grant. It takes the operator's key.",
    )
    parser.add_argument("file", metavar="FILE", help="what lessor backup wrote")
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.once("restore", make_parser(), argv, _restore)


def _restore(desk: Desk, options: Namespace) -> None:
    version, items = _read(options.file)
    # All are tried first, so that a conflict is found before anything is made.
    for item in items:
        _send(desk, version, item, dry_run=True)
    slugs = [str(item.get("slug")) for item in items]
    if not options.dry_run:
        for number, item in enumerate(items, 1):
            _send(desk, version, item, dry_run=False)
            desk.progress(number)
    told = f"{len(slugs)} organizations ({', '.join(slugs)})"
    shown: Item = {"organizations": slugs, "dry_run": options.dry_run}
    desk.out.done(shown, f"would: make {told}" if options.dry_run else f"made {told}")


def _send(desk: Desk, version: object, item: Item, *, dry_run: bool) -> None:
    """One at a time, because a call's body is bounded."""
    body: Item = {"version": version, "organizations": [item]}
    desk.api.change("POST", "/v1/restore", body, {"dry_run": dry_run})


def _read(file: str) -> tuple[object, list[Item]]:
    try:
        document = json.loads(files.read_text(file, _LONGEST_FILE))
        items = document["organizations"]
        return document["version"], [one for one in items if isinstance(one, dict)]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is not what lessor backup writes") from None
