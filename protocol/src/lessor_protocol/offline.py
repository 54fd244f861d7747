"""Offline licenses: signed files that hold seats for one machine without the server.

Three kinds of file, each an armoured text that survives mail and copy and paste:

========== ============================ =======================================================
kind       signed with                  says
========== ============================ =======================================================
REQUEST    nothing                      a machine without network asks for a license
LICENSE    one of the server's keys     that machine may run so many processes until it expires
RECEIPT    the license's *return key*   the machine has given the license back, and destroyed it
========== ============================ =======================================================

The armour holds base64 of a signature of 64 bytes (Ed25519; absent in a request) and the content,
JSON in UTF-8 with sorted names and no spaces. The signature covers the kind, too, so that one kind
of file cannot pass for another. The seed of the return key is in the license: whoever holds the
file may return it, and nobody else.

Signing and checking need the package ``cryptography``, which is imported only then.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import codec
from .errors import Problem
from .fields import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
REQUEST = "LESSOR OFFLINE REQUEST"
LICENSE = "LESSOR OFFLINE LICENSE"
RECEIPT = "LESSOR OFFLINE RECEIPT"

SEED_BYTES = 32
SIGNATURE_BYTES = 64
MAX_ARMOURED = 16_384
MAX_SEATS = 1_000_000
_LINE = 64


class BadFile(Exception):
    """The file is not what it should be. The text says what is wrong, for whoever handed it in."""


@dataclass(frozen=True)
class OfflineRequest:
    """What a machine asks for. ``license`` "" leaves the choice to the admin."""

    machine: str
    machine_name: str = ""
    license: str = ""
    seats: int = 1


@dataclass(frozen=True)
class OfflineLicense:
    """What a machine may do. Times are seconds since 1970, UTC. ``return_seed`` is a secret."""

    serial: str
    org: str
    license: str
    machine: str
    seats: int
    issued: int
    expires: int
    key_id: str
    return_seed: bytes


@dataclass(frozen=True)
class Receipt:
    """A license given back."""

    serial: str
    machine: str
    returned: int


def write_request(request: OfflineRequest) -> str:
    """The request as a text."""
    content = {
        "version": VERSION,
        "machine": request.machine,
        "machine_name": request.machine_name,
        "license": request.license,
        "seats": request.seats,
    }
    return _armour(REQUEST, _canonical(content))


def read_request(text: str) -> OfflineRequest:
    """The request in a text. Raises ``BadFile``."""
    fields = _content(_open_armour(REQUEST, text))
    with _Complaints():
        return OfflineRequest(
            machine=fields.text("machine"),
            machine_name=fields.text("machine_name", default="", empty=True),
            license=fields.text("license", default="", empty=True),
            seats=fields.integer("seats", default=1, least=1, most=MAX_SEATS),
        )


def write_license(license: OfflineLicense, signing_seed: bytes) -> str:
    """The license as a text, signed with the key ``license.key_id``."""
    content = {
        "version": VERSION,
        "serial": license.serial,
        "org": license.org,
        "license": license.license,
        "machine": license.machine,
        "seats": license.seats,
        "issued": license.issued,
        "expires": license.expires,
        "key_id": license.key_id,
        "return_seed": b64encode(license.return_seed).decode(),
    }
    return _armour(LICENSE, _signed(LICENSE, _canonical(content), signing_seed))


def read_license(text: str, public_keys: Mapping[str, bytes]) -> OfflineLicense:
    """The license in a text, if one of these keys (by id) has signed it. Raises ``BadFile``.

    Machine and expiry are the caller's to check.
    """
    data = _open_armour(LICENSE, text)
    fields = _content(data[SIGNATURE_BYTES:])
    with _Complaints():
        key_id = fields.text("key_id")
        if key_id not in public_keys:
            raise BadFile(f"it is signed with the key {key_id!r}, which is not known here")
        _check_signature(LICENSE, data, public_keys[key_id])
        return OfflineLicense(
            serial=fields.text("serial"),
            org=fields.text("org"),
            license=fields.text("license"),
            machine=fields.text("machine"),
            seats=fields.integer("seats", least=1, most=MAX_SEATS),
            issued=fields.integer("issued"),
            expires=fields.integer("expires"),
            key_id=key_id,
            return_seed=_bytes(fields.text("return_seed"), SEED_BYTES),
        )


def write_receipt(receipt: Receipt, return_seed: bytes) -> str:
    """The receipt as a text, signed with the return key of its license."""
    content = {
        "version": VERSION,
        "serial": receipt.serial,
        "machine": receipt.machine,
        "returned": receipt.returned,
    }
    return _armour(RECEIPT, _signed(RECEIPT, _canonical(content), return_seed))


def read_receipt(text: str, return_key: bytes) -> Receipt:
    """The receipt in a text, if it is signed with this public key. Raises ``BadFile``."""
    data = _open_armour(RECEIPT, text)
    _check_signature(RECEIPT, data, return_key)
    return claimed_receipt(text)


def claimed_receipt(text: str) -> Receipt:
    """What a receipt says, unchecked: to find the license whose key checks it."""
    fields = _content(_open_armour(RECEIPT, text)[SIGNATURE_BYTES:])
    with _Complaints():
        return Receipt(
            serial=fields.text("serial"),
            machine=fields.text("machine"),
            returned=fields.integer("returned"),
        )


def public_key(seed: bytes) -> bytes:
    """The public half of the key that this seed makes, 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - see above
        Ed25519PrivateKey,
    )

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _signed(kind: str, content: bytes, seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - see above
        Ed25519PrivateKey,
    )

    return Ed25519PrivateKey.from_private_bytes(seed).sign(_covered(kind, content)) + content


def _check_signature(kind: str, data: bytes, key: bytes) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - see above
        Ed25519PublicKey,
    )

    signature, content = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _covered(kind, content))
    except (InvalidSignature, ValueError):
        raise BadFile("its signature does not fit: it was changed, or is not genuine") from None


def _covered(kind: str, content: bytes) -> bytes:
    return kind.encode() + b"\0" + content


def _canonical(content: dict[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _content(data: bytes) -> Reader:
    try:
        fields = Reader(codec.decode(data, codec.JSON))
        version = fields.integer("version")
    except Problem as problem:
        raise BadFile(problem.detail) from None
    if version != VERSION:
        raise BadFile(f"it has version {version}, and only {VERSION} is understood here")
    return fields


class _Complaints:
    """Turns what ``Reader`` finds into ``BadFile``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Problem):
            raise BadFile(error.detail) from None


def _armour(kind: str, data: bytes) -> str:
    text = b64encode(data).decode()
    lines = [text[i : i + _LINE] for i in range(0, len(text), _LINE)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def _open_armour(kind: str, text: str) -> bytes:
    if len(text) > MAX_ARMOURED:
        raise BadFile(f"it has more than {MAX_ARMOURED} characters")
    lines = [line.strip() for line in text.strip().splitlines()]
    begin, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"
    if len(lines) < 3 or lines[0] != begin or lines[-1] != end:
        raise BadFile(f"it does not begin with {begin} and end with {end}")
    try:
        return b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:
        raise BadFile("what is between its first and last line is not base64") from None


def _bytes(text: str, length: int) -> bytes:
    try:
        found = b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != length:
        raise BadFile("a key in it is not whole")
    return found
