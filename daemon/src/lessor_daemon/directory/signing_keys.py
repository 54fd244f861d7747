"""The keys that sign offline licenses: files in the data directory, each named by its id.

The newest signs; all verify, until the operator deletes the file. The seed never leaves the file
but to sign; the public halves are published through the store, since any daemon may have signed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack
from lessor_protocol import offline as files
from lessor_protocol.errors import Problem

from lessor_daemon.data_dir import write_private
from lessor_daemon.store import offline as stored
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lessor_daemon.store.store import Store

DIRECTORY_NAME = "offline-keys"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. ``created`` is wall clock seconds."""

    key_id: str
    created: int
    public: bytes
    seed: bytes = field(repr=False)


class SigningKeys:
    """Reads the files at each use, so a key that was added on disk signs from then on."""

    def __init__(self, store: Store, directory: Path, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._directory = directory
        self._wall_ms = wall_ms

    async def current(self) -> SigningKey:
        """The key to sign with, made at the first use."""
        keys = await self._read()
        return keys[-1] if keys else await self.rotate()

    async def rotate(self) -> SigningKey:
        """Make a new key, and sign with it from now on."""
        created = self._wall_ms() // 1000
        try:
            await asyncio.to_thread(_make, self._directory, created)
            keys = await asyncio.to_thread(_read, self._directory)
        except OSError as error:
            raise _unusable(error) from error
        await self._publish(keys[-1])
        return keys[-1]

    async def all(self) -> list[dict[str, object]]:
        """The public halves, of this daemon's keys and of those that others have published."""
        mine = await self._read()
        for key in mine:
            await self._publish(key)
        with store_problems():
            published = await stored.signing_keys(self._store)
        signs = mine[-1].key_id if mine else None
        shown = []
        for key_id, packed in published.items():
            created, public = msgpack.unpackb(packed)
            shown.append(
                {
                    "id": key_id,
                    "public_key": b64encode(public).decode(),
                    "created": wall_text(created * 1000),
                    "signs": key_id == signs,
                }
            )
        return sorted(shown, key=lambda one: (str(one["created"]), str(one["id"])))

    async def _read(self) -> list[SigningKey]:
        try:
            return await asyncio.to_thread(_read, self._directory)
        except OSError as error:
            raise _unusable(error) from error

    async def _publish(self, key: SigningKey) -> None:
        with store_problems():
            packed = msgpack.packb((key.created, key.public))
            await stored.put_signing_key(self._store, key.key_id, packed)


def _make(directory: Path, created: int) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    seed = os.urandom(files.SEED_BYTES)
    # Later than all that are there, should the clock have been set back: the newest signs.
    newest = max((key.created for key in _read(directory)), default=0)
    created = max(created, newest + 1)
    key_id = hashlib.sha256(files.public_key(seed)).hexdigest()[:16]
    write_private(directory / f"{created}-{key_id}.key", seed.hex() + "\n")


def _read(directory: Path) -> list[SigningKey]:
    """All keys, the oldest first."""
    keys = []
    for path in directory.glob("*.key") if directory.is_dir() else ():
        created, _, key_id = path.stem.partition("-")
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip())
        keys.append(SigningKey(key_id, int(created), files.public_key(seed), seed))
    return sorted(keys, key=lambda key: (key.created, key.key_id))


def _unusable(error: OSError) -> Problem:
    return Problem("internal", f"the keys that sign offline licenses: {error.strerror}")
