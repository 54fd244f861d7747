"""The description of the HTTP API (OpenAPI 3.1). A test holds it to the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec

from lessor_daemon import __version__

from . import administration, administration_schemas, leases
from .shapes import ref

if TYPE_CHECKING:
    from .shapes import Schema

__all__ = ["document"]


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lessor",
            "version": __version__,
            "description": "Floating licences for processes. Durations are numbers of seconds.",
        },
        "paths": leases.paths() | administration.paths(),
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
            "schemas": leases.schemas() | administration_schemas.schemas(),
            "responses": {
                "Problem": {
                    "description": "Problem details (RFC 9457) with a stable code",
                    "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                    "content": {codec.PROBLEM_JSON: {"schema": ref("Problem")}},
                }
            },
        },
    }
