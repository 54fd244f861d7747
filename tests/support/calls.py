"""One HTTP call, as a stranger would make it: no client code of ours in between."""

from __future__ import annotations

import http.client
import json
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgpack

JSON = "application/json"
MSGPACK = "application/msgpack"


@dataclass(frozen=True)
class Answer:
    """Status, headers and decoded body."""

    status: int
    headers: http.client.HTTPMessage
    body: Any

    @property
    def code(self) -> str:
        """The problem's code; empty when it is none."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class Caller:
    """Calls ``url`` with ``key``, on a new connection each time unless ``kept``."""

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 20.0) -> None:
        self.url = url
        self.key = key
        self.timeout = timeout

    def connect(self) -> http.client.HTTPConnection:
        """A connection to make several calls on."""
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=self.timeout
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        media_type: str = JSON,
        kept: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """Make one call. ``raw`` sends these bytes instead of an encoded ``body``."""
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        data = raw
        if body is not None:
            data = msgpack.packb(body) if media_type == MSGPACK else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = media_type
        connection = kept or self.connect()
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, _decode(response))
        finally:
            if kept is None:
                connection.close()

    def acquire(self, license: str = "kre", **fields: object) -> Answer:
        """``POST /v1/leases`` for a new id unless ``id`` is given."""
        return self.call("POST", "/v1/leases", wish(license=license, **fields))

    def renew(self, *ids: object) -> Answer:
        """``POST /v1/leases/renew`` of ids, or of what the protocol allows in their place."""
        return self.call("POST", "/v1/leases/renew", {"leases": list(ids)})

    def release(self, lease_id: str) -> Answer:
        """``DELETE /v1/leases/{id}``."""
        return self.call("DELETE", f"/v1/leases/{lease_id}")


def wish(**fields: object) -> dict[str, object]:
    """The body of a good acquire for a new id, with ``fields`` put in."""
    return {
        "id": str(uuid.uuid4()),
        "license": "kre",
        "machine": {"id": "machine-1"},
        "process": {"pid": 4711, "command": "pytest", "user": "ada"},
        **fields,
    }


def _decode(response: http.client.HTTPResponse) -> object:
    data = response.read()
    media_type = response.headers.get_content_type()
    if media_type.endswith("json"):
        return json.loads(data)
    if media_type.endswith("msgpack"):
        return msgpack.unpackb(data)
    return data.decode()
