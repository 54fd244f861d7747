"""What a machine keeps of offline licenses: the time, the keys it believes, the seats."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.errors import UsageError
from lessor.offline import clock, state, trust
from lessor.offline.clock import Clock, Mark, surely
from lessor.offline.seats import Seats

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0
KEY = b"k" * 32
KEY_ID = trust.id_of(KEY)


class Clocks:
    """The machine's clocks, set by the test."""

    def __init__(self) -> None:
        self.now = Mark(1_000 * DAY, "boot", 50.0)

    def __call__(self) -> Mark:
        return self.now


def test_time_goes_on_while_the_clock_is_set_back(tmp_path: Path) -> None:
    clocks = Clocks()
    seen = Clock(tmp_path, clocks)
    assert seen.look() == 1_000 * DAY
    clocks.now = Mark(10 * DAY, "boot", 50.0 + 3_600)
    assert seen.look() == 1_000 * DAY + 3_600
    clocks.now = Mark(10 * DAY, "boot", 50.0 + 7_200)
    assert seen.look() == 1_000 * DAY + 7_200


def test_after_a_reboot_it_is_never_earlier_than_before(tmp_path: Path) -> None:
    clocks = Clocks()
    Clock(tmp_path, clocks).look()
    clocks.now = Mark(10 * DAY, "another boot", 1.0)
    assert Clock(tmp_path, clocks).look() == 1_000 * DAY
    clocks.now = Mark(2_000 * DAY, "another boot", 2.0)
    assert Clock(tmp_path, clocks).look() == 2_000 * DAY


def test_a_damaged_mark_is_no_reason_to_believe_the_clock(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("nonsense")
    with pytest.raises(UsageError, match="damaged"):
        Clock(tmp_path, Clocks()).look()


moments = st.builds(
    Mark,
    st.floats(0, 4e9),
    st.sampled_from(["one", "two"]),
    st.floats(0, 1e8),
)


@given(moments, st.lists(moments, max_size=8))
def test_no_clock_whatever_makes_time_go_back(first: Mark, later: list[Mark]) -> None:
    mark, wall = first, surely(None, first)
    for now in later:
        following = surely(mark, now)
        assert following >= wall
        wall, mark = following, Mark(following, now.boot_id, now.up)


def test_the_clocks_of_this_machine_can_be_read() -> None:
    first, second = clock.read_clocks(), clock.read_clocks()
    assert first.boot_id == second.boot_id != ""
    assert second.up >= first.up > 0


def test_a_key_is_believed_only_under_its_own_id(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert trust.read(environ) == {}
    file, new = trust.add(environ, {KEY_ID: KEY})
    assert (file, new) == (tmp_path / "lessor" / "offline-keys", [KEY_ID])
    assert trust.add(environ, {KEY_ID: KEY})[1] == []
    assert trust.read(environ) == {KEY_ID: KEY}
    encoded = b64encode(KEY).decode()
    for line in (f"{'0' * 16} {encoded}", KEY_ID, f"{KEY_ID} {encoded[:-4]}", f"{KEY_ID} ?"):
        with pytest.raises(UsageError, match="line 2"):
            trust.parse(f"# remark\n{line}\n", "keys")


def test_the_keys_may_lie_where_a_variable_says(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(trust.write({KEY_ID: KEY}))
    assert trust.read({trust.VARIABLE: str(file)}) == {KEY_ID: KEY}


def holder(name: str) -> dict[str, object]:
    return {"user": name}


def test_no_more_seats_are_taken_than_there_are(tmp_path: Path) -> None:
    runs = [Seats(tmp_path, "serial", 3) for _ in range(5)]
    taken = [seats.take(1, 1, holder(str(i))) for i, seats in enumerate(runs)]
    assert taken == [1, 1, 1, 0, 0]
    assert runs[4].holders() == [holder("0"), holder("1"), holder("2")]
    runs[1].give_back()
    assert runs[4].take(1, 1, holder("4")) == 1
    assert runs[3].take(1, 1, holder("3")) == 0
    assert runs[3].holders() == [holder("0"), holder("4"), holder("2")]
    for seats in runs:
        seats.close()


def test_several_seats_are_taken_together_or_not_at_all(tmp_path: Path) -> None:
    one, other = Seats(tmp_path, "serial", 4), Seats(tmp_path, "serial", 4)
    assert one.take(2, 3, holder("one")) == 3
    assert other.take(2, 2, holder("other")) == 0
    assert other.take(1, 4, holder("other")) == 1
    assert other.holders() == [holder("one")]
    one.close()
    other.close()


def test_seats_are_free_when_all_who_share_them_are_gone(tmp_path: Path) -> None:
    shared, other = Seats(tmp_path, "serial", 1), Seats(tmp_path, "serial", 1)
    assert shared.take(1, 1, holder("both")) == 1
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent closes its end
        os._exit(0)
    os.close(reading)
    shared.close()
    assert other.take(1, 1, holder("other")) == 0
    os.close(writing)
    os.waitpid(pid, 0)
    assert other.take(1, 1, holder("other")) == 1
    other.close()


def test_all_seats_are_had_only_while_nobody_has_one(tmp_path: Path) -> None:
    one, other = Seats(tmp_path, "serial", 100_000), Seats(tmp_path, "serial", 100_000)
    assert one.take(1, 1, holder("one")) == 1
    assert not other.take_all()
    one.give_back()
    assert other.take_all()
    assert one.take(1, 1, holder("one")) == 0
    one.close()
    other.close()


def test_a_holder_of_any_length_and_script_can_be_told(tmp_path: Path) -> None:
    one, other = Seats(tmp_path, "serial", 1), Seats(tmp_path, "serial", 1)
    labels = {f"label{i}": "x" * 200 for i in range(30)}
    one.take(1, 1, {"user": "ユーザー" * 30, "labels": labels})
    assert other.holders() == [{"user": "ユーザー" * 30, "labels": {}}]
    one.close()
    other.close()


def test_a_folder_where_others_may_write_is_refused(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    folder = state.directory(environ)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(UsageError, match="must belong to this user"):
        state.directory(environ)
    with pytest.raises(UsageError, match="XDG_STATE_HOME"):
        state.directory({})
