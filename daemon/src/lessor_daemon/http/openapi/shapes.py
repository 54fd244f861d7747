"""The small shapes that the description of the API is put together from."""

from __future__ import annotations

from typing import Any

from lessor_protocol import codec
from lessor_protocol.errors import HTTP_STATUS
from lessor_protocol.fields import MAX_NAME

from lessor_daemon.http.paging import LONGEST_PAGE

Schema = dict[str, Any]

UUID: Schema = {"type": "string", "format": "uuid"}
SECONDS: Schema = {"type": "number", "minimum": 0, "description": "seconds"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
MOMENT: Schema = {"type": "string", "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def call(
    summary: str,
    answers: dict[str, tuple[str, Schema | None]],
    *,
    body: str | None = None,
    parameters: list[Schema] | None = None,
    etag: bool = False,
    other_types: tuple[str, ...] = (),
) -> Schema:
    """One operation. ``etag``: answers carry one; ``other_types``: more types of a 200."""
    responses: Schema = {}
    for status, (description, schema) in answers.items():
        responses[status] = {"description": description}
        if schema is not None:
            responses[status]["content"] = both(schema)
        if etag and status != "204":
            responses[status]["headers"] = {"ETag": {"schema": TEXT}}
    for media_type in other_types:
        responses["200"]["content"][media_type] = {"schema": TEXT}
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    found: Schema = {"summary": summary, "security": [{"apiKey": []}], "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": both(ref(body))}
    if parameters:
        found["parameters"] = parameters
    return found


def probe(summary: str, media_type: str) -> Schema:
    """An operation that needs no key."""
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": "so it is", "content": {media_type: {"schema": {}}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def both(schema: Schema) -> Schema:
    """``schema`` in both media types."""
    return {codec.JSON: {"schema": schema}, codec.MSGPACK: {"schema": schema}}


def parameter(name: str, place: str, schema: Schema, description: str = "") -> Schema:
    """A parameter in the ``path``, the ``query`` or a ``header``."""
    found = {"name": name, "in": place, "required": place == "path", "schema": schema}
    if description:
        found["description"] = description
    return found


def object_of(properties: Schema, required: list[str]) -> Schema:
    """An object; fields that are not named are allowed, and ignored in requests."""
    return {"type": "object", "properties": properties, "required": required}


def body_of(properties: Schema, required: list[str]) -> Schema:
    """The object of a request: null counts as absent, so what may be absent may be null."""
    named = {
        name: schema if name in required else or_null(schema) for name, schema in properties.items()
    }
    return object_of(named, required)


def or_null(schema: Schema) -> Schema:
    """What ``schema`` allows, and null."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    if "oneOf" in schema and {"type": "null"} not in schema["oneOf"]:
        return {**schema, "oneOf": [*schema["oneOf"], {"type": "null"}]}
    return schema


def list_of(items: Schema, most: int | None = None) -> Schema:
    """A list."""
    found: Schema = {"type": "array", "items": items}
    if most is not None:
        found["maxItems"] = most
    return found


def page_of(item: str) -> Schema:
    """A page of a list: ``next`` is the cursor of the following one, absent on the last."""
    return object_of({"items": list_of(ref(item)), "next": TEXT}, ["items"])


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def code() -> Schema:
    """An error code."""
    return {"type": "string", "examples": sorted(HTTP_STATUS)}


CURSOR = parameter("cursor", "query", TEXT, "the `next` of an earlier page")
PAGES = [
    CURSOR,
    parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE}),
]
