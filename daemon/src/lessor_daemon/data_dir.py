"""The data directory, and the files in it that nobody else may read."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from .errors import ConfigurationError

SECRET_BYTES = 32


def prepare_data_dir(path: Path) -> None:
    """Make the directory with mode 0700 if it is not there, and try whether it can be written.

    Raises ``ConfigurationError``.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigurationError("data_dir", f"{path} cannot be used: {error.strerror}") from None


def load_or_make_secret(path: Path) -> bytes:
    """The secret that proves certificates, at least 32 bytes; made on the first start.

    It stays outside the store: a store that lost its memory can still check a certificate. All
    daemons of one store need the same one. Raises ``ConfigurationError``.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, secrets.token_hex(SECRET_BYTES) + "\n")
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError("secret_file", f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("secret_file", f"{path} is not ASCII text") from None
    if len(text) < SECRET_BYTES:
        raise ConfigurationError(
            "secret_file", f"{path} holds fewer than {SECRET_BYTES} characters"
        )
    return text.encode()


def write_private(path: Path, text: str) -> None:
    """Make ``path`` with mode 0600, whole or not at all; a file that is there already stays.

    Two daemons that start at once on one directory end up with the same content. Raises ``OSError``
    that names ``path``.
    """
    try:
        _write_private(path, text)
    except OSError as error:  # of the draft, which nobody knows
        raise OSError(error.errno, error.strerror, str(path)) from None


def _write_private(path: Path, text: str) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
