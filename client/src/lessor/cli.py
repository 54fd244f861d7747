"""``lessor COMMAND``: finds the command and loads nothing else."""

from __future__ import annotations

import os
import sys

from . import __version__, exits, streams
from .errors import LessorError, UsageError
from .text import clean, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "run a command while it holds a seat",
    "acquire": "take a seat and keep it until it is released or a process ends",
    "release": "give a seat back",
    "status": "licenses, seats and who holds them",
    "org": "organizations",
    "member": "the members of the organization",
    "license": "licenses and their registered users",
    "key": "API keys",
    "machine": "registered machines",
    "session": "who holds and who held seats",
    "offline": "licenses as files, for machines that reach no server",
    "audit": "who changed what",
    "backup": "write the whole directory of a store to a file (operator)",
    "restore": "put it into another store (operator)",
    "doctor": "test the way to the server, hop by hop",
    "completion": "what a shell needs to complete these commands",
    "serve": "the server (comes with lessor-daemon)",
    "version": "what is installed here",
}

_NEED_UNIX = frozenset({"run", "acquire", "release"})

USAGE = "usage: lessor COMMAND [options]\n\ncommands:\n" + "".join(
    f"  {name:<10} {text}\n" for name, text in COMMANDS.items()
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, see ``exits``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    streams.mend()
    try:
        return _dispatch(arguments)
    except LessorError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return exits.BY_SIGNAL + 2
    except BrokenPipeError:
        # The reader of stdout went away (lessor status | head): nothing is wrong with us.
        return exits.BY_SIGNAL + 13


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help", "help"):
        streams.write(USAGE)
        return exits.OK
    if name in ("-V", "--version"):
        streams.write(f"lessor {__version__}\n")
        return exits.OK
    if name == "serve":
        return _serve(arguments[1:])
    if name not in COMMANDS:
        complaint = f"{name!r} is not a command" if name else "say which command"
        raise UsageError(f"{complaint}; lessor --help lists them")
    if name in _NEED_UNIX and not hasattr(os, "fork"):
        raise UsageError(f"lessor {name} needs Linux, or with a weaker promise another Unix")
    if name != "run":  # whose command may have any bytes; it looks at its own options
        _check_encoding(arguments[1:])
    module = __import__(f"lessor.commands.{name}", fromlist=["main"])
    code: int = module.main(arguments[1:])
    return code


def _check_encoding(arguments: list[str]) -> None:
    """Raises ``UsageError`` for what neither a server nor a file of ours could be told."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {clean(word)!r} is not UTF-8") from None


def _serve(arguments: list[str]) -> int:
    try:
        module = __import__("lessor_daemon.start", fromlist=["main"])
    except ModuleNotFoundError as error:
        if error.name not in ("lessor_daemon", "lessor_daemon.start"):
            raise
        raise UsageError(
            "the server is not installed here; in a checkout: pip install '.[daemon]'"
        ) from None
    code: int = module.main(arguments)
    return code
