"""What goes onto one page: bounded in number and in weight, and nothing is left out."""

from __future__ import annotations

import pytest
from lessor_daemon.directory.pages import PAGE_BYTES, Page
from lessor_protocol import codec

HEAVY: dict[str, object] = {"text": "x" * (PAGE_BYTES // 4)}


def test_no_more_go_on_it_than_were_asked_for() -> None:
    page = Page(2)
    assert [page.add({"n": n}) for n in range(3)] == [True, True, False]
    assert page.items == [{"n": 0}, {"n": 1}]


def test_what_is_too_much_for_it_belongs_on_the_next() -> None:
    page = Page(500)
    while page.add(HEAVY):
        pass
    assert len(page.items) == 3
    assert len(codec.encode({"items": page.items}, codec.JSON)) <= PAGE_BYTES + 100


def test_an_item_that_is_too_much_for_any_page_has_one_of_its_own() -> None:
    page = Page(500)
    assert page.add({"text": "x" * PAGE_BYTES * 2})
    assert not page.add({})


@pytest.mark.parametrize(("limit", "pages"), [(1, 40), (500, 14)])
async def test_a_scan_of_heavy_items_is_shown_whole_in_pages_that_can_be_read(
    limit: int, pages: int
) -> None:
    stored = [{**HEAVY, "n": n} for n in range(40)]

    async def read(cursor: int, about: int) -> tuple[list[dict[str, object]], int]:
        following = cursor + about
        return stored[cursor:following], following if following < len(stored) else 0

    seen: list[object] = []
    cursor, count = 0, 0
    while cursor or not count:
        page = Page(limit)
        cursor = await page.fill(cursor, read)
        assert len(codec.encode({"items": page.items}, codec.JSON)) <= PAGE_BYTES + 100
        seen += [item["n"] for item in page.items]
        count += 1
    assert seen == list(range(40))
    assert count == pages


async def test_a_part_of_a_scan_that_cannot_be_smaller_is_shown_as_it_is() -> None:
    async def read(_cursor: int, _about: int) -> tuple[list[dict[str, object]], int]:
        return [HEAVY] * 5, 0

    page = Page(100)
    assert await page.fill(0, read) == 0
    assert len(page.items) == 5
