"""The description of the HTTP API (OpenAPI 3.1). A test holds it to the routes."""

from __future__ import annotations

from typing import Any

from lessor_protocol import codec
from lessor_protocol.errors import HTTP_STATUS
from lessor_protocol.fields import MAX_NAME, MAX_TEXT
from lessor_protocol.messages import MAX_CERTIFICATE, MAX_RENEWALS, MAX_SEATS

from lessor_daemon import __version__

from .leases import LONGEST_PAGE

Schema = dict[str, Any]

_UUID: Schema = {"type": "string", "format": "uuid"}
_SECONDS: Schema = {"type": "number", "minimum": 0, "description": "seconds"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_CERTIFICATE: Schema = {"type": "string", "maxLength": MAX_CERTIFICATE}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lessor",
            "version": __version__,
            "description": "Floating licences for processes. Durations are numbers of seconds.",
        },
        "paths": _paths(),
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {
                "Problem": {
                    "description": "Problem details (RFC 9457) with a stable code",
                    "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                    "content": {codec.PROBLEM_JSON: {"schema": _ref("Problem")}},
                }
            },
        },
    }


def _paths() -> Schema:
    lease_id = _parameter("id", "path", _UUID)
    org = _parameter("org", "path", _NAME)
    pages = [
        _parameter("cursor", "query", {"type": "string"}),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE}),
    ]
    granted = _object({"lease": _ref("Lease")}, ["lease"])
    return {
        "/v1/leases": {
            "post": _call(
                "Acquire a seat; the same request again gets the same answer",
                {
                    "201": ("granted", granted),
                    "200": ("granted before", granted),
                    "202": ("waits; claim by repeating the request", _ref("Queued")),
                },
                body="AcquireRequest",
            ),
            "get": _call(
                "Leases that the key may see",
                {"200": ("a page", _page("Lease"))},
                parameters=pages,
            ),
        },
        "/v1/leases/renew": {
            "post": _call(
                "Renew leases", {"200": ("done", _ref("RenewAnswer"))}, body="RenewRequest"
            )
        },
        "/v1/leases/{id}": {
            "get": _call("One lease", {"200": ("it", _ref("Lease"))}, parameters=[lease_id]),
            "delete": _call(
                "Release a lease or leave the queue",
                {"204": ("released, also before", None)},
                parameters=[lease_id],
            ),
        },
        "/v1/whoami": {"get": _call("The key itself", {"200": ("it", _ref("Whoami"))})},
        "/v1/orgs/{org}": {
            "get": _call(
                "The organization", {"200": ("it", _ref("Organization"))}, parameters=[org]
            )
        },
        "/v1/orgs/{org}/licenses": {
            "get": _call(
                "Licenses and what is free",
                {"200": ("all", _page("License"))},
                parameters=[org],
            )
        },
        "/livez": {"get": _probe("The daemon is alive", codec.JSON)},
        "/readyz": {"get": _probe("The daemon can serve calls", codec.JSON)},
        "/metrics": {"get": _probe("Prometheus metrics", "text/plain")},
        "/openapi.json": {"get": _probe("This document", codec.JSON)},
    }


def _schemas() -> Schema:
    machine = _object(
        {"id": _NAME, "name": {"type": "string"}, "ephemeral": {"type": "boolean"}}, ["id"]
    )
    process = _object(
        {
            "pid": _COUNT,
            "command": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            "user": {"type": "string", "maxLength": MAX_NAME},
        },
        ["pid", "command"],
    )
    lease = {
        "id": _UUID,
        "license": _NAME,
        "token": _COUNT,
        "ttl": _SECONDS,
        "renew_after": _SECONDS,
        "granted_at": _MOMENT,
        "certificate": _CERTIFICATE,
        "machine": _ref("Machine"),
        "process": _ref("Process"),
        "labels": _LABELS,
    }
    request = {
        "id": _UUID,
        "license": _NAME,
        "machine": _ref("Machine"),
        "process": _ref("Process"),
        "labels": _LABELS,
        "wait": _SECONDS,
        "seats": {"type": "integer", "minimum": 1, "maximum": MAX_SEATS},
        "certificate": _CERTIFICATE,
    }
    renewal = {"oneOf": [_UUID, _object({"id": _UUID, "certificate": _CERTIFICATE}, ["id"])]}
    return {
        "Machine": machine,
        "Process": process,
        "Lease": _object(lease, list(lease)),
        "AcquireRequest": _object(request, ["id", "license", "machine", "process"]),
        "RenewRequest": _object({"leases": _list(renewal, MAX_RENEWALS)}, ["leases"]),
        "RenewAnswer": _object(
            {
                "renewed": _list(_UUID, MAX_RENEWALS),
                "lost": _list(_ref("Lost"), MAX_RENEWALS),
                "notices": {"type": "array"},
                "ttl": _SECONDS,
                "renew_after": _SECONDS,
            },
            ["renewed", "lost", "notices", "ttl", "renew_after"],
        ),
        "Lost": _object(
            {"id": _UUID, "code": _code(), "reason": {"type": "string"}}, ["id", "code", "reason"]
        ),
        "Queued": _object(
            {
                "ticket": _COUNT,
                "position": _COUNT,
                "blocked_by": {"enum": ["seats", "machines"]},
                "holders": _list(_ref("Holder")),
                "retry_after": _SECONDS,
            },
            ["ticket", "position", "blocked_by", "holders", "retry_after"],
        ),
        "Holder": _object(
            {
                "user": {"type": "string"},
                "machine": {"type": "string"},
                "command": {"type": "string"},
                "labels": _LABELS,
                "since": _MOMENT,
            },
            ["user", "machine", "command", "labels", "since"],
        ),
        "Whoami": _object(
            {
                "organization": {"type": ["string", "null"]},
                "key": {"type": "object"},
                "default_license": {"type": ["string", "null"]},
            },
            ["organization", "key", "default_license"],
        ),
        "Organization": _object({"slug": _NAME, "name": _NAME}, ["slug", "name"]),
        "License": _object(
            {
                "name": _NAME,
                "kind": {"enum": ["floating", "named-user"]},
                "seats": _COUNT,
                "offline_seats": _COUNT,
                "leases": _COUNT,
                "available": _COUNT,
                "machines": _COUNT,
                "machine_quota": {"oneOf": [_COUNT, {"const": "unlimited"}]},
                "queue_length": _COUNT,
                "ttl": _SECONDS,
                "expires": _MOMENT,
            },
            ["name", "kind", "seats", "available", "machine_quota"],
        ),
        "Problem": _object(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": _code(),
                "retry_after": _SECONDS,
            },
            ["type", "title", "status", "detail", "code"],
        ),
    }


def _call(
    summary: str,
    answers: dict[str, tuple[str, Schema | None]],
    *,
    body: str | None = None,
    parameters: list[Schema] | None = None,
) -> Schema:
    responses: Schema = {}
    for status, (description, schema) in answers.items():
        responses[status] = {"description": description}
        if schema is not None:
            responses[status]["content"] = _both(schema)
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    call: Schema = {"summary": summary, "security": [{"apiKey": []}], "responses": responses}
    if body is not None:
        call["requestBody"] = {"required": True, "content": _both(_ref(body))}
    if parameters:
        call["parameters"] = parameters
    return call


def _probe(summary: str, media_type: str) -> Schema:
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": "so it is", "content": {media_type: {"schema": {}}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _both(schema: Schema) -> Schema:
    return {codec.JSON: {"schema": schema}, codec.MSGPACK: {"schema": schema}}


def _parameter(name: str, place: str, schema: Schema) -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema, most: int | None = None) -> Schema:
    found: Schema = {"type": "array", "items": items}
    if most is not None:
        found["maxItems"] = most
    return found


def _page(item: str) -> Schema:
    return _object({"items": _list(_ref(item)), "next": {"type": "string"}}, ["items"])


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _code() -> Schema:
    return {"type": "string", "examples": sorted(HTTP_STATUS)}
