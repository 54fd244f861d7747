"""What a daemon remembers of administration, beside the store and over its own restarts.

A file in the data directory, written and synced before a change is answered. All processes of a
daemon share it. It is no copy of the directory: of each thing it keeps what was said last, see
``restrictions``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import structlog

from lessor_daemon.store.facts import Fact

from .restrictions import ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BUSY_SECONDS = 5.0
"""Another process of this daemon writes; it needs milliseconds."""
MOST_FACTS = 100_000
"""Of one organization; the oldest go."""

_SCHEMA = """
create table if not exists fact (
  org text not null, name text not null, version integer not null, value blob not null,
  primary key (org, name)
) without rowid;
create table if not exists seen (org text primary key, version integer not null) without rowid;
"""
_PUT = """
insert into fact values (?, ?, ?, ?)
on conflict (org, name) do update set version = excluded.version, value = excluded.value
where excluded.version >= version
"""
_SAW = """
insert into seen values (?, ?)
on conflict (org) do update set version = max(version, excluded.version)
"""
_TRIM = """
delete from fact where org = ?1 and name in
  (select name from fact where org = ?1 order by version desc limit -1 offset ?2)
"""

_log = structlog.get_logger(__name__)


class Memory:
    """The file. Its methods block, so call them in a thread.

    While it cannot be written (``changes_not_remembered`` in the log), this process goes on with
    what it knows itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: dict[str, dict[str, Fact]] = {}
        """What could not be written down."""
        self._lock = threading.Lock()

    def version(self, org: str) -> int:
        """Up to where the store was seen whole; 0 for not at all."""
        with self._opened() as db:
            row = db.execute("select version from seen where org = ?", (org,)).fetchone()
        return int(row[0]) if row else 0

    def organizations(self) -> list[str]:
        """Those that something is known of."""
        with self._opened() as db:
            return sorted({row[0] for row in db.execute("select org from seen")})

    def facts(self, org: str) -> list[Fact]:
        """All, the oldest first, but none from before the last word on the organization itself."""
        with self._opened() as db:
            rows = db.execute("select name, version, value from fact where org = ?", (org,))
            found = {name: Fact(name, version, value) for name, version, value in rows}
        for fact in self._own.get(org, {}).values():
            if fact.name not in found or found[fact.name].version < fact.version:
                found[fact.name] = fact
        begin = found[ORGANIZATION].version if ORGANIZATION in found else 0
        return sorted(
            (one for one in found.values() if one.version >= begin), key=lambda one: one.version
        )

    def note(self, org: str, facts: Iterable[Fact], *, seen: int = 0) -> None:
        """Remember what was said; a newer word on the same thing stays.

        ``seen`` says that all of the store up to this version is remembered now.
        """
        facts = list(facts)
        begin = max((one.version for one in facts if one.name == ORGANIZATION), default=0)
        try:
            with self._opened(create=True) as db, db:
                rows = [(org, one.name, one.version, one.value) for one in facts]
                db.executemany(_PUT, rows)
                db.execute("delete from fact where org = ? and version < ?", (org, begin))
                db.execute(_TRIM, (org, MOST_FACTS))
                db.execute(_SAW, (org, seen))
        except (sqlite3.Error, OSError) as error:
            _log.warning("changes_not_remembered", org=org, reason=str(error))
            with self._lock:
                self._own.setdefault(org, {}).update((one.name, one) for one in facts)

    def drop(self, org: str, names: Iterable[str]) -> None:
        """Forget these: their time is over."""
        with contextlib.suppress(sqlite3.Error, OSError), self._opened() as db, db:
            rows = [(org, name) for name in names]
            db.executemany("delete from fact where org = ? and name = ?", rows)

    def forget(self) -> None:
        """Forget all, as the operator wishes. Raises ``OSError``."""
        for suffix in ("", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Open for a moment: several processes write, and the operator may take the file away."""
        if not self.path.exists():
            if not create:
                with contextlib.closing(sqlite3.connect(":memory:")) as db:
                    db.executescript(_SCHEMA)
                    yield db
                return
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as db:
            db.execute("pragma synchronous = extra")  # the entry of the directory, too
            db.executescript(_SCHEMA)
            yield db


def memory_path(data_dir: Path, store_url: str | None) -> Path:
    """Where a store's administration is remembered; None is the embedded one."""
    if store_url is None:
        return data_dir / "administration.sqlite"
    name = hashlib.sha256(store_url.encode()).hexdigest()[:12]
    return data_dir / f"administration-{name}.sqlite"


def describe(facts: Iterable[Fact], most: int = 20) -> list[Any]:
    """The names of some, for a line of the log."""
    return [one.name for one in facts][:most]
