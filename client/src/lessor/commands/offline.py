"""``lessor offline``: licenses as signed files, for machines that reach no server."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

from lessor_protocol import offline as formats
from lessor_protocol.errors import Problem

from lessor import machine
from lessor.admin import actions, files, times
from lessor.admin.actions import Action
from lessor.admin.table import Column, pick
from lessor.errors import Denied, LessorError, UsageError
from lessor.offline import opened, returning, trust
from lessor.text import clean, counted, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lessor.admin.actions import Desk

    Item = dict[str, object]

_LONGEST_REASON = 1_000

SUMMARY = "offline licenses: signed files that hold seats for one machine without the server"

_COLUMNS = (
    Column("SERIAL", "serial", firm=True),
    Column("LICENSE", "license"),
    Column("MACHINE", "machine"),
    Column("SEATS", "seats", is_number=True),
    Column("STATE", "state", is_state=True),
    Column("EXPIRES", lambda item: times.near(pick(item, "expires")), firm=True),
)
_FIELDS = (
    Column("serial", "serial"),
    Column("license", "license"),
    Column("machine", "machine"),
    Column("seats", "seats"),
    Column("state", "state", is_state=True),
    Column("issued", lambda item: times.shown(pick(item, "issued"))),
    Column("issued by", "issued_by"),
    Column("expires", lambda item: times.near(pick(item, "expires"))),
    Column("returned", lambda item: times.shown(pick(item, "returned"))),
    Column("signing key", "signing_key"),
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return actions.main("offline", SUMMARY, ACTIONS, argv)


# With the server --------------------------------------------------------------------------------


def _list(desk: Desk, options: Namespace) -> None:
    limit = options.limit + 1 if options.limit else 0
    query = {"license": options.license, "machine": options.machine}
    items = desk.api.items(desk.path("offline"), query, limit=limit)
    desk.out.list(_COLUMNS, items, nothing="no offline licenses", limit=options.limit)


def _show(desk: Desk, options: Namespace) -> None:
    desk.out.one(_FIELDS, desk.api.get(desk.path("offline", options.serial)).value)


def _issue(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.output)
    body: Item = {"expires": options.expires}
    if options.request:
        body["request"] = _agreed_request(options)
    elif not (options.license and options.machine):
        raise UsageError("say --license and --machine, or --request with the machine's request")
    for name in ("license", "machine", "seats"):
        if getattr(options, name) is not None:
            body[name] = getattr(options, name)
    made = desk.api.change("POST", desk.path("offline"), body)
    shown = made.get("offline")
    record: Item = shown if isinstance(shown, dict) else {}
    sentence = (
        f"issued {record.get('serial')}: {counted(record.get('seats'), 'seat')} of "
        f"{record.get('license')} "
        f"for {record.get('machine')} until {times.near(record.get('expires'))}"
    )
    if options.output:
        files.write_private(options.output, str(made.pop("file", "")))
        desk.out.done(made, f"{sentence}; the file is {options.output}")
    elif desk.out.as_json:
        desk.out.json(made)
    else:
        say(f"{sentence}; the file is not shown again:")
        desk.out.raw(str(made.get("file", "")))


def _agreed_request(options: Namespace) -> str:
    """The request's text. Raises ``UsageError`` where the options contradict what it asks for.

    Fewer or more seats than asked for are an admin's to give; another license, or another machine,
    would make a file that whoever asked cannot use.
    """
    text = files.read_text(options.request, formats.MAX_ARMOURED)
    try:
        asked = formats.read_request(text)
    except formats.BadFile as error:
        raise UsageError(f"{options.request} is no request: {error}") from None
    for name, wanted in (("license", asked.license), ("machine", asked.machine)):
        given = getattr(options, name)
        if given and wanted and given != wanted:
            raise UsageError(
                f"{options.request} asks for the {name} {wanted}, and --{name} says {given}: "
                f"leave --{name} out, or have the machine write another request"
            )
    return text


def _rotate(desk: Desk, _options: Namespace) -> None:
    made = desk.api.change("POST", "/v1/offline-keys")
    desk.out.done(
        made,
        f"the key {made.get('id')} signs from now on; machines that are to use what it signs "
        "need it: lessor offline trust",
    )


# On the machine ---------------------------------------------------------------------------------


def _request(desk: Desk, options: Namespace) -> None:
    here = machine.identify(desk.environ, options.machine)
    text = formats.write_request(
        formats.OfflineRequest(
            machine=here.id,
            machine_name=here.name,
            license=options.license or "",
            seats=options.seats,
        )
    )
    if options.output:
        files.write_private(options.output, text)
        sentence = f"wrote {options.output}; an admin answers it with: lessor offline issue"
        desk.out.done({"machine": here.id, "request": text}, sentence)
    else:
        desk.out.done({"machine": here.id, "request": text}, text.rstrip("\n"))


def _trust(desk: Desk, options: Namespace) -> None:
    files.check_new_file(options.export)
    if options.file:
        keys = trust.parse(files.read_text(options.file, trust.LONGEST_FILE), options.file)
    else:
        keys = _keys_of_server(desk)
    if not keys:
        raise UsageError("there is no key yet: the first offline license makes one")
    ids = ", ".join(sorted(keys))
    if options.export:
        files.write_public(options.export, trust.write(keys))
        shown: Item = {"keys": sorted(keys), "file": options.export}
        desk.out.done(shown, f"wrote the keys {ids} to {options.export}")
        return
    path, new = trust.add(desk.environ, keys)
    told = f"this machine now believes {', '.join(new)}" if new else f"nothing new: {ids}"
    desk.out.done({"keys": sorted(keys), "new": new, "file": str(path)}, f"{told} ({path})")


def _keys_of_server(desk: Desk) -> dict[str, bytes]:
    items = desk.api.items("/v1/offline-keys")
    lines = [f"{item.get('id')} {item.get('public_key')}" for item in items]
    return trust.parse("\n".join(lines), "the server's keys")


def _check(desk: Desk, options: Namespace) -> None:
    found = _opened(desk, options)
    found.check_valid()
    license = found.license
    item: Item = {
        "serial": license.serial,
        "license": license.license,
        "machine": license.machine,
        "seats": license.seats,
        "state": "valid",
        "issued": _moment(license.issued),
        "expires": _moment(license.expires),
        "signing_key": license.key_id,
    }
    desk.out.one(_FIELDS, item)


def _return(desk: Desk, options: Namespace) -> None:
    text = files.read_text(options.file, formats.MAX_ARMOURED)
    if formats.RECEIPT in text.partition("\n")[0]:
        _send(desk, text, options.file)
        return
    receipt_file = options.receipt or f"{options.file}.receipt"
    found = _opened(desk, options)
    serial = found.license.serial
    preview: Item = {"serial": serial, "receipt_file": receipt_file}
    done = desk.destroy(
        f"Give {serial} back? The file {options.file} is destroyed.",
        lambda: preview,
        lambda: {**preview, "receipt": returning.give_back(found, options.file, receipt_file)},
    )
    if done is None:
        return
    say(f"{serial} is given back on this machine; the receipt is {receipt_file}")
    if options.no_send:
        desk.out.done(done, f"next, where the server is: lessor offline return {receipt_file}")
        return
    try:
        _send(desk, str(done["receipt"]), receipt_file)
    except (Problem, LessorError) as error:
        # No server from here, or no admin's key: that is the rule where files are used.
        trouble = actions.explained(error, "offline") if isinstance(error, Problem) else error
        say(f"the server does not know yet: {trouble}")
        desk.out.done(done, f"next, where the server is: lessor offline return {receipt_file}")


def _send(desk: Desk, receipt: str, file: str) -> None:
    """Hand a receipt to the server, which frees the seats. ``file`` is where it stands.

    Raises ``UsageError`` if it cannot be read, ``Denied`` if the server does not believe it.
    """
    try:
        serial = formats.claimed_receipt(receipt).serial
    except formats.BadFile as error:
        raise UsageError(f"{file} is no receipt: {error}") from None
    path = desk.path("offline", serial, "return")
    try:
        done = desk.api.change("POST", path, {"receipt": receipt})
    except Problem as problem:
        if problem.code != "invalid":
            raise
        # It can be read, so what the server finds wrong is who signed it, or what for.
        reason = clean(problem.detail, longest=_LONGEST_REASON)
        raise Denied(f"{file} is no receipt that holds: {reason}", code=problem.code) from None
    free = counted(done.get("seats"), "seat is free", "seats are free")
    desk.out.done(done, f"{serial} is returned: its {free}")


def _opened(desk: Desk, options: Namespace) -> opened.Opened:
    here = machine.identify(desk.environ, options.machine)
    return opened.open_license(options.file, desk.environ, here.id)


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


# Options ----------------------------------------------------------------------------------------


def _list_options(parser: ArgumentParser) -> None:
    parser.add_argument("--license", metavar="LICENSE", help="only of this license")
    parser.add_argument("--machine", metavar="ID", help="only for this machine")
    actions.add_limit(parser)


def _issue_options(parser: ArgumentParser) -> None:
    parser.add_argument("--request", metavar="FILE", help="what the machine asked for")
    parser.add_argument("--license", metavar="LICENSE", help="which license")
    parser.add_argument("--machine", metavar="ID", help="for which machine")
    parser.add_argument("--seats", type=_seats, metavar="N", help="how many seats (1)")
    parser.add_argument(
        "--expires", type=times.later, required=True, metavar="WHEN", help="a date, or 30d"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write a new file that only you can read (stdout)"
    )


def _request_options(parser: ArgumentParser) -> None:
    parser.add_argument("--license", metavar="LICENSE", help="which license (the admin chooses)")
    parser.add_argument("--seats", type=_seats, default=1, metavar="N", help="how many (1)")
    _machine_option(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write a new file (stdout)")


def _trust_options(parser: ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="take the keys from it (server)")
    parser.add_argument("--export", metavar="FILE", help="write them to a new file")


def _check_options(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the offline license")
    _machine_option(parser)


def _return_options(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the offline license, or a receipt")
    _machine_option(parser)
    parser.add_argument("--receipt", metavar="FILE", help="where the receipt goes (FILE.receipt)")
    parser.add_argument("--no-send", action="store_true", help="only write the receipt")


def _machine_option(parser: ArgumentParser) -> None:
    parser.add_argument("-m", "--machine", metavar="ID", help="machine identity (found out)")


def _seats(text: str) -> int:
    number = actions.count(text)
    if not number:
        raise ArgumentTypeError("an offline license holds at least one seat")
    return number


ACTIONS = (
    Action("list", "List offline licenses", _list, _list_options),
    Action(
        "show",
        "Show an offline license",
        _show,
        lambda parser: parser.add_argument("serial", metavar="SERIAL", help="which one"),
    ),
    Action("issue", "Issue one for a machine, or for its request", _issue, _issue_options),
    Action("request", "Write this machine's request for one", _request, _request_options),
    Action("trust", "Believe the server's public keys on this machine", _trust, _trust_options),
    Action("check", "See whether a file holds on this machine", _check, _check_options),
    Action(
        "return", "Give one back, or hand in its receipt", _return, _return_options, destroys=True
    ),
    Action("rotate", "Sign with a new key from now on (operator)", _rotate, by_operator=True),
)
