"""Breadth-first search through every state that a small model can reach.

A model is an initial state and a function from a state to its successors. States are compared by
value, so each is looked at once, and the first breach found is one that the fewest steps reach.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Step(Generic[State]):
    """What can happen next: a name for people, the state it leads to, the rule it breaks if any."""

    name: str
    state: State
    breach: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw. ``is_complete`` says that no state was left out."""

    states: int
    depth: int
    is_complete: bool
    breach: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        reach = "all" if self.is_complete else "the first"
        seen = f"{reach} {self.states:,} states, {self.depth} steps deep"
        if not self.breach:
            return f"no breach in {seen}"
        return "\n  ".join([f"{self.breach} after {len(self.trace)} steps ({seen})", *self.trace])


def explore(
    initial: State, successors: Callable[[State], Iterable[Step[State]]], *, most_states: int
) -> Found:
    """Search until a breach is found, or no state is left, or ``most_states`` were seen."""
    came_from: dict[State, tuple[State, str] | None] = {initial: None}
    level, depth = [initial], 0
    was_collecting = gc.isenabled()
    gc.disable()  # nothing here refers in circles, and looking for it takes half the time
    try:
        while level:
            following: list[State] = []
            for state in level:
                for step in successors(state):
                    if step.breach:
                        trace = (*_way_to(state, came_from), step.name)
                        return Found(len(came_from), depth + 1, False, step.breach, trace)
                    if step.state in came_from:
                        continue
                    came_from[step.state] = (state, step.name)
                    following.append(step.state)
                if len(came_from) >= most_states:
                    return Found(len(came_from), depth, False, "", ())
            level = following
            depth += bool(level)
        return Found(len(came_from), depth, True, "", ())
    finally:
        if was_collecting:
            gc.enable()


def _way_to(state: State, came_from: dict[State, tuple[State, str] | None]) -> tuple[str, ...]:
    names: list[str] = []
    while (origin := came_from[state]) is not None:
        state, name = origin
        names.append(name)
    return tuple(reversed(names))
