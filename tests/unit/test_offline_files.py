"""Offline files: what was signed is read back, and nothing else is."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_protocol import offline as files

SEED = bytes(range(32))
KEYS = {"k1": files.public_key(SEED)}
LICENSE = files.OfflineLicense(
    serial="0011223344556677",
    org="acme",
    license="kre",
    machine="insel-\u00fc",
    seats=3,
    issued=1_800_000_000,
    expires=1_800_003_600,
    key_id="k1",
    return_seed=bytes(32),
)
RECEIPT = files.Receipt(LICENSE.serial, LICENSE.machine, 1_800_000_100)


def body(text: str) -> bytes:
    """What is in the armour."""
    return b64decode("".join(text.splitlines()[1:-1]))


def armoured(kind: str, data: bytes) -> str:
    """An armour around it."""
    return f"-----BEGIN {kind}-----\n{b64encode(data).decode()}\n-----END {kind}-----\n"


def test_a_license_is_read_as_it_was_written() -> None:
    text = files.write_license(LICENSE, SEED)
    assert files.read_license(text, KEYS) == LICENSE
    assert text.splitlines()[0] == "-----BEGIN LESSOR OFFLINE LICENSE-----"
    assert max(map(len, text.splitlines())) <= 64


def test_a_file_survives_mail_and_copy_and_paste() -> None:
    text = files.write_license(LICENSE, SEED)
    mangled = "\r\n".join("  " + line + " " for line in text.splitlines()) + "\r\n\r\n"
    assert files.read_license(mangled, KEYS) == LICENSE


def test_the_content_is_canonical_json_behind_the_signature() -> None:
    content = body(files.write_license(LICENSE, SEED))[files.SIGNATURE_BYTES :]
    assert content.startswith(b'{"expires":1800003600,"issued":1800000000,"key_id":"k1",')


@pytest.mark.parametrize("position", [0, 40, 64, 70, 120, -2])
def test_a_changed_byte_anywhere_is_noticed(position: int) -> None:
    data = bytearray(body(files.write_license(LICENSE, SEED)))
    data[position] ^= 1
    with pytest.raises(files.BadFile):
        files.read_license(armoured(files.LICENSE, bytes(data)), KEYS)


def test_only_known_keys_sign() -> None:
    other = replace(LICENSE, key_id="k2")
    with pytest.raises(files.BadFile, match="not known here"):
        files.read_license(files.write_license(other, SEED), KEYS)
    with pytest.raises(files.BadFile, match="signature"):
        files.read_license(files.write_license(LICENSE, bytes(32)), KEYS)


def test_one_kind_of_file_does_not_pass_for_another() -> None:
    license = body(files.write_license(LICENSE, SEED))
    with pytest.raises(files.BadFile, match="signature"):
        files.read_receipt(armoured(files.RECEIPT, license), KEYS["k1"])
    with pytest.raises(files.BadFile, match="does not begin with"):
        files.read_receipt(files.write_license(LICENSE, SEED), KEYS["k1"])


def test_a_receipt_is_signed_with_the_licenses_return_key() -> None:
    text = files.write_receipt(RECEIPT, LICENSE.return_seed)
    assert files.read_receipt(text, files.public_key(LICENSE.return_seed)) == RECEIPT
    with pytest.raises(files.BadFile, match="signature"):
        files.read_receipt(text, files.public_key(SEED))


def test_a_request_is_read_as_it_was_written() -> None:
    request = files.OfflineRequest("island", "laptop", "kre", 2)
    assert files.read_request(files.write_request(request)) == request


def test_a_newer_version_is_refused_as_such() -> None:
    content = body(files.write_request(files.OfflineRequest("m"))).replace(
        b'"version":1', b'"version":2'
    )
    with pytest.raises(files.BadFile, match="version 2"):
        files.read_request(armoured(files.REQUEST, content))


@given(st.text() | st.binary().map(lambda data: armoured(files.LICENSE, data)))
def test_whatever_is_handed_in_is_read_or_refused(text: str) -> None:
    for read in (
        lambda: files.read_license(text, KEYS),
        lambda: files.read_request(text),
        lambda: files.read_receipt(text, KEYS["k1"]),
    ):
        with pytest.raises(files.BadFile):
            read()
