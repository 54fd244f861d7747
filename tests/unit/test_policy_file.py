"""The policy file of ``lessor license policy``: what it may hold, before a server is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor.commands.license_policy import read_policy
from lessor.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def policy(directory: Path, text: str) -> list[dict[str, object]]:
    file = directory / "policy.toml"
    file.write_text(f"[[group]]\n{text}")
    return read_policy(str(file))


def test_a_head_start_is_a_duration_or_seconds(tmp_path: Path) -> None:
    assert policy(tmp_path, 'head_start = "5m"') == [{"head_start": 300.0}]
    assert policy(tmp_path, "head_start = 2.5") == [{"head_start": 2.5}]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("head_start = 00:05:00", 'head_start: 00:05:00 cannot be meant: write it as "5m"'),
        ("label = { since = 2027-01-01 }", "label: "),
        ("label = { since = [2027-01-01T00:00:00Z] }", "label: "),
        ("cap = 99999999999999999999999", "cap: "),
    ],
)
def test_what_only_toml_has_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        policy(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/policy.toml: {place}")
