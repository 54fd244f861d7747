"""API keys: making them, and checking one. Only the digest of a secret is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lessor_protocol.credentials import PREFIX

if TYPE_CHECKING:
    from lessor_daemon.store.directory import KeyRecord

_ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 12
SECRET_LENGTH = 40
"""40 characters of 62 are 238 random bits: a plain digest of them cannot be searched."""


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was just made, with the whole of its text, to be shown once and forgotten."""

    record: KeyRecord
    text: str = field(repr=False)


def make_id() -> str:
    """The part of a key that may be shown."""
    return _random(ID_LENGTH)


def make_secret() -> str:
    """The part that may not."""
    return _random(SECRET_LENGTH)


def key_text(key_id: str, secret: str) -> str:
    """The whole key, ``lsr_<id>_<secret>``."""
    return f"{PREFIX}_{key_id}_{secret}"


def make_api_key() -> str:
    """A new key."""
    return key_text(make_id(), make_secret())


def digest(secret: str) -> bytes:
    """What is stored of a key's secret."""
    return hashlib.sha256(secret.encode()).digest()


def matches(secret: str, stored: bytes) -> bool:
    """Whether ``secret`` is the one behind ``stored``; takes the same time either way."""
    return hmac.compare_digest(digest(secret), stored)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
