"""Lists as CSV and JSON lines, for spreadsheets and log pipelines."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from aiohttp import web
from lessor_protocol.fields import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON = "json"
CSV = "csv"
JSON_LINES = "jsonl"
MEDIA_TYPES = {CSV: "text/csv", JSON_LINES: "application/jsonl"}

NEXT_HEADER = "Lessor-Next"
"""The cursor of the next page, where the body has no place for it."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def wanted_format(request: web.Request) -> str:
    """``json``, ``csv`` or ``jsonl``, by the query or else the Accept header."""
    named = request.query.get("format")
    if named is not None:
        if named not in (JSON, *MEDIA_TYPES):
            raise invalid("format", "must be json, csv or jsonl")
        return named
    accepted = [
        part.partition(";")[0].strip() for part in request.headers.get("Accept", "").split(",")
    ]
    return next((one for one, media_type in MEDIA_TYPES.items() if media_type in accepted), JSON)


def export(
    kind: str, items: Sequence[dict[str, object]], columns: Sequence[str], following: str | None
) -> web.Response:
    """One page in the wanted format; ``columns`` are those of the CSV, dotted where nested."""
    text = _csv(items, columns) if kind == CSV else _json_lines(items)
    headers = {"Content-Type": f"{MEDIA_TYPES[kind]}; charset=utf-8"}
    if following is not None:
        headers[NEXT_HEADER] = following
    return web.Response(text=text, headers=headers)


def _json_lines(items: Sequence[dict[str, object]]) -> str:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


def _csv(items: Sequence[dict[str, object]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for item in items:
        writer.writerow([_cell(_pick(item, column)) for column in columns])
    return text.getvalue()


def _pick(item: object, column: str) -> object:
    for name in column.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _cell(value: object) -> str:
    """The value as text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA_STARTS):
        return "'" + text
    return text
