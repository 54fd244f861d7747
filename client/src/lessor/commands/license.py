"""``lessor license``: what the organization subscribed to, and who is registered for it."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

from lessor.admin import actions, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick
from lessor.errors import UsageError
from lessor.text import counted

from . import license_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

SUMMARY = "licenses: seats, quotas and terms, and the registered users of named-user licenses"


def _expires(item: Item) -> str:
    text, days = times.shown(pick(item, "expires")), pick(item, "expires_in_days")
    if pick(item, "reminder") == 0:
        return f"{text} (expired)"
    if not isinstance(days, int):
        return text
    return f"{text} (in {counted(days, 'day') if days else 'less than a day'})"


def _registered(item: Item) -> object:
    """Only a named-user license has registered users."""
    return pick(item, "registered_users") if pick(item, "kind") == "named-user" else None


def _free(item: Item) -> object:
    """What is free of a drained license is for nobody."""
    return "drained" if pick(item, "drained") else pick(item, "available")


_COLUMNS = (
    Column("LICENSE", "name"),
    Column("KIND", "kind", firm=True),
    Column("SEATS", "seats", is_number=True),
    Column("FREE", _free, is_number=True),
    Column("ONLINE", "leases", is_number=True),
    Column("OFFLINE", "offline_seats", is_number=True),
    Column("USERS", _registered, is_number=True),
    Column("MACHINES", lambda item: f"{pick(item, 'machines')}/{pick(item, 'machine_quota')}"),
    Column("EXPIRES", lambda item: times.shown(pick(item, "expires")).partition(" ")[0], firm=True),
)
_FIELDS = (
    Column("license", "name"),
    Column("kind", "kind"),
    Column("product", "product"),
    Column("seats", "seats"),
    Column("available", "available"),
    Column("online leases", "leases"),
    Column("offline seats", "offline_seats"),
    Column("registered users", _registered),
    Column("machines", "machines"),
    Column("machine quota", "machine_quota"),
    Column("waiting", "queue_length"),
    Column("drained", lambda item: pick(item, "drained") or None),
    Column("ttl", lambda item: times.brief(pick(item, "ttl"))),
    Column("starts", lambda item: times.shown(pick(item, "starts"))),
    Column("expires", _expires),
    Column("offline allowed", "offline_allowed"),
    Column("idle time-out", lambda item: times.brief(pick(item, "idle_timeout"))),
    Column("machines kept for", lambda item: times.brief(pick(item, "machine_retention"))),
)
_USERS = (
    Column("EMAIL", "email"),
    Column("SINCE", lambda item: times.shown(pick(item, "since")), firm=True),
    Column("ONLINE ON", "online.machine"),
    Column("ONLINE SINCE", lambda item: times.shown(pick(item, "online.since")), firm=True),
)
_LINE = (
    Column("", "position", is_number=True),
    Column("USER", "user"),
    Column("MACHINE", "machine"),
    Column("GROUP", "group"),
    Column("COMMAND", "command"),
    Column("SEATS", "seats", is_number=True),
    Column("FOR", lambda item: times.age(pick(item, "since"), datetime.now(UTC)), is_number=True),
    Column("ID", "id", firm=True),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("license", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    items = desk.api.items(desk.path("licenses"), limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no licenses", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_FIELDS, desk.api.get(desk.path("licenses", options.name)).value)


def _line(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    waiting = desk.api.items(desk.path("licenses", options.name, "queue"), limit=limit)
    desk.out.list(_LINE, waiting, nothing=f"nobody waits for {options.name}", limit=options.limit)


def _add(desk: Desk, options: Namespace) -> None:
    body = {"name": options.name, "kind": options.kind, **_settings(options)}
    made = desk.api.change("POST", desk.path("licenses"), body)
    desk.out.done(made, f"added {made.get('name')} with {counted(made.get('seats'), 'seat')}")


def _set(desk: Desk, options: Namespace) -> None:
    body = _settings(options)
    if not body:
        raise UsageError(
            "say what to change, for example --seats 10: lessor license set --help lists it"
        )
    if options.force:
        body["force"] = True
    changed = desk.api.change("PATCH", desk.path("licenses", options.name), body)
    desk.out.done(
        changed,
        f"{changed.get('name')} has {counted(changed.get('seats'), 'seat')}, "
        f"{changed.get('available')} available",
    )


def _remove(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name)
    seen = desk.api.get(path).etag
    done = desk.destroy(
        f"Remove the license {options.name}?",
        lambda: desk.api.change("DELETE", path, query={"dry_run": True}),
        lambda: desk.api.change("DELETE", path, if_match=seen),
    )
    if done is not None:
        desk.out.done(done, f"removed {options.name}")


def _users(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    items = desk.api.items(desk.path("licenses", options.name, "registered-users"), limit=limit)
    desk.out.list(_USERS, items, nothing="no registered users", limit=options.limit)


def _assign(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name, "registered-users")
    user = desk.api.change("POST", path, {"email": options.email})
    desk.out.done(user, f"{user.get('email')} is a registered user of {options.name}")


def _withdraw(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name, "registered-users", options.email)
    done = desk.destroy(
        f"Withdraw {options.name} from {options.email}? An online session ends at once.",
        lambda: desk.api.change("DELETE", path, query={"dry_run": True}),
        lambda: desk.api.change("DELETE", path),
    )
    if done is not None:
        desk.out.done(
            done,
            f"{options.email} is no registered user of {options.name} any more; "
            f"{actions.sessions_end(done)}",
        )


def _transfer(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name, "registered-users", options.email, "transfer")
    user = desk.api.change("POST", path, {"to": options.to})
    desk.out.done(user, f"{options.name} went from {options.email} to {user.get('email')}")


def _settings(options: Namespace) -> Item:
    """The settings that were given; ``never`` and ``as-seats`` take one away."""
    body: Item = {}
    for name in ("product", "seats", "ttl", "starts", "expires", "offline_allowed"):
        value = getattr(options, name)
        if value is not None:
            body[name] = value
    if options.machines is not None:
        body["machines"] = options.machines
    if options.idle_timeout is not None:
        body["idle_timeout"] = options.idle_timeout
    if options.keep_machines is not None:
        body["machine_retention"] = options.keep_machines
    for name, value in body.items():
        if value == _NONE:
            body[name] = None
    return body


_NONE = "none"
"""What stands for null between here and ``_settings``: None says that an option was not given."""


def _moment(text: str) -> str:
    return _NONE if text == "never" else times.later(text)


def _machines(text: str) -> str | int:
    if text == "unlimited":
        return text
    return _NONE if text == "as-seats" else actions.count(text)


def _retention(text: str) -> str | float:
    return _NONE if text == "forever" else times.seconds(text)


def _idle_timeout(text: str) -> str | float:
    return _NONE if text == "never" else times.seconds(text)


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def _name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="LICENSE", help="which license")


def _setting_options(parser: ArgumentParser, *, seats_required: bool) -> None:
    parser.add_argument(
        "--seats", type=actions.count, required=seats_required, metavar="N", help="its seats"
    )
    parser.add_argument(
        "--machines",
        type=_machines,
        metavar="N",
        help="its machine quota: a number, unlimited, or as-seats",
    )
    parser.add_argument("--product", metavar="TEXT", help="what it is a license for")
    parser.add_argument("--ttl", type=times.seconds, metavar="DURATION", help="of its leases (30s)")
    parser.add_argument("--starts", type=_moment, metavar="WHEN", help="a date, or never")
    parser.add_argument("--expires", type=_moment, metavar="WHEN", help="a date, 365d, or never")
    parser.add_argument(
        "--offline-allowed", type=_yes_or_no, metavar="yes|no", help="offline licenses from it"
    )
    parser.add_argument(
        "--idle-timeout",
        type=_idle_timeout,
        metavar="DURATION",
        help="named-user: when a session ends that nobody works in, or never",
    )
    parser.add_argument(
        "--keep-machines",
        type=_retention,
        metavar="DURATION",
        help="how long a machine stays registered after its last session, or forever",
    )


def _add_options(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument(
        "--kind",
        choices=("floating", "named-user"),
        default="floating",
        help="a seat per process, or per registered user (floating)",
    )
    _setting_options(parser, seats_required=True)


def _set_options(parser: ArgumentParser) -> None:
    _name(parser)
    _setting_options(parser, seats_required=False)
    parser.add_argument(
        "--force", action="store_true", help="lower below use: running sessions finish"
    )


def _name_and_limit(parser: ArgumentParser) -> None:
    _name(parser)
    actions.add_limit(parser)


def _user_options(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("email", metavar="EMAIL", help="the member")


def _transfer_options(parser: ArgumentParser) -> None:
    _user_options(parser)
    parser.add_argument("to", metavar="TO", help="the member who gets it")


ACTIONS = (
    Action("list", "List licenses and what is free of them", _list, actions.add_limit),
    Action("show", "Show a license", _show, _name),
    Action("add", "Add a license", _add, _add_options),
    Action("set", "Change a license", _set, _set_options),
    Action("remove", "Remove a license that is not in use", _remove, _name, destroys=True),
    Action("line", "List who waits, in order (release ID sends away)", _line, _name_and_limit),
    Action("users", "List registered users and who is online where", _users, _name_and_limit),
    Action(
        "assign",
        "Make a member a registered user",
        _assign,
        _user_options,
        listed_by="member list",
    ),
    Action(
        "withdraw",
        "Take a registered user off",
        _withdraw,
        _user_options,
        destroys=True,
        listed_by="license users",
    ),
    Action(
        "transfer",
        "Assign it to another member in one step",
        _transfer,
        _transfer_options,
        listed_by="license users",
    ),
    *license_policy.ACTIONS,
)
