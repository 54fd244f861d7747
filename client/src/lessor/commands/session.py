"""``lessor session``: who holds, and who held, seats."""

from __future__ import annotations

from datetime import UTC, datetime

from lessor.admin import actions, exports, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

SUMMARY = "sessions: who holds seats now, who held them, and ending one"

_PAST_SHOWN = 100


def _who(item: Item) -> object:
    """The member whose key it is; a machine's key is nobody's, so there the account it runs as."""
    return pick(item, "member") or pick(item, "user")


def _where(item: Item) -> object:
    return pick(item, "machine.name") or pick(item, "machine.id")


_WHAT = (
    Column("LICENSE", "license"),
    Column("USER", _who),
    Column("MACHINE", _where),
    Column("COMMAND", "process.command"),
)
_LIVE = (
    *_WHAT,
    Column("STATE", "state", is_state=True),
    Column("FOR", lambda item: times.age(pick(item, "started"), datetime.now(UTC)), is_number=True),
    Column("ID", "id", firm=True),
)
_PAST = (
    *_WHAT,
    Column("STARTED", lambda item: times.shown(pick(item, "started")), firm=True),
    Column("TOOK", lambda item: times.brief(pick(item, "duration")), is_number=True),
    Column("ENDED BY", "reason", firm=True),
)
_FIELDS = (
    Column("id", "id"),
    Column("license", "license"),
    Column("state", "state", is_state=True),
    Column("user", "user"),
    Column("member", "member"),
    Column("key", "key"),
    Column("machine", "machine.name"),
    Column("machine id", "machine.id"),
    Column("process", "process.pid"),
    Column("command", "process.command"),
    Column("labels", "labels"),
    Column("started", lambda item: times.shown(pick(item, "started"))),
    Column("ended", lambda item: times.shown(pick(item, "ended"))),
    Column("reason", "reason"),
    Column("said", "text"),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("session", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    names = ("license", "user", "machine", "reason", "since", "until")
    query = {name: getattr(options, name) for name in names}
    query["state"] = "past" if options.past else "live"
    if options.limit is None:
        options.limit = _PAST_SHOWN if options.past and not options.format else 0
    columns, nothing = _LIVE, "no live sessions (--past: those that ended)"
    if options.past:
        columns, nothing = _PAST, "no past sessions"
    exports.show(desk, "sessions", options, query=query, columns=columns, nothing=nothing)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_FIELDS, desk.api.get(desk.path("sessions", options.id)).value)


def _end(desk: Desk, options: Namespace) -> None:
    path = desk.path("sessions", options.id)
    seen = desk.api.get(path).value
    done = desk.destroy(
        f"End the session of {_who(seen) or 'somebody'} on {_where(seen) or 'some machine'}?",
        lambda: seen,
        lambda: desk.api.change("POST", f"{path}/end", {"reason": options.reason}),
    )
    if done is not None:
        desk.out.done(done, f"the session {options.id} is ending; its process is told why")


def _finish(desk: Desk, options: Namespace) -> None:
    path = desk.path("sessions", options.id, "finish")
    asked = desk.api.change("POST", path, {"text": options.text})
    where = f"{_who(asked) or 'somebody'} on {_where(asked) or 'some machine'}"
    desk.out.done(asked, f"{where} is asked to finish; the session goes on until it does")


def _list_options(parser: ArgumentParser) -> None:
    parser.add_argument("--past", action="store_true", help="those that ended, the newest first")
    parser.add_argument("--license", metavar="LICENSE", help="only of this license")
    parser.add_argument("--user", metavar="TEXT", help="only of this user")
    parser.add_argument("--machine", metavar="ID", help="only on this machine")
    parser.add_argument("--reason", metavar="WORD", help="only those that ended for this reason")
    exports.add_options(parser)
    parser.add_argument(
        "--limit",
        type=actions.count,
        metavar="N",
        help=f"show at most N (all; past ones {_PAST_SHOWN}; 0: all)",
    )


def _id(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the session, which is its lease's id")


def _end_options(parser: ArgumentParser) -> None:
    _id(parser)
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="told on the terminal it runs in"
    )


def _finish_options(parser: ArgumentParser) -> None:
    _id(parser)
    parser.add_argument(
        "--text", default="", metavar="TEXT", help="told on the terminal it runs in"
    )


ACTIONS = (
    Action("list", "List live sessions, or past ones", _list, _list_options),
    Action("show", "Show a live session", _show, _id),
    Action("finish", "Ask a session to finish by itself", _finish, _finish_options),
    Action("end", "End a session", _end, _end_options, destroys=True),
)
