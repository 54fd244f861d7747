"""``lessor release ID``: give a seat back, from any process of any machine."""

from __future__ import annotations

import os

from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import parse_lease_id

from lessor import config as configuration
from lessor import exits, holders
from lessor.arguments import Parser
from lessor.errors import from_code
from lessor.server import Server
from lessor.text import say

_TIMEOUT_MS = 10_000


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = Parser("release", "Give a seat back. May be repeated.")
    parser.add_argument("id", metavar="ID", help="the lease's id, as lessor acquire printed it")
    try:
        lease_id = parse_lease_id(parser.parse_args(argv).id.lower())
    except ValueError as error:
        parser.error(f"the id is {error}")
    config = configuration.load(os.environ)
    for warning in config.warnings:
        say(warning)
    # First the holder, so that it does not find its lease gone and take that for a loss.
    holders.stop(lease_id, holders.directory(os.environ), timeout_ms=_TIMEOUT_MS)
    try:
        Server(config).release(lease_id, _TIMEOUT_MS)
    except Problem as problem:
        raise from_code(problem.code, problem.detail) from None
    return exits.OK
