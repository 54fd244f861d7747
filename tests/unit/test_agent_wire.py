"""What agent and leash say to each other arrives, also from one that ends meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor.agent.wire import pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lessor.agent.wire import Line


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    """The agent's and the leash's."""
    made = pair()
    yield made
    for end in made:
        end.close()


def test_messages_keep_their_order_and_their_bounds(ends: tuple[Line, Line]) -> None:
    agent, leash = ends
    agent.send("hold", 1, 5_000, 3_000)
    agent.send("signal", 2, "a b")
    assert leash.receive() == [["hold", "1", "5000", "3000"], ["signal", "2", "a b"]]
    assert leash.receive() == []
    assert leash.is_open


def test_a_closed_end_shows_after_what_it_has_sent(ends: tuple[Line, Line]) -> None:
    agent, leash = ends
    leash.send("gone", "deadline")
    leash.close()
    assert agent.receive() == [["gone", "deadline"]]
    assert not agent.is_open
    assert not agent.send("ping", 1)


def test_what_an_end_has_sent_arrives_also_where_it_left_something_unread(
    ends: tuple[Line, Line],
) -> None:
    agent, leash = ends
    leash.send("exited", 15)
    leash.send("gone", "deadline")
    agent.send("stop", 1, "lost")
    leash.close()
    assert agent.receive() == [["exited", "15"], ["gone", "deadline"]]
    assert not agent.is_open
    assert agent.receive() == []
