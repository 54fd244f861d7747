"""Files that nobody else may read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.data_dir import write_private

if TYPE_CHECKING:
    from pathlib import Path


def test_a_private_file_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "ci.key"
    write_private(path, "one")
    write_private(path, "other")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_made_is_named_and_not_its_draft(tmp_path: Path) -> None:
    path = tmp_path / "nodir" / "ci.key"
    with pytest.raises(FileNotFoundError) as caught:
        write_private(path, "one")
    assert (caught.value.filename, caught.value.strerror) == (
        str(path),
        "No such file or directory",
    )
