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
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from lessor_daemon.store.facts import Fact

from .restrictions import ORGANIZATION, is_out_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Answer = TypeVar("Answer")

BUSY_SECONDS = 5.0
"""Another process of this daemon writes; it needs milliseconds."""
MOST_FACTS = 100_000
"""Of one organization; the oldest go, but never its beginning."""

DAMAGED_SUFFIX = ".damaged"
"""Of a file that is no database any more; the last such file is kept."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

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
_KNOWN = """
select org from seen where org not in (select org from fact where name = ? and value = x'')
order by org
"""
_DROP = "delete from fact where org = ? and name = ?"
_BEFORE = "select name, version, value from fact where org = ? and version < ?"
_TRIM = """
delete from fact where org = ?1 and name <> ?3 and name in
  (select name from fact where org = ?1 order by version desc limit -1 offset ?2)
"""

_log = structlog.get_logger(__name__)


class Unreadable(Exception):
    """The file cannot be read for now: it is locked, or its disk or its rights forbid it."""


class Memory:
    """The file. Its methods block, so call them in a thread.

    While it cannot be written (``changes_not_remembered`` in the log), this process goes on with
    what it knows itself. One that is damaged is set aside (``remembered_changes_damaged``), and a
    new one is begun with what the store says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: dict[str, dict[str, Fact]] = {}
        """What could not be written down."""
        self._busy_seconds = BUSY_SECONDS
        """How long to wait for others. Who has held it that long is not waited for again: a start
        asks for each organization."""
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """One thread at a time: two that make its tables at once would find it locked."""

    def version(self, org: str) -> int:
        """Up to where the store was seen whole; 0 for not at all. Raises ``Unreadable``."""

        def read(db: sqlite3.Connection) -> int:
            row = db.execute("select version from seen where org = ?", (org,)).fetchone()
            return int(row[0]) if row else 0

        return self._read(read)

    def organizations(self) -> list[str]:
        """Those that something is known of, but for removed ones. Raises ``Unreadable``."""
        return self._read(lambda db: [row[0] for row in db.execute(_KNOWN, (ORGANIZATION,))])

    def facts(self, org: str) -> list[Fact]:
        """All that counts, the oldest first.

        From before the last word on the organization itself that is only what ``is_out_there``.
        Raises ``Unreadable``.
        """

        def read(db: sqlite3.Connection) -> dict[str, Fact]:
            rows = db.execute("select name, version, value from fact where org = ?", (org,))
            return {name: Fact(name, version, value) for name, version, value in rows}

        found = self._read(read)
        for fact in self._own.get(org, {}).values():
            if fact.name not in found or found[fact.name].version < fact.version:
                found[fact.name] = fact
        begin = found[ORGANIZATION].version if ORGANIZATION in found else 0
        return sorted(
            (one for one in found.values() if one.version >= begin or is_out_there(one)),
            key=lambda one: one.version,
        )

    def note(self, org: str, facts: Iterable[Fact], *, seen: int = 0) -> None:
        """Remember what was said; a newer word on the same thing stays.

        ``seen`` says that all of the store up to this version is remembered now.
        """
        facts = list(facts)
        begin = max((one.version for one in facts if one.name == ORGANIZATION), default=0)

        def write(db: sqlite3.Connection) -> None:
            with db:
                rows = [(org, one.name, one.version, one.value) for one in facts]
                db.executemany(_PUT, rows)
                before = [Fact(*row) for row in db.execute(_BEFORE, (org, begin))]
                voided = [one for one in before if not is_out_there(one)]
                db.executemany(_DROP, [(org, one.name) for one in voided])
                db.execute(_TRIM, (org, MOST_FACTS, ORGANIZATION))
                db.execute(_SAW, (org, seen))

        try:
            self._use(write, create=True)
        except (sqlite3.Error, OSError) as error:
            _log.warning("changes_not_remembered", org=org, reason=str(error))
            with self._lock:
                self._own.setdefault(org, {}).update((one.name, one) for one in facts)

    def drop(self, org: str, names: Iterable[str]) -> None:
        """Forget these: their time is over."""
        rows = [(org, name) for name in names]

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(_DROP, rows)

        with contextlib.suppress(sqlite3.Error, OSError):
            self._use(write)

    def forget(self) -> None:
        """Forget all, as the operator wishes. Raises ``OSError``."""
        for suffix in ("", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _read(self, read: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            return self._use(read)
        except (sqlite3.Error, OSError) as error:
            raise Unreadable(str(error)) from error

    def _use(self, use: Callable[[sqlite3.Connection], Answer], *, create: bool = False) -> Answer:
        """Raises ``sqlite3.Error`` or ``OSError``, but not for a file that is damaged."""
        inode = self._inode()
        try:
            answer = self._use_once(use, create=create)
        except sqlite3.DatabaseError as error:
            # Python's own errors, such as for a text that is none, have no code.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                self._busy_seconds = 0.0
            if code not in _DAMAGED:
                raise
            if self._inode() == inode:  # another process may have set it aside meanwhile
                self._set_aside(error)
            answer = self._use_once(use, create=create)
        self._busy_seconds = BUSY_SECONDS
        return answer

    def _use_once(self, use: Callable[[sqlite3.Connection], Answer], *, create: bool) -> Answer:
        with self._turn, self._opened(create=create) as db:
            return use(db)

    def _inode(self) -> int:
        return self.path.stat().st_ino if self.path.exists() else 0

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Go on without what is in the file, which stays for who may read more of it."""
        set_aside = self.path.with_name(self.path.name + DAMAGED_SUFFIX)
        self.path.replace(set_aside)
        _log.error(
            "remembered_changes_damaged",
            file=str(self.path),
            set_aside=str(set_aside),
            reason=str(error),
        )

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
        with contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds)) as db:
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
