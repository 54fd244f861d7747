"""What a person reads after the first start: where the key files lie, and what to run."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .log_output import LogOutput

if TYPE_CHECKING:
    from collections.abc import Sequence


def show(url: str, key_files: Sequence[Path]) -> None:
    """Write it to stderr, if that can be written. Names the files, never what is in them."""
    lines = ["", "Lessor is ready. API keys were written to:", ""]
    lines += [f"  {path}" for path in key_files]
    owner = next((path for path in key_files if path.name == "owner.key"), None)
    if owner is not None:
        lines += [
            "",
            "Run a first command, in another terminal:",
            "",
            f"  export LESSOR_URL={url}",
            f"  export LESSOR_API_KEY_FILE={shlex.quote(str(owner.absolute()))}",
            f"  {_command()} run -- sleep 5",
        ]
    LogOutput(sys.stderr).write("\n".join([*lines, ""]))


def _command() -> str:
    """What to type for ``lessor``: as this daemon was called, where PATH does not have it."""
    called = Path(sys.argv[0])
    if shutil.which("lessor") or called.name != "lessor":
        return "lessor"
    return shlex.quote(str(called))
