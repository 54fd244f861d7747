"""Tags of what a caller saw, so that a change made on an old sight is refused."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


def etag_of(settings: Mapping[str, object]) -> str:
    """A strong tag of a thing's settings; what changes by itself (use, last seen) is not in it."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return f'"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"'


def check_match(if_match: str | None, settings: Mapping[str, object]) -> None:
    """Raise ``Problem`` ``precondition_failed`` if the caller saw something else."""
    if if_match is None or if_match.strip() == "*":
        return
    wanted = [tag.strip() for tag in if_match.split(",")]
    if etag_of(settings) not in wanted:
        raise Problem("precondition_failed", "it was changed meanwhile; read it again first")
