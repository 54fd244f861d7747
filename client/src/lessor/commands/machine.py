"""``lessor machine``: the machines that count against a license's machine quota."""

from __future__ import annotations

from datetime import UTC, datetime

from lessor.admin import actions, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick
from lessor.errors import Denied, UsageError
from lessor.text import clean, counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

SUMMARY = "registered machines: which there are, and how to make room"

_COLUMNS = (
    Column("ID", "id", firm=True),
    Column("NAME", "name"),
    Column("LICENSES", "licenses"),
    Column("LIVE", "sessions", is_number=True),
    Column("EPHEMERAL", "ephemeral", firm=True),
    Column("SEEN", lambda item: times.age(pick(item, "last_seen"), datetime.now(UTC)), firm=True),
)
_FIELDS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("licenses", "licenses"),
    Column("sessions", "sessions"),
    Column("ephemeral", "ephemeral"),
    Column("first seen", lambda item: times.shown(pick(item, "first_seen"))),
    Column("last seen", lambda item: times.shown(pick(item, "last_seen"))),
    Column("lapses", lambda item: times.shown(pick(item, "lapses"))),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("machine", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    query = {
        "license": options.license,
        "ephemeral": options.ephemeral or None,
        "idle": options.idle or None,
        "unseen_for": None if options.unseen_for is None else str(options.unseen_for),
    }
    items = desk.api.items(desk.path("machines"), query, limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no registered machines", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_FIELDS, desk.api.get(desk.path("machines", options.id)).value)


def _remove(desk: Desk, options: Namespace) -> None:
    wanted = _filter(options)
    if not wanted:
        raise UsageError("say which machines: their ids, --idle, --ephemeral, --unseen-for 30d …")
    path = desk.path("machines", "remove")

    def preview() -> Item:
        coming = desk.api.change("POST", path, {**wanted, "dry_run": True})
        found = coming.get("machines")
        missing = set(options.ids).difference(found if isinstance(found, list) else ())
        if missing:
            named = ", ".join(repr(clean(one)) for one in sorted(missing))
            raise Denied(f"nothing was done: no machine {named} (lessor machine list shows them)")
        return coming

    done = desk.destroy(
        "Remove these machines? Their sessions end.",
        preview,
        lambda: desk.api.change("POST", path, {**wanted, "reason": options.reason}),
    )
    if done is not None:
        machines = done.get("machines")
        named = len(machines) if isinstance(machines, list) else 0
        count = done.get("count")  # of very many not all are named
        told = counted(count if isinstance(count, int) else named, "machine")
        desk.out.done(done, f"removed {told}; {actions.sessions_end(done)}")


def _filter(options: Namespace) -> Item:
    wanted: Item = {}
    if options.ids:
        wanted["ids"] = options.ids
    if options.license:
        wanted["license"] = options.license
    if options.ephemeral:
        wanted["ephemeral"] = True
    if options.idle:
        wanted["idle"] = True
    if options.unseen_for is not None:
        wanted["unseen_for"] = options.unseen_for
    return wanted


def _filter_options(parser: ArgumentParser) -> None:
    parser.add_argument("--license", metavar="LICENSE", help="only those of this license")
    parser.add_argument("--ephemeral", action="store_true", help="only ephemeral ones")
    parser.add_argument("--idle", action="store_true", help="only those without a session now")
    parser.add_argument(
        "--unseen-for",
        type=times.seconds,
        metavar="DURATION",
        help="only those not seen for so long, as 30d",
    )


def _list_options(parser: ArgumentParser) -> None:
    _filter_options(parser)
    actions.add_limit(parser)


def _remove_options(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="these machines")
    _filter_options(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="told to whoever runs there")


ACTIONS = (
    Action("list", "List registered machines", _list, _list_options),
    Action(
        "show",
        "Show a machine",
        _show,
        lambda parser: parser.add_argument("id", metavar="ID", help="the machine"),
    ),
    Action("remove", "Remove machines by id or filter", _remove, _remove_options, destroys=True),
)
