"""One page of a list, bounded in how many items it holds and in what they weigh.

Texts of clients may be long: the labels of one session may be tens of kilobytes. Whoever reads an
answer may bound it to ``codec.MAX_BYTES``, as our own client does, so a page ends before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Item = dict[str, object]

PAGE_BYTES = codec.MAX_BYTES // 2
"""As JSON; a CSV doubles some of its characters."""
READ_AT_ONCE = 100
"""Items read from the store for a page at a time."""


class Page:
    """Items that go into one answer."""

    def __init__(self, limit: int) -> None:
        self.items: list[Item] = []
        self._limit = limit
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it has as many as were asked for."""
        return len(self.items) >= self._limit

    def add(self, item: Item) -> bool:
        """Put an item on it, the first in any case. False if it belongs on the next page."""
        return not self.is_full and self.add_all([item], in_any_case=not self.items)

    def add_all(self, items: Sequence[Item], *, in_any_case: bool) -> bool:
        """Put all of these on it, even beyond the number asked for. False if it is too much."""
        weight = sum(len(codec.encode(item, codec.JSON)) for item in items)
        if self._bytes + weight > PAGE_BYTES and not in_any_case:
            return False
        self.items += items
        self._bytes += weight
        return True

    async def fill(
        self, cursor: int, read: Callable[[int, int], Awaitable[tuple[Sequence[Item], int]]]
    ) -> int:
        """Fill it from a scan of the store, and say where the next page begins.

        ``read(cursor, about)`` answers about so many items and the next cursor; 0 begins and ends.
        """
        about = min(self._limit, READ_AT_ONCE)
        while not self.is_full:
            items, following = await read(cursor, about)
            # A scan cannot go on in the middle of what it gave: it is taken as a whole, or comes
            # again in smaller parts.
            if self.add_all(items, in_any_case=about == 1 and not self.items):
                cursor = following
                if not cursor:
                    break
            elif self.items:
                break
            else:
                about = max(1, about // 4)
        return cursor
