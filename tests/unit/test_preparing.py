"""A store that changes while it is given what it must have."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon import preparing
from lessor_daemon.errors import ConfigurationError
from lessor_daemon.preparing import Preparing
from lessor_protocol.errors import Problem
from structlog.testing import capture_logs
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONFIG: Any = SimpleNamespace(
    is_embedded=True, data_dir=Path("data"), bootstrap=Path("acme.toml"), log_format="json"
)


class Store:
    """``is_marked`` is false once, as of one that was emptied."""

    def __init__(self) -> None:
        self.is_marked = True

    async def ping(self) -> bool:
        was_marked, self.is_marked = self.is_marked, True
        return was_marked


class Directory:
    """Its first attempts to apply the bootstrap file fail."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.is_applied = False
        self.left_out: list[list[str]] = []
        self.attempts: list[str] = []

    async def say_again(self) -> list[str]:
        return []

    async def apply(self, _bootstrap: object, *, anew: bool) -> list[str]:
        self.attempts.append("anew" if anew else "the rest")
        if self.failures:
            raise self.failures.pop(0)
        self.is_applied = True
        return self.left_out.pop(0) if self.left_out else []

    async def first_start(self, _data_dir: Path) -> list[Path]:
        return []

    def start(self, _group: asyncio.TaskGroup) -> None:
        pass


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "FIRST_PAUSE_SECONDS", 0.0)


async def prepare(
    directory: Any,  # noqa: ANN401  # a stand-in
    serve: Callable[[], Awaitable[None]],
    store: Any = None,  # noqa: ANN401  # likewise
) -> None:
    bootstrap: Any = object()
    used: Any = store or Store()
    await Preparing(CONFIG, bootstrap, used, directory, {"url": "http://here"}).keep_up(serve)


@pytest.mark.parametrize("code", ["unknown_license", "not_found", "store_unavailable"])
async def test_a_store_that_is_emptied_while_the_file_is_applied_gets_it_again(code: str) -> None:
    directory = Directory(Problem(code, "there is no license 'kre'"))
    is_served = asyncio.Event()

    async def serve() -> None:
        is_served.set()

    preparing_it = asyncio.create_task(prepare(directory, serve))
    async with asyncio.timeout(10):
        await is_served.wait()
    preparing_it.cancel()
    await asyncio.wait([preparing_it])
    assert directory.is_applied


async def test_an_emptied_store_gets_the_file_though_the_first_attempt_failed_half_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing, "WATCH_EVERY_SECONDS", 0.0)
    store, directory = Store(), Directory()

    async def serve() -> None:
        directory.failures = [Problem("store_unavailable", "it restarts")] * 2
        directory.is_applied = False
        store.is_marked = False

    preparing_it = asyncio.create_task(prepare(directory, serve, store))
    await wait_until_async(
        lambda: asyncio.sleep(0, directory.is_applied and not directory.failures)
    )
    preparing_it.cancel()
    await asyncio.wait([preparing_it])
    assert directory.attempts == ["anew", "anew", "the rest", "the rest"]


async def test_who_is_there_is_served_while_others_servers_are_away_and_these_get_the_file_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing, "WATCH_EVERY_SECONDS", 0.0)
    directory = Directory()
    directory.left_out = [["globex"], ["globex"], []]
    is_served = asyncio.Event()

    async def serve() -> None:
        is_served.set()
        assert len(directory.left_out) == 2, "the doors were not opened at once"

    with capture_logs() as logged:
        preparing_it = asyncio.create_task(prepare(directory, serve))
        await wait_until_async(
            lambda: asyncio.sleep(0, preparing_it.done() or not directory.left_out)
        )
    assert is_served.is_set()
    assert not preparing_it.done()
    preparing_it.cancel()
    await asyncio.wait([preparing_it])
    told = [one["orgs"] for one in logged if one["event"] == "organizations_unavailable"]
    assert told == [["globex"]], "it is said once"
    assert directory.attempts == ["anew", "the rest", "the rest"]


async def test_a_file_that_contradicts_the_store_ends_the_daemon() -> None:
    async def serve() -> None:
        raise AssertionError("nothing may be served")

    with pytest.raises(ConfigurationError, match=r"acme\.toml"):
        await prepare(Directory(Problem("conflict", "somebody else's key")), serve)


async def test_a_first_start_that_cannot_be_made_names_the_data_directory_as_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CONFIG, "bootstrap", None)

    async def serve() -> None:
        raise AssertionError("nothing may be served")

    with pytest.raises(ConfigurationError) as caught:
        await prepare(Directory(Problem("conflict", "somebody else's key")), serve)
    assert caught.value.place == "data_dir"


@pytest.mark.parametrize(
    "failure",
    [
        Problem("conflict", "somebody else's key"),
        OSError(errno.ENOSPC, "No space left on device", "ci.key"),
        ValueError("odd content of the store"),
    ],
)
async def test_what_fails_while_it_serves_is_said_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(preparing, "WATCH_EVERY_SECONDS", 0.0)
    store, directory = Store(), Directory()

    async def serve() -> None:
        directory.failures = [failure] * 3
        directory.is_applied = False
        store.is_marked = False

    with capture_logs() as logged:
        preparing_it = asyncio.create_task(prepare(directory, serve, store))
        await wait_until_async(
            lambda: asyncio.sleep(0, preparing_it.done() or directory.is_applied)
        )
    assert not preparing_it.done()
    preparing_it.cancel()
    await asyncio.wait([preparing_it])
    told = [one for one in logged if one["event"] == "store_not_prepared"]
    assert [one["log_level"] for one in told] == ["error"]
