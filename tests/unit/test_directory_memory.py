"""What a daemon remembers of administration, in a file that its processes share."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.memory import BUSY_SECONDS, Memory, Unreadable
from lessor_daemon.directory.restrictions import NOTHING, THERE
from lessor_daemon.store.facts import Fact
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def test_the_oldest_go_beyond_the_bound_but_never_the_beginning(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lessor_daemon.directory.memory.MOST_FACTS", 2)
    said = [Fact("organization", 1, THERE), *(Fact(f"seats l{n}", n, b"2") for n in range(2, 6))]
    for one in said:
        memory.note("acme", [one])
    assert memory.facts("acme") == [said[0], *said[-2:]]


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


def test_an_organization_that_was_removed_is_looked_after_no_more(memory: Memory) -> None:
    for org in ("beta", "acme"):
        memory.note(org, [Fact("organization", 1, THERE)], seen=1)
    assert memory.organizations() == ["acme", "beta"]
    memory.note("acme", [Fact("organization", 2, NOTHING)], seen=2)
    assert memory.organizations() == ["beta"]
    memory.note("acme", [Fact("organization", 3, THERE)], seen=3)
    assert memory.organizations() == ["acme", "beta"]


def test_what_is_out_there_outlasts_an_organization_that_begins_anew(memory: Memory) -> None:
    valid, returned = Fact("offline s1", 7, b"record"), Fact("offline s2", 7, NOTHING)
    memory.note("acme", [valid, returned])
    memory.note("acme", [Fact("organization", 8, THERE)])
    assert memory.facts("acme") == [valid, Fact("organization", 8, THERE)]


def test_what_cannot_be_written_is_known_to_this_process_at_least(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "missing" / "administration.sqlite")
    memory.note("acme", [Fact("seats kre", 7, b"2")])
    assert memory.facts("acme") == [Fact("seats kre", 7, b"2")]


def test_is_forgotten_as_a_whole_when_the_operator_says_so(memory: Memory) -> None:
    memory.note("acme", [Fact("seats kre", 7, b"2")], seen=9)
    memory.forget()
    assert memory.facts("acme") == []
    assert memory.version("acme") == 0


NEVER_A_DATABASE = b"garbage" * 4096


def garbage(path: Path) -> None:
    path.write_bytes(NEVER_A_DATABASE)


def truncation(path: Path) -> None:
    os.truncate(path, 5000)


def garbage_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(NEVER_A_DATABASE[:8192])


@pytest.mark.parametrize("damage", [garbage, truncation, garbage_in_the_middle])
@pytest.mark.parametrize("used", ["version", "organizations", "facts", "note"])
def test_a_damaged_file_is_set_aside_as_it_is_and_said(
    memory: Memory, damage: Callable[[Path], None], used: str
) -> None:
    facts = [Fact(f"seats {number}", number, b"2" * 100) for number in range(1, 200)]
    memory.note("acme", facts, seen=200)
    damage(memory.path)
    damaged = memory.path.read_bytes()
    with capture_logs() as logged:
        if used == "note":
            memory.note("acme", [Fact("seats kre", 300, b"1")], seen=300)
        elif used == "organizations":
            memory.organizations()
        else:
            getattr(memory, used)("acme")
        memory.facts("acme")
    set_aside = memory.path.with_name("administration.sqlite.damaged")
    assert [one["event"] for one in logged] == ["remembered_changes_damaged"]
    assert (logged[0]["log_level"], logged[0]["set_aside"]) == ("error", str(set_aside))
    assert set_aside.read_bytes() == damaged
    memory.note("acme", [Fact("seats kre", 301, b"1")], seen=301)
    assert memory.facts("acme")[-1] == Fact("seats kre", 301, b"1")
    assert memory.version("acme") == 301


def test_a_file_that_was_replaced_meanwhile_is_not_set_aside(memory: Memory) -> None:
    """Another process of the daemon has found the damage, too."""
    garbage(memory.path)
    other = Memory(memory.path)

    def meanwhile(db: sqlite3.Connection) -> None:
        assert other.version("acme") == 0
        other.note("acme", [Fact("seats kre", 7, b"2")], seen=9)
        db.execute("select * from fact")

    memory._use(meanwhile)
    assert memory.version("acme") == 9


@pytest.fixture
def locked(memory: Memory) -> Iterator[Memory]:
    """Somebody else has it for themselves, and does not let go."""
    memory.note("acme", [Fact("seats kre", 7, b"2")], seen=9)
    memory._busy_seconds = 0
    with contextlib.closing(sqlite3.connect(memory.path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        yield memory


def test_one_that_is_locked_is_unreadable_for_now_and_stays_where_it_is(locked: Memory) -> None:
    for read in (
        locked.organizations,
        lambda: locked.version("acme"),
        lambda: locked.facts("acme"),
    ):
        with pytest.raises(Unreadable, match="locked"):
            read()
    locked.note("acme", [Fact("seats kre", 8, b"1")], seen=10)
    assert [path.name for path in locked.path.parent.glob("*.damaged")] == []


def test_who_holds_it_for_long_is_waited_for_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    connect = sqlite3.connect

    def noted(path: Path, *, timeout: float) -> sqlite3.Connection:
        waits.append(timeout)
        return connect(path, timeout=0)

    memory.note("acme", [Fact("seats kre", 7, b"2")])
    with contextlib.closing(connect(memory.path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        monkeypatch.setattr(sqlite3, "connect", noted)
        for _ in range(3):
            with pytest.raises(Unreadable, match="locked"):
                memory.version("acme")
    memory.version("acme")
    memory.version("acme")
    assert waits == [BUSY_SECONDS, 0, 0, 0, BUSY_SECONDS]


def test_one_that_cannot_be_opened_is_unreadable_for_now(memory: Memory) -> None:
    memory.path.mkdir()
    with pytest.raises(Unreadable):
        memory.organizations()
