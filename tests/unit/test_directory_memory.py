"""What a daemon remembers of administration, in a file that its processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.memory import Memory
from lessor_daemon.directory.restrictions import NOTHING, THERE
from lessor_daemon.store.facts import Fact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "administration.sqlite")


def test_knows_nothing_and_writes_nothing_before_the_first_note(memory: Memory) -> None:
    assert memory.facts("acme") == []
    assert memory.version("acme") == 0
    assert memory.organizations() == []
    assert not memory.path.exists()


def test_another_process_reads_what_one_wrote_and_nobody_else_may(memory: Memory) -> None:
    memory.note("acme", [Fact("seats kre", 7, b"2")], seen=9)
    other = Memory(memory.path)
    assert other.facts("acme") == [Fact("seats kre", 7, b"2")]
    assert other.version("acme") == 9
    assert other.facts("other") == []
    assert memory.path.stat().st_mode & 0o777 == 0o600


def test_the_newest_word_stays_in_whichever_order_they_come(memory: Memory) -> None:
    memory.note("acme", [Fact("seats kre", 7, b"2")])
    memory.note("acme", [Fact("seats kre", 5, b"9"), Fact("drained kre", 6, b"1")])
    assert memory.facts("acme") == [Fact("drained kre", 6, b"1"), Fact("seats kre", 7, b"2")]
    memory.note("acme", [], seen=8)
    memory.note("acme", [], seen=4)
    assert memory.version("acme") == 8


@pytest.mark.parametrize("word", [NOTHING, THERE])
def test_an_organization_that_ends_or_begins_anew_voids_what_was_said_before(
    memory: Memory, word: bytes
) -> None:
    memory.note("acme", [Fact("seats kre", 7, b"2")])
    memory.note("other", [Fact("seats kre", 7, b"2")])
    memory.note("acme", [Fact("organization", 8, word), Fact("seats kre", 9, b"3")])
    memory.note("acme", [Fact("drained kre", 6, b"1")])
    assert memory.facts("acme") == [Fact("organization", 8, word), Fact("seats kre", 9, b"3")]
    assert memory.facts("other") == [Fact("seats kre", 7, b"2")]


def test_what_cannot_be_written_is_known_to_this_process_at_least(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "missing" / "administration.sqlite")
    memory.note("acme", [Fact("seats kre", 7, b"2")])
    assert memory.facts("acme") == [Fact("seats kre", 7, b"2")]


def test_is_forgotten_as_a_whole_when_the_operator_says_so(memory: Memory) -> None:
    memory.note("acme", [Fact("seats kre", 7, b"2")], seen=9)
    memory.forget()
    assert memory.facts("acme") == []
    assert memory.version("acme") == 0
