"""Text for people: what came from outside made fit for a terminal, and a line on stderr."""

from __future__ import annotations

import os

from lessor_protocol.fields import MAX_NAME, is_plain_text


def clean(text: str, longest: int = MAX_NAME) -> str:
    """``text`` on one line, without control characters, of at most ``longest`` characters.

    Control characters and halves of surrogate pairs become ``?``, white space becomes a space.
    """
    if not is_plain_text(text):
        text = "".join(_shown(char) for char in text[: longest + 1])
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return text


def _shown(char: str) -> str:
    if is_plain_text(char):
        return char
    return " " if char.isspace() else "?"


def counted(number: object, noun: str, plural: str = "") -> str:
    """``1 seat``, ``2 seats``; ``plural`` for what does not just get an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def say(message: str) -> None:
    """One ``lessor:`` line on stderr, without ever failing because nobody reads it."""
    try:
        os.write(2, f"lessor: {message}\n".encode("utf-8", "replace"))
    except OSError:
        return
