"""Which certificates the client trusts."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from lessor.tls import make_context

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_directory_of_certificates_that_may_not_be_listed_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ssl.get_default_verify_paths()._replace(capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: found)

    def listdir(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert make_context("").verify_mode == ssl.CERT_REQUIRED
