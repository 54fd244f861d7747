"""API keys: what is stored of a secret, and how one is compared."""

from __future__ import annotations

import ast
import hashlib
import hmac
import inspect
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory import api_keys, authentication
from lessor_daemon.leasing import certificate

if TYPE_CHECKING:
    from types import ModuleType

SECRET = "s" * api_keys.SECRET_LENGTH
SENSITIVE = ("digest", "secret", "mac", "api_key")


def test_a_secret_is_compared_as_a_digest_and_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    stored = hashlib.sha256(SECRET.encode()).digest()
    assert api_keys.digest(SECRET) == stored
    guesses = [SECRET, SECRET[:-1] + "x", "x" + SECRET[1:], "short", ""]
    assert [api_keys.matches(one, stored) for one in guesses] == [True, *[False] * 4]
    assert compared == [(hashlib.sha256(one.encode()).digest(), stored) for one in guesses]


@pytest.mark.parametrize("module", [api_keys, authentication, certificate])
def test_nothing_secret_is_compared_in_another_way(module: ModuleType) -> None:
    comparisons = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Compare)
        and any(isinstance(one, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for one in node.ops)
    ]
    named = {
        name
        for comparison in comparisons
        for node in ast.walk(comparison)
        if (name := getattr(node, "attr", getattr(node, "id", "")))
    }
    assert not [name for name in named if name.endswith(SENSITIVE)], named
