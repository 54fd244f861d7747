"""``lessor audit``: every change, by whom, from where, before and after."""

from __future__ import annotations

import json

from lessor.admin import actions, exports, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

SUMMARY = "the audit: every change, who made it, and what it was before"

_SHOWN = 100


def _who(item: Item) -> object:
    return pick(item, "actor.member") or pick(item, "actor.name")


def _change(item: Item) -> str:
    """The fields that changed, ``seats 5 → 10``; those of something new or gone as they are.

    Of what is gone the audit may also say what that entailed, such as the keys revoked with it.
    """
    before, after = item.get("before"), item.get("after")
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    is_change = bool(old.keys() & new.keys())
    old, new = _filled(old), _filled(new)
    if not is_change:
        return " ".join(f"{name}={_short(value)}" for name, value in {**old, **new}.items())
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(
        f"{name} {_short(old.get(name))} → {_short(new.get(name))}" for name in changed
    )


def _filled(fields: Item) -> Item:
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _short(value: object) -> str:
    """A value in few characters: ``kre/isle,kre/rig`` for a list of such pairs."""
    if value is None:
        return "-"
    if isinstance(value, list) and not any(isinstance(one, dict) for one in value):
        pairs = ["/".join(map(_short, one)) if isinstance(one, list) else one for one in value]
        return ",".join(map(_short, pairs))
    return value if isinstance(value, str) else json.dumps(value)


_COLUMNS = (
    Column("AT", lambda item: times.exact(pick(item, "at")), firm=True),
    Column("WHO", _who),
    Column("FROM", "source", spare=True),
    Column("ACTION", "action", firm=True),
    Column("TARGET", "target"),
    Column("CHANGE", _change, below=True),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("audit", SUMMARY, ACTIONS, argv)


def _list(desk: Desk, options: Namespace) -> None:
    query = {name: getattr(options, name) for name in ("action", "actor", "target")}
    query |= {"since": options.since, "until": options.until}
    if options.limit is None:
        options.limit = 0 if options.format else _SHOWN
    exports.show(desk, "audit", options, query=query, columns=_COLUMNS, nothing="no changes")


def _list_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--action", metavar="NAME", help="only this one, or those that begin so: key."
    )
    parser.add_argument("--actor", metavar="TEXT", help="only by this member or key")
    parser.add_argument("--target", metavar="TEXT", help="only of this")
    exports.add_options(parser)
    parser.add_argument(
        "--limit", type=actions.count, metavar="N", help=f"show at most N ({_SHOWN}; 0: all)"
    )


ACTIONS = (Action("list", "List changes, the newest first", _list, _list_options),)
