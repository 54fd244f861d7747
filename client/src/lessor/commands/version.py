"""``lessor version``: what is installed here."""

from __future__ import annotations

import sys
from importlib import metadata

from lessor_protocol import PROTOCOL_VERSION

from lessor import __version__, exits, streams
from lessor.arguments import Parser

_OPTIONAL = ("lessor-daemon",)


def main(argv: list[str]) -> int:
    """Run the command."""
    Parser("version", "What is installed here.").parse_args(argv)
    lines = [f"lessor {__version__}", f"protocol {PROTOCOL_VERSION}"]
    for name in _OPTIONAL:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    python = ".".join(str(part) for part in sys.version_info[:3])
    lines.append(f"python {python} on {sys.platform}")
    streams.write("\n".join(lines) + "\n")
    return exits.OK
