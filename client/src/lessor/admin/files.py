"""Secrets and files on their way to people: shown once, or written for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from lessor.errors import UsageError
from lessor.text import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser

    from .actions import Desk

    Item = dict[str, object]


def add_output(parser: ArgumentParser) -> None:
    """``--output FILE`` for a secret."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the secret to a new file that only you can read (stdout)",
    )


def hand_over(desk: Desk, made: Item, key: Item, output: str | None, sentence: str) -> None:
    """Give a new key's secret to whoever made it: into a file, or once on stdout.

    On stdout stands the secret alone, so that it can go into a secret store without a detour.
    """
    secret = str(key.pop("secret", ""))
    if output:
        write_private(output, secret + "\n")
        desk.out.done(made, f"{sentence}; the key {key.get('id')} is in {output}")
    elif desk.out.as_json:
        key["secret"] = secret
        desk.out.json(made)
    else:
        say(f"{sentence}; this is the key {key.get('id')}, and it is not shown again:")
        desk.out.text(secret)


def check_new_file(path: str | None) -> None:
    """Complain about a file that could not be written, before there is anything to lose.

    Raises ``UsageError``.
    """
    if path is None:
        return
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise UsageError(f"{path} is there already: name a new file")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written: look at its folder")


def write_private(path: str, text: str) -> None:
    """Write a new file that only its owner can read. Raises ``UsageError``, also if it exists."""
    _write_new(path, text, 0o600)


def write_public(path: str, text: str) -> None:
    """Write a new file that others may read. Raises ``UsageError``, also if it exists."""
    _write_new(path, text, 0o666)  # less what the umask takes away


def _write_new(path: str, text: str, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise UsageError(f"{path} is there already: name a new file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def read_text(path: str, longest: int) -> str:
    """A text file. Raises ``UsageError``."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(longest + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > longest:
        raise UsageError(f"{path} is too long: it has more than {longest} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text") from None
