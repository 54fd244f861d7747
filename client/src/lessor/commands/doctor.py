"""``lessor doctor``: tests each hop on the way to a seat and says whom to ask for what."""

from __future__ import annotations

import json
import os
import time

from lessor import config as configuration
from lessor import exits, streams
from lessor.admin import terminal
from lessor.arguments import Parser
from lessor.doctor import findings, service
from lessor.doctor.way import Way
from lessor.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from lessor.config import ClientConfig
    from lessor.doctor.findings import Finding

_COLOURS = {
    findings.OK: terminal.GREEN,
    findings.WARNING: terminal.YELLOW,
    findings.FAILED: terminal.RED,
}


def make_parser() -> Parser:
    """The options."""
    parser = Parser("doctor", "Tests each hop on the way to a seat, and says whom to ask for what.")
    parser.add_argument("--json", action="store_true", help="the findings as one JSON object")
    return parser


def main(argv: list[str]) -> int:
    """Run the command. The exit code is that of the first hop that failed, 0 if none did."""
    options = make_parser().parse_args(argv)
    style = terminal.Style.of_stdout(os.environ)
    found = []
    for finding in _examine():
        found.append(finding)
        if not options.json:
            _show(finding, style)
    if options.json:
        streams.write(json.dumps({"findings": [one.to_json() for one in found]}, indent=2) + "\n")
    return next((one.exit_code for one in found if one.exit_code), exits.OK)


def _examine() -> Iterator[Finding]:
    try:
        config = configuration.load(os.environ)
    except UsageError as error:
        yield findings.misconfigured("settings", str(error))
        return
    yield findings.ok("settings", f"{', '.join(config.urls)}, and a key in the right form")
    for text in config.warnings:
        yield findings.warning("settings", text, "")
    is_reached = False
    for url in config.urls:
        is_reached = (yield from _server(url, config)) or is_reached
    if is_reached:
        yield from service.key_and_license(config)


def _server(url: str, config: ClientConfig) -> Generator[Finding, None, bool]:
    """One server. Returns whether it could be reached."""
    try:
        way = Way(url, config)
    except UsageError as error:
        yield findings.misconfigured("settings", str(error))
        return False
    for finding in way.hops(time.time()):
        yield finding
        if finding.exit_code:
            return False
    yield service.readiness(way.link)
    way.link.close()
    return True


def _show(finding: Finding, style: terminal.Style) -> None:
    status = style.paint(f"{finding.status:<8}", _COLOURS[finding.status])
    advice = f"{'':<18} → {finding.advice}\n" if finding.advice else ""
    streams.write(f"{status} {finding.hop:<9} {finding.text}\n{advice}")
