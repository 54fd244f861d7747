"""``lessor backup``: the whole directory of a store in one file (operator)."""

from __future__ import annotations

import json

from lessor.admin import actions, files
from lessor.arguments import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from lessor.admin.actions import Desk


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
    return actions.once("backup", make_parser(), argv, _backup)


def _backup(desk: Desk, options: Namespace) -> None:
    files.check_secret_file(options.file)
    document = desk.api.get("/v1/backup").value
    files.write_private(options.file, json.dumps(document) + "\n")
    found = document.get("organizations")
    items = found if isinstance(found, list) else []
    slugs = [one.get("slug") for one in items if isinstance(one, dict)]
    desk.out.done(
        {"file": options.file, "organizations": slugs},
        f"wrote {len(slugs)} organizations to {options.file}",
    )
