"""The API answers as its own description says, to whatever schemathesis thinks of.

Every check is on, for a key of every role. What the description cannot say in a schema (a moment in
the past, a cursor that was never handed out, text that holds control characters) is refused with
422, so that counts as an answer to valid data too; that invalid data is refused is checked in full.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP
from support.daemon import DaemonProcess, clean_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = "1"
LONGEST_SECONDS = 110

CONFIG = """
color = false
headers = { Authorization = "Bearer ${API_KEY}" }

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 410, 412, 422, 429, 503]
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon of the test's own: keys are revoked and organizations removed on the way."""
    made = DaemonProcess(tmp_path, bootstrap=BOOTSTRAP)
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.mark.parametrize(
    ("role", "phases", "examples"),
    [
        pytest.param("owner", "coverage,fuzzing,stateful", "3", marks=pytest.mark.slow),
        ("operator", "fuzzing", "1"),
        ("service", "fuzzing", "1"),
        ("member", "fuzzing", "1"),
        ("run", "fuzzing", "1"),
        ("read", "fuzzing", "1"),
    ],
)
def test_the_api_answers_as_it_is_described(
    daemon: DaemonProcess, tmp_path: Path, role: str, phases: str, examples: str
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)]
    command += ["run", daemon.url + "/openapi.json", "--checks", "all", "--phases", phases]
    command += ["--max-examples", examples, "--seed", SEED]
    command += ["--exclude-path", "/v1/stream"]  # a WebSocket, which schemathesis does not speak
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
        cwd=tmp_path,
        env=clean_environ({"API_KEY": daemon.key(role)}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not daemon.events("internal_error")
