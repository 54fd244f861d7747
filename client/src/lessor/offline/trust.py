"""The public keys that this machine believes, ``offline-keys`` beside ``client.toml``.

One key a line: its id and the key in base64; ``#`` begins a remark. A key's id is the beginning of
its SHA-256, so comparing the ids by telephone is enough to know that a file was not exchanged.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path

from lessor import config
from lessor.errors import UsageError

from . import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "LESSOR_OFFLINE_KEYS"
LONGEST_FILE = 65_536
_KEY_BYTES = 32


def path(environ: Mapping[str, str]) -> Path:
    """Where the keys lie, whether or not any are there. Raises ``UsageError``."""
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    beside = config.config_path(environ)
    if not beside:
        raise UsageError(f"no home directory: set {VARIABLE} to the file with the public keys")
    return Path(beside).with_name("offline-keys")


def read(environ: Mapping[str, str]) -> dict[str, bytes]:
    """The keys by their ids; none where there is no file. Raises ``UsageError``."""
    file = path(environ)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(f"{file} cannot be read: {reason}") from None
    return parse(text, str(file))


def parse(text: str, name: str) -> dict[str, bytes]:
    """The keys in a text. Raises ``UsageError``, which names the line."""
    keys = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            key_id, encoded = words
            keys[key_id] = _checked(key_id, encoded)
        except ValueError:
            raise UsageError(f"{name}, line {number}: not an id and a public key") from None
    return keys


def _checked(key_id: str, encoded: str) -> bytes:
    key = b64decode(encoded, validate=True)
    if len(key) != _KEY_BYTES or key_id != id_of(key):
        raise ValueError(key_id)
    return key


def id_of(key: bytes) -> str:
    """The id that a public key has."""
    return hashlib.sha256(key).hexdigest()[:16]


def write(keys: Mapping[str, bytes]) -> str:
    """Keys as the text of a file."""
    lines = [f"{key_id} {b64encode(key).decode()}" for key_id, key in sorted(keys.items())]
    return "\n".join(["# public keys that verify offline licenses", *lines, ""])


def add(environ: Mapping[str, str], keys: Mapping[str, bytes]) -> tuple[Path, list[str]]:
    """Believe these as well; the file, and the ids that are new. Raises ``UsageError``."""
    file = path(environ)
    known = read(environ)
    new = sorted(set(keys) - set(known))
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new:
            state.replace(file, write({**known, **keys}))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    return file, new
