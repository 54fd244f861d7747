"""The product as it is now, copied: what somebody edits meanwhile does not get into a run."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[3]
PARTS = ("protocol", "client", "daemon")


def copy(directory: Path) -> tuple[Path, ...]:
    """Copy all sources. What must come first on Python's path to run them."""
    for part in PARTS:
        shutil.copytree(
            ROOT / part / "src",
            directory / part / "src",
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    return tuple(directory / part / "src" for part in PARTS)
