"""Which certificates the client trusts."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import trustme
from lessor.aio.way import find_ways
from lessor.config import load
from lessor.tls import make_context
from support.fake_server import KEY

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


def test_a_client_of_long_life_trusts_all_that_the_system_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what lies in the bundle and not in the directory."""
    authority = trustme.CA().cert_pem.bytes()
    bundle, directory = tmp_path / "bundle.pem", tmp_path / "certs"
    bundle.write_bytes(authority)
    directory.mkdir()
    (directory / "0123abcd.0").write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    config = load({"LESSOR_URL": "https://licences.example", "LESSOR_API_KEY": KEY})
    (way,) = find_ways(config)
    assert isinstance(way.tls, ssl.SSLContext)
    assert way.tls.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(authority.decode())]
