"""``lessor key``: API keys. A secret is shown once, on stdout or in a file, and never again."""

from __future__ import annotations

from datetime import UTC, datetime

from lessor.admin import actions, files, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick
from lessor.errors import UsageError
from lessor.text import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

SUMMARY = "API keys: make, change, rotate and revoke them"
SCOPES = ("run", "read", "admin")

_COLUMNS = (
    Column("ID", "id", firm=True),
    Column("NAME", "name"),
    Column("STATE", "state", is_state=True),
    Column("SCOPES", lambda item: ",".join(_scopes(item)), firm=True),
    Column("MEMBER", "member"),
    Column("LICENSE", "license"),
    Column("EXPIRES", lambda item: times.shown(pick(item, "expires")).partition(" ")[0], firm=True),
    Column("USED", lambda item: times.age(pick(item, "last_used"), datetime.now(UTC)), firm=True),
)
_FIELDS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("state", "state", is_state=True),
    Column("scopes", "scopes"),
    Column("member", "member"),
    Column("license", "license"),
    Column("created", lambda item: times.shown(pick(item, "created"))),
    Column("expires", lambda item: times.shown(pick(item, "expires"))),
    Column("last used", lambda item: times.shown(pick(item, "last_used"))),
    Column("old secret until", lambda item: times.near(pick(item, "old_secret_until"))),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("key", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    items = desk.api.items(desk.path("keys"), {"member": options.member}, limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no keys", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_FIELDS, desk.api.get(desk.path("keys", options.id)).value)


def _make(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.output)
    body: Item = {"name": options.name, "scopes": options.scopes or ["run"]}
    for field in ("member", "license", "expires"):
        value = getattr(options, field)
        if value not in (None, _NEVER):
            body[field] = value
    made = desk.api.change("POST", desk.path("keys"), body)
    files.hand_over(desk, made, made, options.output, f"made the key {options.name}")


def _set(desk: Desk, options: Namespace) -> None:
    body: Item = {}
    if options.scopes:
        body["scopes"] = options.scopes
    if options.expires is not None:
        body["expires"] = None if options.expires == _NEVER else options.expires
    if not body:
        raise UsageError("say what to change: --scope or --expires")
    changed = desk.api.change("PATCH", desk.path("keys", options.id), body)
    may = f"may {', '.join(_scopes(changed))}"
    if changed.get("state") == "expired":
        may = "has expired: what runs with it may finish, and nothing new begins"
    desk.out.done(changed, f"the key {changed.get('id')} {may}")


def _rotate(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.output)
    path = desk.path("keys", options.id, "rotate")
    made = desk.api.change("POST", path, {"overlap": options.overlap})
    if made.get("state") == "expired":
        say(
            f"the key {options.id} has expired, and so its new secret is of no use yet: "
            f"lessor key set {options.id} --expires 90d"
        )
    until = times.near(made.get("old_secret_until"))
    old = f"the old secret is valid until {until}" if until != "-" else "the old secret is void"
    files.hand_over(desk, made, made, options.output, old)


def _revoke(desk: Desk, options: Namespace) -> None:
    path = desk.path("keys", options.id)
    seen = desk.api.get(path)
    query = {"end_sessions": options.end_sessions}
    fate = "Its sessions end" if options.end_sessions else "Its sessions finish"
    done = desk.destroy(
        f"Revoke the key {options.id} ({seen.value.get('name')})? {fate}.",
        lambda: desk.api.change("DELETE", path, query={**query, "dry_run": True}),
        lambda: desk.api.change("DELETE", path, query=query, if_match=seen.etag),
    )
    if done is not None:
        ended = actions.sessions_end(done)
        finish = "its sessions finish"
        desk.out.done(done, f"revoked {options.id}; {ended if options.end_sessions else finish}")


def _scopes(item: Item) -> list[str]:
    scopes = item.get("scopes")
    return [str(one) for one in scopes] if isinstance(scopes, list) else []


_NEVER = "never"


def _moment(text: str) -> str:
    return text if text == _NEVER else times.later(text)


def _id(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the key's id, the part between lsr_ and _")


def _scope_options(parser: ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=SCOPES,
        help=f"what it may do; may be repeated ({default})",
    )
    parser.add_argument("--expires", type=_moment, metavar="WHEN", help="a date, 90d, or never")


def _list_options(parser: ArgumentParser) -> None:
    parser.add_argument("--member", metavar="EMAIL", help="only this member's")
    actions.add_limit(parser)


def _make_options(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what it is for")
    _scope_options(parser, "run")
    parser.add_argument("--member", metavar="EMAIL", help="a personal key (a service key)")
    parser.add_argument("--license", metavar="LICENSE", help="only for this license (all)")
    files.add_output(parser)


def _set_options(parser: ArgumentParser) -> None:
    _id(parser)
    _scope_options(parser, "unchanged")


def _rotate_options(parser: ArgumentParser) -> None:
    _id(parser)
    parser.add_argument(
        "--overlap",
        type=times.seconds,
        default=0,
        metavar="DURATION",
        help="how long the old secret stays valid beside the new one; refused while that of an "
        "earlier rotation does. 0 ends every old one now (0)",
    )
    files.add_output(parser)


def _revoke_options(parser: ArgumentParser) -> None:
    _id(parser)
    parser.add_argument(
        "--end-sessions", action="store_true", help="end its sessions; else they finish"
    )


ACTIONS = (
    Action("list", "List keys; a member sees their own", _list, _list_options),
    Action("show", "Show a key", _show, _id),
    Action(
        "make",
        "Make a key and show its secret once",
        _make,
        _make_options,
        listed_by="member list",
    ),
    Action("set", "Change what a key may do, or for how long", _set, _set_options),
    Action("rotate", "Make a new secret", _rotate, _rotate_options),
    Action("revoke", "Revoke a key", _revoke, _revoke_options, destroys=True),
)
