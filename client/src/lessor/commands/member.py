"""``lessor member``: the people of an organization and their roles."""

from __future__ import annotations

from lessor.admin import actions, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

SUMMARY = "members of the organization: who they are, and as what"
ROLES = ("owner", "admin", "member")

_COLUMNS = (
    Column("EMAIL", "email"),
    Column("ROLE", "role", firm=True),
    Column("SINCE", lambda item: times.shown(pick(item, "since")), firm=True),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("member", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    items = desk.api.items(desk.path("members"), limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no members", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_COLUMNS, desk.api.get(desk.path("members", options.email)).value)


def _add(desk: Desk, options: Namespace) -> None:
    body: dict[str, object] = {"email": options.email, "role": options.role}
    made = desk.api.change("POST", desk.path("members"), body)
    desk.out.done(made, f"added {made.get('email')} as {made.get('role')}")


def _set(desk: Desk, options: Namespace) -> None:
    path = desk.path("members", options.email)
    changed = desk.api.change("PATCH", path, {"role": options.role})
    desk.out.done(changed, f"{changed.get('email')} is now {changed.get('role')}")


def _remove(desk: Desk, options: Namespace) -> None:
    path = desk.path("members", options.email)
    seen = desk.api.get(path).etag
    query = {"end_sessions": options.end_sessions}
    done = desk.destroy(
        f"Remove the member {options.email} and revoke their keys?",
        lambda: desk.api.change("DELETE", path, query={**query, "dry_run": True}),
        lambda: desk.api.change("DELETE", path, query=query, if_match=seen),
    )
    if done is not None:
        desk.out.done(
            done,
            f"removed {options.email}: {actions.sessions_end(done)}, "
            f"{actions.keys_are_revoked(done)}",
        )


def _email(parser: ArgumentParser) -> None:
    parser.add_argument("email", metavar="EMAIL", help="the member")


def _add_options(parser: ArgumentParser) -> None:
    _email(parser)
    parser.add_argument("--role", choices=ROLES, default="member", help="as what (member)")


def _set_options(parser: ArgumentParser) -> None:
    _email(parser)
    parser.add_argument("--role", choices=ROLES, required=True, help="the new role")


def _remove_options(parser: ArgumentParser) -> None:
    _email(parser)
    parser.add_argument(
        "--end-sessions", action="store_true", help="end floating sessions too; else they finish"
    )


ACTIONS = (
    Action("list", "List members", _list, actions.add_limit),
    Action("show", "Show a member", _show, _email),
    Action("add", "Add a member", _add, _add_options),
    Action("set", "Change a member's role; the last owner stays one", _set, _set_options),
    Action("remove", "Remove a member", _remove, _remove_options, destroys=True),
)
