"""Leases, the key itself and operations, as the description shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec
from lessor_protocol.fields import MAX_NAME, MAX_TEXT
from lessor_protocol.message import (
    MAX_CERTIFICATE,
    MAX_LABEL_TEXT,
    MAX_LABELS,
    MAX_RENEWALS,
    MAX_SEATS,
)
from lessor_protocol.watch import MAX_WATCHED

from .shapes import (
    COUNT,
    FLAG,
    LABELS,
    MOMENT,
    NAME,
    PAGES,
    SECONDS,
    UUID,
    body_of,
    call,
    code,
    list_of,
    object_of,
    page_of,
    parameter,
    probe,
    ref,
)

if TYPE_CHECKING:
    from .shapes import (
        Schema,
    )

_NAME_OR_NONE: Schema = {"type": "string", "maxLength": MAX_NAME}
_CERTIFICATE: Schema = {"type": "string", "maxLength": MAX_CERTIFICATE}


def paths() -> Schema:
    """Path → method → operation."""
    lease_id = parameter("id", "path", UUID)
    granted = object_of({"lease": ref("Lease")}, ["lease"])
    return {
        "/v1/leases": {
            "post": call(
                "Acquire a seat; the same request again gets the same answer",
                {
                    "201": ("granted", granted),
                    "200": ("granted before", granted),
                    "202": ("waits; claim by repeating the request", ref("Queued")),
                },
                body="AcquireRequest",
            ),
            "get": call(
                "Leases that the key may see",
                {"200": ("a page", page_of("Lease"))},
                parameters=PAGES,
            ),
        },
        "/v1/leases/renew": {
            "post": call("Renew leases", {"200": ("done", ref("RenewAnswer"))}, body="RenewRequest")
        },
        "/v1/leases/watch": {
            "post": call(
                "Be told between renewals; held until there is something to tell",
                {"200": ("what there is to tell, or nothing", ref("WatchAnswer"))},
                body="WatchRequest",
            )
        },
        "/v1/leases/{id}": {
            "get": call("One lease", {"200": ("it", ref("Lease"))}, parameters=[lease_id]),
            "delete": call(
                "Release a lease or leave the queue",
                {"204": ("released, also before", None)},
                parameters=[lease_id],
            ),
        },
        "/v1/stream": {
            "get": call("The WebSocket: docs/protocol.md", {"101": ("frames follow", None)})
        },
        "/v1/whoami": {"get": call("The key itself", {"200": ("it", ref("Whoami"))})},
        "/livez": {"get": probe("The daemon is alive", codec.JSON)},
        "/readyz": {"get": probe("The daemon can serve calls", codec.JSON)},
        "/metrics": {"get": probe("Prometheus metrics", "text/plain")},
        "/openapi.json": {"get": probe("This document", codec.JSON)},
    }


def schemas() -> Schema:
    """Name → schema."""
    machine = object_of(
        {"id": NAME, "name": {"type": "string"}, "ephemeral": {"type": "boolean"}}, ["id"]
    )
    process = object_of(
        {
            "pid": COUNT,
            "command": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            "user": {"type": "string", "maxLength": MAX_NAME},
        },
        ["pid", "command"],
    )
    lease = {
        "id": UUID,
        "license": NAME,
        "token": COUNT,
        "ttl": SECONDS,
        "renew_after": SECONDS,
        "granted_at": MOMENT,
        "certificate": _CERTIFICATE,
        "machine": ref("Machine"),
        "process": ref("Process"),
        "labels": LABELS,
        "seats": COUNT,
        "idle_timeout": SECONDS,
    }
    return {
        **_requests(),
        "Machine": machine,
        "Process": process,
        "Lease": object_of(
            lease, [name for name in lease if name not in ("seats", "idle_timeout")]
        ),
        "RenewAnswer": object_of(
            {
                "renewed": list_of(UUID, MAX_RENEWALS),
                "lost": list_of(ref("Lost"), MAX_RENEWALS),
                "notices": {"type": "array", "items": ref("Notice")},
                "ttl": SECONDS,
                "renew_after": SECONDS,
            },
            ["renewed", "lost", "notices", "ttl", "renew_after"],
        ),
        "WatchAnswer": object_of(
            {
                "lost": list_of(ref("Lost"), MAX_WATCHED),
                "notices": {"type": "array", "items": ref("Notice")},
            },
            ["lost", "notices"],
        ),
        "Notice": object_of(
            {
                "lease": UUID,
                "id": {"type": "string"},
                "code": {"type": "string", "examples": ["finish"]},
                "text": {"type": "string"},
                "by": {"type": "string"},
                "at": MOMENT,
            },
            ["lease", "code"],
        ),
        "Lost": object_of(
            {"id": UUID, "code": code(), "reason": {"type": "string"}}, ["id", "code", "reason"]
        ),
        "Queued": object_of(
            {
                "ticket": COUNT,
                "position": COUNT,
                "ahead": COUNT,
                "blocked_by": {"enum": ["seats", "machines", "cap", "drained"]},
                "holders": list_of(ref("Holder")),
                "estimate": {"oneOf": [ref("Estimate"), {"type": "null"}]},
                "retry_after": SECONDS,
            },
            ["ticket", "position", "ahead", "blocked_by", "holders", "estimate", "retry_after"],
        ),
        "Estimate": object_of(
            {"p50": SECONDS, "p90": SECONDS, "from": COUNT}, ["p50", "p90", "from"]
        ),
        "Holder": object_of(
            {
                "user": {"type": "string"},
                "machine": {"type": "string"},
                "command": {"type": "string"},
                "labels": LABELS,
                "since": MOMENT,
                "seats": {**COUNT, "description": "where it holds more than one"},
            },
            ["user", "machine", "command", "labels", "since"],
        ),
        "Whoami": object_of(
            {
                "organization": {"type": ["string", "null"]},
                "key": {"type": "object"},
                "default_license": {"type": ["string", "null"]},
            },
            ["organization", "key", "default_license"],
        ),
        "Problem": object_of(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": code(),
                "retry_after": SECONDS,
            },
            ["type", "title", "status", "detail", "code"],
        ),
    }


def _requests() -> Schema:
    seats = {"type": "integer", "minimum": 1, "maximum": MAX_SEATS}
    machine = body_of({"id": NAME, "name": _NAME_OR_NONE, "ephemeral": FLAG}, ["id"])
    process = body_of(
        {
            "pid": {**COUNT, "maximum": 2**31 - 1},
            "command": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            "user": _NAME_OR_NONE,
        },
        ["pid", "command"],
    )
    request = {
        "id": UUID,
        "license": NAME,
        "machine": machine,
        "process": process,
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "propertyNames": {"minLength": 1, "maxLength": 64},
            "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_TEXT},
        },
        "wait": {**SECONDS, "maximum": 1e9},
        "hold": {**SECONDS, "maximum": 1e9, "description": "longest time to hold the answer back"},
        "seats": {"oneOf": [seats, object_of({"min": seats, "max": seats}, ["min", "max"])]},
        "certificate": _CERTIFICATE,
    }
    idle = {**SECONDS, "maximum": 1e9, "description": "for how long the seat is not used"}
    renewal = body_of({"id": UUID, "certificate": _CERTIFICATE, "idle": idle}, ["id"])
    renewals = list_of({"oneOf": [UUID, renewal]}, MAX_RENEWALS)
    watched = body_of({"id": UUID, "seen": _NAME_OR_NONE}, ["id"])
    leases = {**list_of({"oneOf": [UUID, watched]}, MAX_WATCHED), "minItems": 1}
    wait = {**SECONDS, "maximum": 1e9, "description": "longest time to hold the answer back"}
    return {
        "AcquireRequest": body_of(request, ["id", "license", "machine", "process"]),
        "RenewRequest": body_of({"leases": renewals}, ["leases"]),
        "WatchRequest": body_of({"leases": leases, "wait": wait}, ["leases"]),
    }
