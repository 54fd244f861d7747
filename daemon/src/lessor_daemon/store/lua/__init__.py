"""The scripts' sources: one ``<verb>.lua`` each, with shared parts from ``lib/``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

_INCLUDE = re.compile(r"^-- @include ([a-z ]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script ready to be called by its digest."""

    name: str
    source: str
    sha: str


def load(name: str) -> Script:
    """Read ``<name>.lua`` and put the parts named by its ``-- @include`` line in that place."""
    folder = files(__name__)

    def include(match: re.Match[str]) -> str:
        parts = (folder / "lib" / f"{part}.lua" for part in match[1].split())
        return "\n".join(part.read_text("utf-8") for part in parts)

    source = _INCLUDE.sub(include, (folder / f"{name}.lua").read_text("utf-8"))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
