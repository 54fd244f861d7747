"""``lessor completion``: the script with which a shell completes these commands."""

from __future__ import annotations

from lessor import exits, streams
from lessor.arguments import Parser
from lessor.completion import shells, words


def make_parser() -> Parser:
    """The options."""
    parser = Parser(
        "completion",
        "Writes the script that completes lessor's commands, for example:\n\n"
        "  lessor completion bash > ~/.local/share/bash-completion/completions/lessor",
    )
    parser.add_argument("shell", choices=tuple(shells.SHELLS), help="for which shell")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    options = make_parser().parse_args(argv)
    streams.write(shells.SHELLS[options.shell](words.places()))
    return exits.OK
