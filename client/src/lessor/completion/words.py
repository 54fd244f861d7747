"""What can be completed, read from the help of every command, so that nothing is listed twice."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from typing import NamedTuple

from lessor.cli import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTION = re.compile(r"(?<![\w-])(--?[A-Za-z][a-z-]*)(?![\w-])")
_CHOICES = re.compile(r"(?<![\w-])(--[a-z][a-z-]*) \{([\w,-]+)\}")
_ELSEWHERE = ("serve",)
"""Commands of other distributions, which may not be here."""


class Place(NamedTuple):
    """A command, or one action of it. ``choices``: option → its values."""

    command: str
    action: str
    summary: str
    options: list[str]
    choices: dict[str, list[str]]


def places() -> list[Place]:
    """All commands and actions, in the order of the help."""
    return [place for command in COMMANDS for place in _of(command)]


def actions_of(found: list[Place]) -> dict[str, list[str]]:
    """Command → the names of its actions; commands without any are left out."""
    grouped: dict[str, list[str]] = {}
    for place in found:
        if place.action:
            grouped.setdefault(place.command, []).append(place.action)
    return grouped


def _of(command: str) -> Iterator[Place]:
    if command in _ELSEWHERE:
        yield Place(command, "", COMMANDS[command], [], {})
        return
    module = importlib.import_module(f"lessor.commands.{command}")
    actions = getattr(module, "ACTIONS", ())
    if not actions:
        yield _place(command, "", COMMANDS[command], _help(module.main))
    for action in actions:
        text = action.parser(command).format_help()
        yield _place(command, action.name, action.summary, text)


def _place(command: str, action: str, summary: str, text: str) -> Place:
    options = sorted({match[1] for match in _OPTION.finditer(text)})
    choices = {match[1]: match[2].split(",") for match in _CHOICES.finditer(text)}
    return Place(command, action, summary, options, choices)


def _help(main: object) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        if callable(main):
            main(["--help"])
    return shown.getvalue()
