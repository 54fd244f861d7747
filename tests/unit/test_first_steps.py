"""What a person is told after the first start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lessor_daemon import first_steps

if TYPE_CHECKING:
    import pytest

KEYS = [Path("/data/operator.key"), Path("/data/owner.key")]


def test_the_command_is_the_one_that_works_where_path_does_not_have_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/lessor", "serve"])
    monkeypatch.setenv("PATH", "")
    first_steps.show("http://127.0.0.1:7420", KEYS)
    told = capsys.readouterr().err
    assert "  .venv/bin/lessor run -- sleep 5\n" in told
    assert "  export LESSOR_API_KEY_FILE=/data/owner.key\n" in told


def test_without_an_owners_key_only_the_files_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first_steps.show("http://127.0.0.1:7420", KEYS[:1])
    told = capsys.readouterr().err
    assert "/data/operator.key" in told
    assert "lessor run" not in told
