"""Lease ids: made by the client, so that a repeated acquire is the same acquire."""

import os


def new_lease_id() -> bytes:
    """A random (version 4) UUID as 16 bytes."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def format_lease_id(lease_id: bytes) -> str:
    """``xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx``, lower case."""
    h = lease_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def parse_lease_id(text: str) -> bytes:
    """The 16 bytes of a UUID in its canonical form. Raises ``ValueError``."""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        try:
            raw = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            raw = b""
        # fromhex passes over blanks, and there may have been more hyphens.
        if len(raw) == 16:
            return raw
    raise ValueError("not a UUID")
