"""A command of several actions, such as ``lessor license list``: finding one and running it."""

from __future__ import annotations

import argparse
import os

from lessor_protocol.errors import Problem

from lessor import config as configuration
from lessor import exits, streams
from lessor.arguments import Parser
from lessor.errors import Denied, UsageError, from_code
from lessor.server import quote
from lessor.text import clean, counted, say

from . import terminal
from .api import Api
from .output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lessor.errors import LessorError

    Item = dict[str, object]

_LONGEST_DETAIL = 1_000
_MACHINES_NAMED = 10

_ADVICE = {
    "unauthenticated": "check LESSOR_API_KEY_FILE or LESSOR_API_KEY; lessor doctor tests the way",
    "revoked": "ask an admin for a new key",
    "forbidden": "ask an owner or an admin, or use a key that may (lessor status says which it is)",
    "precondition_failed": "then repeat this if it is still what you want",
    "quota_below_use": "lessor session list shows what could end, --force forces it",
    "rate_limited": "wait a little",
    "recovering": "try again in a minute",
    "store_unavailable": "the server waits for its store: try again, or ask the operator",
}
_ASK_OPERATOR = (
    "use the operator's key, which the server made as operator.key in its data directory, "
    "or ask the operator"
)
_REFUSED = frozenset({"conflict", "precondition_failed", "quota_below_use", "lease_ended"})
"""Not wrong by itself, but not as things stand: exit 77, like all else that the server denies."""


class Desk:
    """One invocation: who is asked, for which organization, and where the answer goes."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.out = Output(environ, as_json=getattr(options, "json", False))
        self.progress = terminal.Progress()
        self._is_dry = getattr(options, "dry_run", False)
        self._is_sure = getattr(options, "yes", False)
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        """The server. Raises ``UsageError`` without a configuration."""
        if self._api is None:
            config = configuration.load(self.environ)
            for warning in config.warnings:
                say(warning)
            self._api = Api(config, self.progress)
        return self._api

    def path(self, *parts: str) -> str:
        """A path below the key's organization."""
        return "/".join([self.api.org, *(quote(part) for part in parts)])

    def destroy(
        self, question: str, preview: Callable[[], Item], deed: Callable[[], Item]
    ) -> Item | None:
        """Look what would go, ask, and do it; None where it was not done.

        With ``--dry-run`` only what would happen is said. ``preview`` also finds what is not there
        or not allowed before anybody is asked.
        """
        coming = preview()
        told = _told(coming)
        if self._is_dry:
            self.out.done(coming, f"would: {_deed(question)}{f' ({told})' if told else ''}")
            return None
        asked = f"{question} ({told})" if told else question
        if not self._is_sure and not terminal.confirm(asked):
            say("nothing was done")
            return None
        return deed()

    def close(self) -> None:
        """Close the connections."""
        self.progress.clear()
        if self._api is not None:
            self._api.close()


class Action:
    """One action. ``run(desk, options)`` does it; ``add(parser)`` adds its options.

    ``listed_by`` is the command that lists what the action may not find, ``member list``; its own
    ``list`` unless given. What is done ``by_operator`` takes the operator's key.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        run: Callable[[Desk, argparse.Namespace], None],
        add: Callable[[argparse.ArgumentParser], object] = lambda _parser: None,
        *,
        destroys: bool = False,
        by_operator: bool = False,
        listed_by: str = "",
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.destroys = destroys
        self.by_operator = by_operator
        self.listed_by = listed_by
        self._add = add

    def parser(self, command: str) -> Parser:
        """The parser of ``lessor COMMAND ACTION``."""
        parser = Parser(f"{command} {self.name}", f"{self.summary}.")
        self._add(parser)
        if self.destroys:
            parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
            parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument("--json", action="store_true", help="the answer as JSON")
        return parser


def main(command: str, summary: str, actions: Sequence[Action], argv: list[str]) -> int:
    """Run one action. Raises ``LessorError``."""
    name = argv[0] if argv else ""
    if name in ("-h", "--help"):
        streams.write(usage(command, summary, actions))
        return exits.OK
    action = next((one for one in actions if one.name == name), None)
    if action is None:
        complaint = f"{clean(name)!r} is no action" if name else "say what to do"
        known = ", ".join(one.name for one in actions)
        raise UsageError(f"{complaint}: lessor {command} takes {known}")
    return once(
        command,
        action.parser(command),
        argv[1:],
        action.run,
        by_operator=action.by_operator,
        listed_by=action.listed_by,
    )


def _deed(question: str) -> str:
    """What is asked, as a statement; names in it stay as they are written."""
    deed, _, more = question.partition("?")
    return "; ".join(part[:1].lower() + part[1:] for part in (deed, more.strip(" .")) if part)


def once(
    command: str,
    parser: Parser,
    argv: list[str],
    run: Callable[[Desk, argparse.Namespace], None],
    *,
    by_operator: bool = False,
    listed_by: str = "",
) -> int:
    """Read the options, do one thing and explain what the server refused."""
    options = parser.parse_args(argv)
    desk = Desk(options, os.environ)
    try:
        run(desk, options)
    except Problem as problem:
        error = explained(problem, command, by_operator=by_operator, listed_by=listed_by)
        raise error from None
    finally:
        desk.close()
    return exits.OK


def usage(command: str, summary: str, actions: Sequence[Action]) -> str:
    """The help of a command."""
    rows = "".join(f"  {one.name:<10} {one.summary}\n" for one in actions)
    return (
        f"usage: lessor {command} ACTION [options]\n\n{summary}\n\nactions:\n{rows}\n"
        f"lessor {command} ACTION --help lists the options of one.\n"
    )


def explained(
    problem: Problem, command: str, *, by_operator: bool = False, listed_by: str = ""
) -> LessorError:
    """The error for what a server refused, with what to do next."""
    text = clean(problem.detail or problem.code, _LONGEST_DETAIL)
    hint = problem.data.get("hint")
    advice = _ADVICE.get(problem.code, "")
    if isinstance(hint, str):
        advice = clean(hint)
    elif problem.code == "forbidden" and by_operator:
        advice = _ASK_OPERATOR
    elif problem.code == "unknown_license":
        advice = "lessor license list shows what there is"
    elif problem.code == "not_found":
        advice = f"lessor {listed_by or f'{command} list'} shows what there is"
    message = f"{text}; {advice}" if advice else text
    if problem.code in _REFUSED:
        return Denied(message, code=problem.code)
    return from_code(problem.code, message)


def add_limit(parser: argparse.ArgumentParser, default: int = 0) -> None:
    """``--limit N``."""
    most = str(default) if default else "all"
    parser.add_argument(
        "--limit",
        type=count,
        default=default,
        metavar="N",
        help=f"show at most N ({most}; 0: all)",
    )


def count(text: str) -> int:
    """An option's whole number, not below 0."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _told(coming: Item) -> str:
    """What a preview says of things that go as well."""
    parts = []
    if coming.get("sessions_ended"):
        parts.append(sessions_end(coming))
    if coming.get("keys_revoked"):
        parts.append(keys_are_revoked(coming))
    machines = coming.get("machines")
    if isinstance(machines, list):
        parts.append(_named(machines))
    return ", ".join(parts)


def _named(machines: list[object]) -> str:
    """``12 machines: a, b, … and 2 more``."""
    told = counted(len(machines), "machine")
    shown = ", ".join(clean(str(one)) for one in machines[:_MACHINES_NAMED])
    more = len(machines) - _MACHINES_NAMED
    told += f": {shown}" if shown else ""
    return f"{told} and {more} more" if more > 0 else told


def sessions_end(done: Item) -> str:
    """How many sessions what was done ends, as part of a sentence."""
    return counted(done.get("sessions_ended", 0), "session ends", "sessions end")


def keys_are_revoked(done: Item) -> str:
    """How many keys what was done revokes, as part of a sentence."""
    return counted(done.get("keys_revoked", 0), "key is revoked", "keys are revoked")
