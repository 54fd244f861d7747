"""Tables that fit: a heading, aligned columns, and cells cut where the terminal ends."""

from __future__ import annotations

import textwrap
import unicodedata

from lessor.text import clean

from .terminal import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Item = dict[str, object]
    Read = Callable[[Item], object]

_LONGEST = 400
_NARROWEST = 6
_GAP = 2
_MARGIN = 4


class Column:
    """One column. ``source`` is a field, dotted where nested, or a function of the item.

    A ``firm`` column is never cut, because half of what it holds is of no use. One that goes
    ``below`` is not cut either: in a table too wide for the terminal it stands under its row.
    A ``spare`` one is left out of a table that is still too wide then.
    """

    def __init__(
        self,
        heading: str,
        source: str | Read,
        *,
        is_number: bool = False,
        firm: bool = False,
        is_state: bool = False,
        below: bool = False,
        spare: bool = False,
    ) -> None:
        self.heading = heading
        self.is_number = is_number
        self.firm = firm or is_number or is_state
        self.is_state = is_state
        self.below = below
        self.spare = spare
        self._source = source

    def cell(self, item: Item) -> str:
        """The text of an item in this column, fit for a terminal; ``-`` for nothing."""
        found = pick(item, self._source) if isinstance(self._source, str) else self._source(item)
        return cell_text(found)


def pick(item: object, path: str) -> object:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def cell_text(value: object) -> str:
    """A value as one clean line."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        value = ", ".join(str(one) for one in value)
    if isinstance(value, dict):
        value = ", ".join(f"{name}={one}" for name, one in value.items())
    return clean(str(value), _LONGEST)


def lines(
    columns: Sequence[Column], items: Sequence[Item], width: int | None, style: Style
) -> list[str]:
    """The table. A column that no item fills is left out. ``width`` None cuts nothing."""
    notes: list[list[str]] = [[] for _ in items]
    if width is not None and _is_wider(columns, items, width):
        notes = [_below(columns, item, width) for item in items]
        columns = [column for column in columns if not column.below]
        if _is_wider(columns, items, width):
            columns = [column for column in columns if not column.spare]
    rows = [[column.cell(item) for column in columns] for item in items]
    kept = [i for i in range(len(columns)) if any(row[i] != "-" for row in rows)]
    columns = [columns[i] for i in kept]
    rows = [[row[i] for i in kept] for row in rows]
    widths = [
        max([_width(column.heading), *(_width(row[i]) for row in rows)])
        for i, column in enumerate(columns)
    ]
    if width is not None:
        _narrow(columns, widths, width)
    heading = _row(columns, [column.heading for column in columns], widths)
    found = [style.paint(_joined(heading), "1")]
    for row, note in zip(rows, notes, strict=True):
        cells = _row(columns, row, widths)
        cells = [
            style.state(cell) if column.is_state else cell
            for cell, column in zip(cells, columns, strict=True)
        ]
        found.append(_joined(cells))
        found += note
    return found


def _is_wider(columns: Sequence[Column], items: Sequence[Item], width: int) -> bool:
    """Whether the table is wider, with nothing cut."""
    return max(map(_width, lines(columns, items, None, Style(has_colour=False)))) > width


def _below(columns: Sequence[Column], item: Item, width: int) -> list[str]:
    """What stands under a row, in as many lines as it takes."""
    told = [text for column in columns if column.below and (text := column.cell(item)) != "-"]
    margin = " " * _MARGIN
    return [
        line
        for text in told
        for line in textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin)
    ]


def details(fields: Sequence[Column], item: Item, style: Style) -> list[str]:
    """One item, a field a line; what it does not have is left out."""
    width = max((len(field.heading) for field in fields), default=0)
    found = []
    for field in fields:
        text = field.cell(item)
        if text != "-":
            shown = style.state(text) if field.is_state else text
            found.append(f"{style.paint(field.heading.ljust(width), '2')}  {shown}")
    return found


def _narrow(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Take from the widest columns that may be cut until all fit, or none can be cut further."""
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    while excess > 0:
        soft = [
            i
            for i, column in enumerate(columns)
            if not column.firm and widths[i] > max(_NARROWEST, len(column.heading))
        ]
        if not soft:
            return
        widest = max(soft, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1


def _row(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    found = []
    for column, text, width in zip(columns, cells, widths, strict=True):
        shown = _cut(text, width)
        padding = " " * (width - _width(shown))
        found.append(padding + shown if column.is_number else shown + padding)
    return found


def _joined(cells: Sequence[str]) -> str:
    return (" " * _GAP).join(cells).rstrip()


def _width(text: str) -> int:
    """Columns that a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
