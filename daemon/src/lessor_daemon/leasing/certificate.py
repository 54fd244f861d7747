"""Certificates: a daemon's signed word that a lease was granted.

A client sends it back with its renewals. Should the store lose its memory, the certificate is what
proves the lease; it needs no directory and no data, only the secret that all daemons share.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, fields

import msgpack

MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Claims:
    """What a certificate says."""

    org: str
    license: str
    lease_id: bytes
    machine: str
    ephemeral: bool
    token: int
    epoch: int
    ttl_ms: int
    fingerprint: bytes
    owner: str
    seats: int
    group: str
    named: bool
    """Whether the seat is a registered user's."""
    key_id: str
    """The API key that asked for it, so that revoking the key ends it also once put back."""


_FIELDS = tuple(one.name for one in fields(Claims))


def issue(secret: bytes, claims: Claims) -> str:
    """The certificate as text for the wire."""
    # Field by field: ``astuple`` copies each value deeply, which cost more than the HMAC.
    body: bytes = msgpack.packb([getattr(claims, name) for name in _FIELDS])
    return urlsafe_b64encode(_mac(secret, body) + body).decode().rstrip("=")


def read(secret: bytes, text: str) -> Claims | None:
    """What the certificate says, or None if it was not issued under this secret."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, body)):
        return None
    return Claims(*msgpack.unpackb(body))


def _mac(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, b"lessor certificate 1\0" + body, hashlib.sha256)[:MAC_BYTES]
