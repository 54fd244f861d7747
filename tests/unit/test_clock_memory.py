"""What a daemon remembers of its clocks, and how it sees that a file is a copy."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.leasing.clock import LeaseClock
from lessor_daemon.leasing.memory import ClockMemory, Remembered, memory_path

if TYPE_CHECKING:
    from pathlib import Path

CLOCKS = {"acme": Remembered(7, 1_234), "other": Remembered(9, 0)}


@pytest.fixture
def saved(tmp_path: Path) -> ClockMemory:
    memory = ClockMemory(tmp_path / "clocks.json")
    memory.save(CLOCKS, wall_seconds=time.time())
    return memory


def loaded(path: Path) -> ClockMemory:
    memory = ClockMemory(path)
    memory.load()
    return memory


def test_reads_back_what_was_saved(saved: ClockMemory) -> None:
    again = loaded(saved.path)
    assert (again.clocks, again.is_copy) == (CLOCKS, False)


def test_no_file_is_an_empty_memory_and_no_copy(tmp_path: Path) -> None:
    memory = loaded(tmp_path / "none.json")
    assert (memory.clocks, memory.is_copy) == ({}, False)


def test_a_file_put_back_later_gives_itself_away(tmp_path: Path) -> None:
    memory = ClockMemory(tmp_path / "clocks.json")
    memory.save(CLOCKS, wall_seconds=time.time() - 60)
    assert loaded(memory.path).is_copy


def test_a_copy_with_its_times_preserved_gives_itself_away_too(
    saved: ClockMemory, tmp_path: Path
) -> None:
    text = saved.path.read_text().replace('"written": 1', '"written": 1e9, "was": 1')
    saved.path.write_text(text)
    copy = tmp_path / "copy.json"
    shutil.copy2(saved.path, copy)
    assert loaded(copy).is_copy


def test_a_copy_put_back_within_seconds_is_not_noticed(saved: ClockMemory, tmp_path: Path) -> None:
    """A hole: the file system's times are too close to the one that the file says."""
    copy = tmp_path / "copy.json"
    shutil.copy(saved.path, copy)
    assert not loaded(copy).is_copy


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clocks": {"a": 1}, "written": 0}', "\x00"])
def test_a_file_that_nobody_can_read_counts_as_a_copy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clocks.json"
    path.write_text(text)
    assert loaded(path).is_copy


def test_nothing_is_written_when_there_is_no_news(saved: ClockMemory) -> None:
    saved.path.unlink()
    saved.save(dict(CLOCKS), wall_seconds=1.0)
    assert not saved.path.exists()


def test_what_was_not_heard_of_yet_stays(saved: ClockMemory) -> None:
    saved.save({}, wall_seconds=time.time())
    assert loaded(saved.path).clocks == CLOCKS, "the store is still loading"
    saved.save({"acme": Remembered(8, 0)}, wall_seconds=time.time())
    assert loaded(saved.path).clocks == CLOCKS | {"acme": Remembered(8, 0)}


def test_each_store_has_its_own_file(tmp_path: Path) -> None:
    urls = [None, "redis://a/0", "redis://b/0"]
    assert len({memory_path(tmp_path, url) for url in urls}) == 3


def test_a_clock_tells_the_store_how_far_it_was_remembered() -> None:
    clock = LeaseClock(
        epoch_floor=1, recovery_ms=60_000, trust="durable", remembered=Remembered(7, 1_234)
    )
    context = clock.context(0)
    assert (context.claim_ms, context.seen_ms, context.epoch) == (None, 1_234, 7)
    assert context.highest_epoch == 7
