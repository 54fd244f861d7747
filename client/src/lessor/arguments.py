"""What the commands' argument parsers share: exit 78 on wrong usage, durations, labels."""

from __future__ import annotations

import argparse

from lessor_protocol.duration import parse_duration_ms
from lessor_protocol.fields import is_plain_text
from lessor_protocol.message import MAX_LABEL_TEXT
from lessor_protocol.seats import parse_seats

from . import streams
from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is exit 78; 2 would pass for a test tool's own code."""

    def __init__(self, command: str, description: str, usage: str | None = None) -> None:
        super().__init__(
            prog=f"lessor {command}".strip(),
            description=description,
            usage=usage,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is. Raises ``UsageError``."""
        raise UsageError(f"{message}\ntry: {self.prog} --help")

    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - argparse names none
        """The help on stdout, which may be full or closed. Raises as ``streams.write``."""
        streams.write(self.format_help())


def duration_ms(text: str) -> int:
    """An option's DURATION, in milliseconds."""
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seats(text: str) -> tuple[int, int]:
    """An option's ``N`` or ``MIN..MAX``."""
    try:
        return parse_seats(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def label(text: str) -> tuple[str, str]:
    """An option's ``K=V``."""
    name, mark, value = text.partition("=")
    if not mark or not 0 < len(name) <= 64 or not is_plain_text(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a label such as team=checkout")
    if len(value) > MAX_LABEL_TEXT:
        raise argparse.ArgumentTypeError(f"a label's value has at most {MAX_LABEL_TEXT} characters")
    return name, value


def add_lease_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which seat is wanted, by whom, and how long to wait for it."""
    parser.add_argument("-l", "--license", metavar="NAME", default="", help="which license")
    wait = parser.add_mutually_exclusive_group()
    wait.add_argument(
        "-w",
        "--wait",
        type=duration_ms,
        metavar="DURATION",
        help="how long to wait for a seat, as 90s, 10m or 1h30m (default: no limit)",
    )
    wait.add_argument(
        "-n", "--no-wait", dest="wait", action="store_const", const=0, help="ask once"
    )
    parser.add_argument(
        "--label",
        type=label,
        action="append",
        default=[],
        metavar="K=V",
        help="shown to others who wait; may be repeated",
    )
    parser.add_argument(
        "-N",
        "--seats",
        type=seats,
        default=(1, 1),
        metavar="N|MIN..MAX",
        help="seats to take, together or not at all (1)",
    )
    parser.add_argument("-m", "--machine", metavar="ID", help="machine identity (found out)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--ephemeral",
        action="store_true",
        default=None,
        help="the machine is forgotten with its last lease",
    )
    kind.add_argument("--persistent", dest="ephemeral", action="store_false")
    parser.add_argument(
        "--connect-timeout",
        type=duration_ms,
        default=30_000,
        metavar="DURATION",
        help="how long to try to reach a server (30s; one try with -n)",
    )
