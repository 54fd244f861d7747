"""Giving the store what it must have: the schema mark, the bootstrap file's content, a first start.

Done once per daemon, by its one process or by the parent of its workers, and again whenever the
store comes back empty.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from . import first_steps, logs
from .errors import ConfigurationError
from .store import checks as store_checks
from .store.errors import NewerStore, StoreUnavailable, is_unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from .bootstrap import Bootstrap
    from .config import Config
    from .directory.service import Directory
    from .store.store import Store

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
"""Between two attempts to reach the store at the start."""
TELL_AFTER_SECONDS = 1.0
"""An embedded store needs a moment to start; that is no news."""
TELL_EVERY_SECONDS = 30.0
WATCH_EVERY_SECONDS = 1.0

EMPTIED_MEANWHILE = frozenset({"not_found", "unknown_license"})
"""What was made a moment ago is not there: the store lost it, and it will be made again."""

_log = logs.get_logger("lessor.daemon")


class Preparing:
    """Prepares one store. ``urls`` is where the daemon serves, for people and the log."""

    def __init__(
        self,
        config: Config,
        bootstrap: Bootstrap | None,
        store: Store,
        directory: Directory,
        urls: Mapping[str, str],
    ) -> None:
        self._config = config
        self._bootstrap = bootstrap
        self._store = store
        self._directory = directory
        self._urls = urls
        self._is_prepared = False
        """Whether the store has all that it must have."""
        self._is_empty = True
        """Whether all of it is to be put there, or may have been lost since an attempt to do so."""
        self._away: set[str] = set()
        """The organizations that could not be prepared at the last look."""
        self._refused = ""
        """Why the store could not be prepared at the last look."""

    async def keep_up(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Prepare the store, have ``serve()`` open the doors, say ``ready``, and watch for ever.

        Raises ``ConfigurationError`` when the bootstrap file cannot be applied at the start. Later
        that is logged, and tried again: it is no reason to leave those who hold seats.
        """
        made = await self._become_ready()
        await serve()
        if made:
            _log.info("first_start", key_files=[str(path) for path in made])
        _log.info("ready", **self._urls)
        if made and self._config.log_format == "console":
            first_steps.show(self._urls["url"], made)
        async with asyncio.TaskGroup() as tasks:
            self._directory.start(tasks)
            await self._watch()

    async def _become_ready(self) -> list[Path]:
        """Reach the store and give it what the bootstrap file says."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + TELL_AFTER_SECONDS
        pause = FIRST_PAUSE_SECONDS
        is_checked = self._config.is_embedded
        while True:
            try:
                if not is_checked:
                    await store_checks.tell(self._store, self._config)
                    is_checked = True
                return await self._prepare()
            except StoreUnavailable as error:
                if loop.time() >= tell_at:
                    _log.warning("store_unavailable", reason=str(error))
                    tell_at = loop.time() + TELL_EVERY_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _prepare(self) -> list[Path]:
        if not await self._store.ping():
            self._is_empty = True
        try:
            await self._directory.say_again()
            left_out = []
            if self._bootstrap is not None:
                anew, self._is_empty = self._is_empty, False
                left_out = await self._directory.apply(self._bootstrap, anew=anew)
            made = await self._directory.first_start(self._config.data_dir)
            # Once more: an emptied store has only now what is to be restricted.
            away = await self._directory.say_again()
        except Problem as problem:
            was_emptied = problem.code in EMPTIED_MEANWHILE
            self._is_empty |= was_emptied
            if was_emptied or is_unavailable(problem):
                raise StoreUnavailable(str(problem.__cause__ or problem.detail)) from problem
            # Without a file it is about the keys of the first start, which lie there.
            place = str(self._config.bootstrap or "data_dir")
            raise ConfigurationError(place, problem.detail) from problem
        except OSError as error:
            raise ConfigurationError(str(error.filename), str(error.strerror)) from error
        self._is_prepared = not left_out
        self._tell_away({*left_out, *away})
        return made

    async def _watch(self) -> None:
        """Say once when the store goes away and once when it is back.

        One that comes back empty gets its organizations and keys again at once: until then no
        client's key is known.
        """
        is_there = True
        while True:
            await asyncio.sleep(WATCH_EVERY_SECONDS)
            try:
                if not await self._store.ping():
                    _log.error("store_was_emptied")
                    self._is_prepared, self._is_empty = False, True
                if not self._is_prepared:  # also where the attempt before failed half way
                    await self._prepare()
                self._refused = ""
            except StoreUnavailable as error:
                if is_there:
                    _log.error("store_lost", reason=str(error))
                is_there = False
            except NewerStore:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, those who hold seats renew here
                self._tell_refused(error)
            else:
                if not is_there:
                    _log.info("store_back")
                is_there = True

    def _tell_away(self, orgs: set[str]) -> None:
        """Say once whose servers do not answer while others' do. Those are served meanwhile."""
        if orgs - self._away:
            _log.warning("organizations_unavailable", orgs=sorted(orgs))
        self._away = orgs

    def _tell_refused(self, error: Exception) -> None:
        """Say once that the store, or a file, does not take what the store must have."""
        if str(error) == self._refused:
            return
        self._refused = str(error)
        is_ours = not isinstance(error, ConfigurationError)
        _log.error("store_not_prepared", reason=str(error), exc_info=error if is_ours else None)
