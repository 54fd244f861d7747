"""``lessor license policy`` and ``lessor license drain``: who is served first, and who at all."""

from __future__ import annotations

import tomllib
from datetime import date, time

from lessor_protocol.duration import parse_duration_ms

from lessor.admin import times
from lessor.admin.actions import Action, count
from lessor.admin.files import read_text
from lessor.admin.table import Column, pick
from lessor.errors import UsageError
from lessor.text import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

_LONGEST_FILE = 65_536
_LARGEST_NUMBER = 2**53 - 1
_EXAMPLE = """\
no policy: the line is served in the order of asking. A policy file looks like this:

[[group]]
name = "payments"
label = { team = "payments" }
head_start = "5m"   # stand where they would had they come five minutes earlier
reserve = 2         # seats that are first theirs, lent while idle
cap = 4             # the most they hold"""

_GROUPS = (
    Column("GROUP", "name", firm=True),
    Column("LABEL", "label"),
    Column("HEAD START", lambda item: times.brief(pick(item, "head_start")), is_number=True),
    Column("RESERVE", "reserve", is_number=True),
    Column("CAP", "cap", is_number=True),
)
_WAITS = (
    Column("GROUP", "name", firm=True),
    Column("SESSIONS", "sessions", is_number=True),
    Column("AS IT WAS: P50 P95 MOST", "recorded", firm=True),
    Column("REPLAYED", "replayed", firm=True),
    Column("TRIED", "tried", firm=True),
)


def read_policy(path: str) -> list[Item]:
    """The groups of a policy file, as the API takes them. Raises ``UsageError``.

    What the fields may hold is for the server to say; here durations become seconds.
    """
    try:
        document = tomllib.loads(read_text(path, _LONGEST_FILE))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    groups = document.pop("group", [])
    if document:
        raise UsageError(f"{path}: {next(iter(document))!r} is no field; groups stand in [[group]]")
    if not isinstance(groups, list) or not all(isinstance(one, dict) for one in groups):
        raise UsageError(f"{path}: groups stand in [[group]] tables")
    return [_group(path, group) for group in groups]


def _group(path: str, group: Item) -> Item:
    known = {"name", "label", "head_start", "reserve", "cap"}
    for name in group:
        if name not in known:
            raise UsageError(
                f"{path}: {name!r} is no field of a group ({', '.join(sorted(known))})"
            )
    for name, value in group.items():
        if not _can_be_sent(value):
            like = ' as "5m"' if name == "head_start" else ""
            raise UsageError(f"{path}: {name}: {value} cannot be meant: write it{like} in quotes")
    head_start = group.get("head_start")
    if isinstance(head_start, str):
        try:
            return {**group, "head_start": parse_duration_ms(head_start) / 1000}
        except ValueError as error:
            raise UsageError(f"{path}: head_start: {error}") from None
    return group


def _can_be_sent(value: object) -> bool:
    """TOML also has times, and numbers of any length."""
    if isinstance(value, dict):
        return all(map(_can_be_sent, value.values()))
    if isinstance(value, list):
        return all(map(_can_be_sent, value))
    is_long = isinstance(value, int) and abs(value) > _LARGEST_NUMBER
    return not is_long and not isinstance(value, (date, time))


def _policy(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name)
    if options.trial is not None or options.seats is not None:
        _try(desk, options, path)
        return
    if options.file is None and not options.clear:
        found = desk.api.get(path).value
    else:
        groups = read_policy(options.file) if options.file is not None else []
        found = desk.api.change("PATCH", path, {"policy": groups})
    groups_now = found.get("policy")
    shown = (
        [one for one in groups_now if isinstance(one, dict)] if isinstance(groups_now, list) else []
    )
    if desk.out.as_json:
        desk.out.json({"policy": shown})
    else:
        desk.out.list(_GROUPS, shown, nothing=_EXAMPLE)


def _try(desk: Desk, options: Namespace, path: str) -> None:
    """Say what another policy or seat count would have done to the last day's waits."""
    body: Item = {}
    if options.trial is not None:
        body["policy"] = read_policy(options.trial)
    if options.seats is not None:
        body["seats"] = options.seats
    found = desk.api.change("POST", f"{path}/policy/try", body)
    if desk.out.as_json:
        desk.out.json(found)
        return
    desk.out.text(
        f"{options.name}, sessions since {times.shown(found.get('since'))}: waits with "
        f"{counted(found.get('seats'), 'seat')}, and with {found.get('tried_seats')} as tried\n"
    )
    desk.out.list(_WAITS, _waits(found), nothing="no sessions")
    never = pick(found, "tried.never")
    if never:
        told = counted(never, "session")
        desk.out.text(f"\n{told} asked for more seats than there would ever be")
    if found.get("is_whole") is False:
        desk.out.text("\nthere were more sessions than one dry run looks at: these are the latest")


def _waits(found: Item) -> list[Item]:
    """A row for all, and one for each group."""
    rows: dict[str, Item] = {}
    for column in ("recorded", "replayed", "tried"):
        whole = found.get(column)
        if not isinstance(whole, dict):
            continue
        groups = whole.get("groups")
        parts = groups if isinstance(groups, list) and len(groups) > 1 else []
        for name, spread in [
            ("all", whole),
            *((one.get("name") or "(none)", one) for one in parts),
        ]:
            row = rows.setdefault(name, {"name": name, "sessions": spread.get("sessions")})
            row[column] = "  ".join(times.brief(spread.get(one)) for one in ("p50", "p95", "most"))
    return list(rows.values())


def _drain(desk: Desk, options: Namespace) -> None:
    path = desk.path("licenses", options.name)
    changed = desk.api.change("PATCH", path, {"drained": not options.undo})
    held = counted(changed.get("leases"), "seat is still held", "seats are still held")
    sentence = (
        f"{options.name} gives out seats again"
        if options.undo
        else f"{options.name} is drained: nobody new, {held}"
    )
    desk.out.done(changed, sentence)


def _policy_options(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="LICENSE", help="which license")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--file", metavar="FILE", help="set the policy of this TOML file")
    what.add_argument(
        "--try",
        dest="trial",
        metavar="FILE",
        help="replay the last day's sessions under the policy of this file, and change nothing",
    )
    parser.add_argument(
        "--seats", type=count, metavar="N", help="replay them with so many seats instead"
    )
    what.add_argument("--clear", action="store_true", help="serve everybody in order again")


def _drain_options(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="LICENSE", help="which license")
    parser.add_argument("--undo", action="store_true", help="give out seats again")


ACTIONS = (
    Action("policy", "Show or set who is served first", _policy, _policy_options),
    Action("drain", "Let nobody new in; the running finish", _drain, _drain_options),
)
