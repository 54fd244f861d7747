"""API keys: making them, and checking one. Only the digest of a secret is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

from lessor_protocol.credentials import PREFIX

_ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 12
SECRET_LENGTH = 40
"""40 characters of 62 are 238 random bits: a plain digest of them cannot be searched."""


def make_api_key() -> str:
    """A new key, ``lsr_<id>_<secret>``."""
    return f"{PREFIX}_{_random(ID_LENGTH)}_{_random(SECRET_LENGTH)}"


def digest(secret: str) -> bytes:
    """What is stored of a key's secret."""
    return hashlib.sha256(secret.encode()).digest()


def matches(secret: str, stored: bytes) -> bool:
    """Whether ``secret`` is the one behind ``stored``; takes the same time either way."""
    return hmac.compare_digest(digest(secret), stored)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
