"""Certificates say what was granted, and only under the secret that issued them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_daemon.leasing.certificate import Claims, issue, read
from lessor_protocol.message import MAX_CERTIFICATE

SECRET = b"s" * 32
CLAIMS = Claims(
    org="acme",
    license="kre",
    lease_id=bytes(range(16)),
    machine="m1",
    ephemeral=True,
    token=2**53 - 1,
    epoch=2**30 - 1,
    ttl_ms=30_000,
    fingerprint=b"12345678",
    owner="member:ada@example.com",
    seats=4,
    group="release",
    named=False,
    key_id="8f3kq2m7",
)


def test_reads_back_what_was_issued() -> None:
    assert read(SECRET, issue(SECRET, CLAIMS)) == CLAIMS


def test_is_worth_nothing_under_another_secret() -> None:
    assert read(b"t" * 32, issue(SECRET, CLAIMS)) is None


@pytest.mark.parametrize("position", range(0, 120, 7))
def test_one_changed_character_makes_it_worthless(position: int) -> None:
    text = issue(SECRET, CLAIMS)
    changed = "A" if text[position] != "A" else "B"
    assert read(SECRET, text[:position] + changed + text[position + 1 :]) is None


@given(st.text(max_size=200))
def test_any_other_text_is_worthless(text: str) -> None:
    assert read(SECRET, text) is None


def test_the_longest_claims_fit_the_wire() -> None:
    longest = Claims(
        org="o" * 63,
        license="l" * 64,
        lease_id=bytes(16),
        machine="\U0001f600" * 128,
        ephemeral=False,
        token=2**53 - 1,
        epoch=2**30 - 1,
        ttl_ms=600_000,
        fingerprint=bytes(8),
        owner="member:" + "e" * 255,
        seats=10_000,
        group="g" * 64,
        named=True,
        key_id="k" * 250,
    )
    assert len(issue(SECRET, longest)) <= MAX_CERTIFICATE
