"""``lessor status``: licenses, what is free of them, and who holds the seats."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime

from lessor_protocol.errors import Problem

from lessor import config as configuration
from lessor import exits, live, status_view, streams
from lessor.admin import times
from lessor.arguments import Parser
from lessor.errors import LessorError, NoAnswer, from_code
from lessor.server import Server
from lessor.text import clean, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUT_MS = 10_000
_WATCH_EVERY_MS = 2_000
_LONGEST_CELL = 60

_LICENSE_COLUMNS = (
    ("LICENSE", "name"),
    ("KIND", "kind"),
    ("SEATS", "seats"),
    ("AVAILABLE", "available"),
    ("LEASES", "leases"),
    ("OFFLINE", "offline_seats"),
    ("MACHINES", "machines"),
    ("QUEUE", "queue_length"),
    ("EXPIRES", "expires"),
)
_LEASE_HEADINGS = ("LICENSE", "USER", "MACHINE", "COMMAND", "FOR", "ID")


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = Parser("status", "Licenses, what is free of them, and who holds the seats.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="the same as one JSON object")
    how.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="go on showing it, with the lines of all licenses",
    )
    options = parser.parse_args(argv)
    config = configuration.load(os.environ)
    for warning in config.warnings:
        say(warning)
    if options.watch:
        return _watch(Server(config))
    found = _ask(Server(config))
    text = json.dumps(found, indent=2) if options.json else _as_text(found)
    streams.write(text + "\n")
    return exits.OK


def _watch(server: Server) -> int:
    """Until somebody stops it. Trouble that comes later is shown, and ends nothing."""
    found = _ask_with_lines(server)
    is_first = True

    def look() -> list[str]:
        nonlocal found, is_first
        if not is_first:
            try:
                found = _ask_with_lines(server)
            except LessorError as error:
                found["trouble"] = str(error)
        is_first = False
        return status_view.lines(found, time.time())

    try:
        live.show(look, _WATCH_EVERY_MS)
    except live.Stopped as stopped:
        return exits.BY_SIGNAL + stopped.signum


def _ask_with_lines(server: Server) -> dict[str, object]:
    found = _ask(server)
    organization = found.get("organization")
    queues: dict[str, object] = {}
    try:
        for license in _objects(found["licenses"]):
            name = license.get("name")
            if isinstance(organization, str) and isinstance(name, str):
                waits = license.get("queue_length")
                queues[name] = server.queue(organization, name, _TIMEOUT_MS) if waits else []
    except Problem as problem:
        raise from_code(problem.code, problem.detail) from None
    return {**found, "queues": queues}


def _ask(server: Server) -> dict[str, object]:
    try:
        me = server.whoami(_TIMEOUT_MS)
        organization = me.get("organization")
        licenses: list[dict[str, object]] = []
        leases: list[dict[str, object]] = []
        if isinstance(organization, str):  # an operator's key belongs to none
            licenses = server.licenses(organization, _TIMEOUT_MS)
            leases = server.leases(_TIMEOUT_MS)
    except Problem as problem:
        raise from_code(problem.code, problem.detail) from None
    for lease in leases:
        lease.pop("certificate", None)  # proves the lease to a server: nothing for a log
    return {**me, "url": server.url, "licenses": licenses, "leases": leases}


def _as_text(found: dict[str, object]) -> str:
    licenses = _objects(found.get("licenses"))
    leases = _objects(found.get("leases"))
    key = found.get("key")
    name = key.get("name") if isinstance(key, dict) else None
    lines = [f"{_cell(found.get('organization'))} at {_cell(found['url'])}, key {_cell(name)}", ""]
    columns = [c for c in _LICENSE_COLUMNS if any(item.get(c[1]) is not None for item in licenses)]
    rows = [[_license_cell(item, field) for _, field in columns] for item in licenses]
    lines.extend(_table([heading for heading, _ in columns], rows))
    if not licenses:
        lines.append("no licenses")
    lines.extend(text for text in map(status_view.reminder, licenses) if text)
    lines.extend(
        f"{_cell(one.get('name'))} is drained: running sessions finish, nobody new starts"
        for one in licenses
        if one.get("drained")
    )
    lines.append("")
    lines.extend(_table(_LEASE_HEADINGS, [_lease_row(lease) for lease in leases]))
    if not leases:
        lines.append("no leases")
    return "\n".join(lines)


def _license_cell(license: dict[str, object], field: str) -> str:
    """The whole table fits 80 columns: of a moment the day, of machines how many of how many."""
    text = _cell(license.get(field))
    if field == "machines":
        return f"{text}/{_cell(license.get('machine_quota'))}"
    return text[:10] if field == "expires" else text


def _lease_row(lease: dict[str, object]) -> list[str]:
    machine, process = lease.get("machine"), lease.get("process")
    if not isinstance(machine, dict) or not isinstance(process, dict):
        raise NoAnswer("the server's answer cannot be understood: a lease without its machine")
    return [
        _cell(lease.get("license")),
        _cell(process.get("user")),
        _cell(machine.get("name") or machine.get("id")),
        _cell(process.get("command")),
        times.age(lease.get("granted_at"), datetime.now(UTC)),
        _cell(lease.get("id")),
    ]


def _table(headings: Sequence[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return clean(str(value), _LONGEST_CELL) if value not in (None, "") else "-"


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
