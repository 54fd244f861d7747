"""``lessor org``: the organization, and for the operator all of them."""

from __future__ import annotations

from lessor.admin import actions, files
from lessor.admin.actions import Action
from lessor.admin.table import Column
from lessor.server import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

SUMMARY = "organizations: create and remove them (operator), show and rename your own"

_COLUMNS = (Column("ORGANIZATION", "slug", firm=True), Column("NAME", "name"))


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("org", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    items = desk.api.items("/v1/orgs", limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no organizations", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_COLUMNS, desk.api.get(_path(desk, options.slug)).value)


def _create(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.output)
    body: dict[str, object] = {"slug": options.slug, "owner": {"email": options.owner}}
    if options.name:
        body["name"] = options.name
    made = desk.api.change("POST", "/v1/orgs", body)
    key = made.get("key")
    files.hand_over(
        desk, made, key if isinstance(key, dict) else {}, options.output, f"made {options.slug}"
    )


def _rename(desk: Desk, options: Namespace) -> None:
    changed = desk.api.change("PATCH", desk.api.org, {"name": options.name})
    desk.out.done(changed, f"{changed.get('slug')} is now called {options.name}")


def _remove(desk: Desk, options: Namespace) -> None:
    path = _path(desk, options.slug)
    done = desk.destroy(
        f"Remove the organization {options.slug} with all it has?",
        lambda: desk.api.change("DELETE", path, query={"dry_run": True}),
        lambda: desk.api.change("DELETE", path),
    )
    if done is not None:
        desk.out.done(done, f"removed {options.slug}")


def _path(desk: Desk, slug: str | None) -> str:
    return f"/v1/orgs/{quote(slug)}" if slug else desk.api.org


def _create_options(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG", help="lower-case letters, digits, inner hyphens")
    parser.add_argument("--owner", required=True, metavar="EMAIL", help="its first owner")
    parser.add_argument("--name", metavar="TEXT", help="its name for people (SLUG)")
    files.add_output(parser)


ACTIONS = (
    Action("list", "List organizations", _list, actions.add_limit),
    Action(
        "show",
        "Show an organization",
        _show,
        lambda parser: parser.add_argument("slug", nargs="?", metavar="SLUG", help="(your own)"),
    ),
    Action(
        "create",
        "Create an organization with its first owner",
        _create,
        _create_options,
        by_operator=True,
    ),
    Action(
        "rename",
        "Change the name of your organization",
        _rename,
        lambda parser: parser.add_argument("name", metavar="TEXT", help="the new name"),
    ),
    Action(
        "remove",
        "Remove an organization that holds no seats",
        _remove,
        lambda parser: parser.add_argument("slug", metavar="SLUG", help="which one"),
        destroys=True,
        by_operator=True,
    ),
)
