"""What an installation brings: the client little, the server what the container's line says.

These tests build and install for real, so they need the package registry, as ``make setup`` does.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CONTAINERFILE = ROOT / "deploy" / "Containerfile"
CLIENT = {"lessor", "lessor-protocol", "msgpack"}
SERVER_ONLY = {"aiohttp", "lessor-daemon", "prometheus-client", "redis", "structlog"}
SECONDS = 240

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


class Environment:
    """A virtual environment with a pip of its own."""

    def __init__(self, directory: Path, pip: str) -> None:
        self.directory = directory
        self._run(sys.executable, "-m", "venv", directory)
        self.pip("install", "--upgrade", pip)

    def pip(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Its output. Fails the test if pip does."""
        quiet = ("--disable-pip-version-check", "--no-input")
        return self._run(self.directory / "bin" / "pip", *quiet, *arguments, cwd=cwd)

    def installed(self) -> set[str]:
        """Normalized names of all distributions but pip's own."""
        listed = self.pip("list", "--format=freeze").splitlines()
        names = {re.split(r"[=@ ]", line)[0].lower().replace("_", "-") for line in listed}
        return names - {"pip", "setuptools", "lessor-workspace"}

    def lessor(self, *arguments: str) -> str:
        """What its ``lessor`` says."""
        return self._run(self.directory / "bin" / "lessor", *arguments)

    def _run(self, *command: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Containerfile copies, and nothing else."""
    target = tmp_path_factory.mktemp("src")
    for source in re.findall(r"^COPY (\S+) \./", CONTAINERFILE.read_text(), re.MULTILINE):
        path = ROOT / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(path, target / source, ignore=ignored)
        else:
            shutil.copy(path, target)
    return target


def container_requirement() -> str:
    """What the Containerfile installs."""
    match = re.search(r"pip install .*'(\.\[\w+\])'", CONTAINERFILE.read_text())
    assert match is not None
    return match[1]


def test_the_wheel_of_the_client_brings_nothing_of_the_server(
    tmp_path: Path, checkout: Path
) -> None:
    environment = Environment(tmp_path / "venv", "pip")
    wheels = tmp_path / "wheels"
    environment.pip("wheel", "--wheel-dir", wheels, "./protocol", "./client", cwd=checkout)
    for wheel in wheels.glob("lessor*.whl"):
        assert any(name.endswith("/LICENSE") for name in ZipFile(wheel).namelist()), wheel
    # As a CI job does it, from the wheels alone.
    environment.pip("install", "--no-index", "--find-links", wheels, "lessor")
    assert environment.installed() == CLIENT
    assert environment.lessor("version").startswith("lessor ")


@pytest.mark.parametrize("pip", ["pip", "pip==23.2"])
def test_the_checkout_installs_the_client_and_on_demand_the_server(
    tmp_path: Path, checkout: Path, pip: str
) -> None:
    environment = Environment(tmp_path / "venv", pip)
    environment.pip("install", ".", cwd=checkout)
    assert environment.installed() == CLIENT
    environment.pip("install", container_requirement(), cwd=checkout)
    assert environment.installed() >= CLIENT | SERVER_ONLY
    assert "--data-dir" in environment.lessor("serve", "--help")
