"""Where an answer goes: tables and sentences for people, JSON for programs, all on stdout."""

from __future__ import annotations

import json

from lessor import streams
from lessor.text import say

from . import table, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Item = dict[str, object]


class Output:
    """The output of one invocation."""

    def __init__(self, environ: Mapping[str, str], *, as_json: bool) -> None:
        self.as_json = as_json
        self._style = terminal.Style.of_stdout(environ)

    def list(
        self,
        columns: Sequence[table.Column],
        items: Iterable[Item],
        *,
        nothing: str,
        limit: int = 0,
    ) -> None:
        """A list. With a ``limit``, one item more than that says that there are more."""
        found = list(items)
        more = bool(limit) and len(found) > limit
        found = found[:limit] if more else found
        if self.as_json:
            self.json({"items": found, **({"more": True} if more else {})})
        elif not found:
            self.text(nothing)
        else:
            self.text("\n".join(table.lines(columns, found, terminal.width(), self._style)))
        if more and not self.as_json:
            say(f"there are more than {limit}: --limit N shows N, --limit 0 all")

    def one(self, fields: Sequence[table.Column], item: Item) -> None:
        """One thing with all it has."""
        if self.as_json:
            self.json(item)
        else:
            self.text("\n".join(table.details(fields, item, self._style)))

    def done(self, item: Item, sentence: str) -> None:
        """What was done: the server's answer as JSON, or a sentence."""
        if self.as_json:
            self.json(item)
        else:
            self.text(sentence)

    def json(self, value: object) -> None:
        """A value, indented."""
        self.text(json.dumps(value, indent=2))

    def text(self, text: str) -> None:
        """Text, and a line end."""
        self.raw(f"{text}\n")

    def raw(self, text: str) -> None:
        """Text as it is."""
        streams.write(text)
