"""What callers hear of a store that fails, and what the log keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.errors import StoreUnavailable, store_problems
from lessor_daemon.store.store import Store
from lessor_protocol.errors import Problem
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_caller_does_not_hear_where_the_store_is_and_the_log_does(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    store = Store.open(f"unix://{path}")
    with capture_logs() as logged, pytest.raises(Problem) as caught, store_problems():
        await store.ping()
    await store.close()
    assert caught.value.code == "store_unavailable"
    assert caught.value.detail == "the store cannot be used now: it does not answer"
    assert [str(path) in one["reason"] for one in logged] == [True]


def test_a_caller_hears_what_is_in_our_own_words() -> None:
    with pytest.raises(Problem, match="it was done, but is on no replica"), store_problems():
        raise StoreUnavailable("it was done, but is on no replica of the store yet")
