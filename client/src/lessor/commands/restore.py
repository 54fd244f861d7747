"""``lessor restore``: what ``lessor backup`` wrote, into another store (operator)."""

from __future__ import annotations

import json

from lessor_protocol.errors import Problem

from lessor.admin import actions, files
from lessor.arguments import Parser
from lessor.errors import Denied, NoAnswer, UsageError
from lessor.text import clean, counted, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

_LONGEST_FILE = 256 << 20
_OF_FIRST_START = "default"
_AGAIN = (
    "what was begun is not there for anybody until it is complete; "
    "run the same again with --skip-existing"
)


def make_parser() -> Parser:
    """The options."""
    parser = Parser(
        "restore",
        "Makes the organizations of a backup in this server's store, where none of the same name\n"
        "may be yet. Stop the old server first: of two that hold the same licenses, only one may\n"
        "grant. It takes the operator's key.",
    )
    parser.add_argument("file", metavar="FILE", help="what lessor backup wrote")
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out what is there already, as after a restore that was cut off",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.once("restore", make_parser(), argv, _restore, by_operator=True)


def _restore(desk: Desk, options: Namespace) -> None:
    version, items = _read(options.file)
    skipped: set[str] = set()
    if options.skip_existing:
        there = {str(one.get("slug")) for one in desk.api.items("/v1/orgs")}
        skipped = there & {str(item.get("slug")) for item in items}
        items = [item for item in items if item.get("slug") not in skipped]
    # All are tried first, so that a conflict is found before anything is made.
    for item in items:
        _try(desk, version, item)
        desk.progress.say("looking whether it can be restored …")
    made: list[str] = []
    for number, item in enumerate([] if options.dry_run else items, 1):
        try:
            _send(desk, version, item, dry_run=False)
        except (Problem, NoAnswer):
            desk.progress.clear()
            whole = counted(len(made), "organization")
            say(f"cut off after {whole} ({', '.join(made) or 'none'}): {_AGAIN}")
            raise
        if item.get("part", 1) == item.get("parts", 1):
            made.append(str(item.get("slug")))
        desk.progress.say(f"part {number} of {len(items)} restored …")
    desk.progress.clear()
    slugs = list(dict.fromkeys(str(item.get("slug")) for item in items))
    shown: Item = {"organizations": slugs, "dry_run": options.dry_run, "skipped": sorted(skipped)}
    if skipped and not slugs:
        nothing = "would: make nothing" if options.dry_run else "nothing was made"
        desk.out.done(shown, f"{nothing}: all of them are there already")
        return
    told = f"{counted(len(slugs), 'organization')} ({', '.join(slugs)})"
    told += f"; skipped {', '.join(sorted(skipped))}" if skipped else ""
    desk.out.done(shown, f"would: make {told}" if options.dry_run else f"made {told}")


def _try(desk: Desk, version: object, item: Item) -> None:
    """Whether the part could be made. Raises ``Denied`` if the organization is there already."""
    try:
        _send(desk, version, item, dry_run=True)
    except Problem as problem:
        if problem.code != "conflict":
            raise
        slug = clean(str(item.get("slug")))
        why = " (the server's first start makes one)" if slug == _OF_FIRST_START else ""
        raise Denied(
            f"{clean(problem.detail)}{why}: where nothing in it is needed, "
            f"lessor org remove {slug} with the operator's key makes room; "
            "--skip-existing leaves it as it is",
            code=problem.code,
        ) from None


def _send(desk: Desk, version: object, item: Item, *, dry_run: bool) -> None:
    """One part at a time, because a call's body is bounded."""
    body: Item = {"version": version, "organizations": [item]}
    desk.api.change("POST", "/v1/restore", body, {"dry_run": dry_run})


def _read(file: str) -> tuple[object, list[Item]]:
    try:
        document = json.loads(files.read_text(file, _LONGEST_FILE))
        items = document["organizations"]
        return document["version"], [one for one in items if isinstance(one, dict)]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is not what lessor backup writes") from None
