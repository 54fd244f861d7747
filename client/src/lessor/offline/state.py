"""Where this machine keeps what it knows of offline licenses: locks, the clock, returns."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lessor.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def directory(environ: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/lessor/offline``, this user's own, made if it is not there.

    A machine's id names its user as well, so one user's folder is one machine's. Raises
    ``UsageError``.
    """
    base = environ.get("XDG_STATE_HOME")
    home = environ.get("HOME")
    if not base and not home:
        raise UsageError("an offline license needs a folder to keep state in: set XDG_STATE_HOME")
    path = Path(base or f"{home}/.local/state") / "lessor" / "offline"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from None
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise UsageError(f"{path} must belong to this user, and others must not write there")
    return path


def replace(path: Path, text: str) -> None:
    """Put a file in the place of another at once, on disk before it counts. Raises ``OSError``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
